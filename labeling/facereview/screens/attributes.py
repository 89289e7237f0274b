"""What holds of a face? A row of choices an attribute, made from the schema, with the machine's guesses ticked."""

from collections.abc import Mapping, Sequence
from html import escape

from facereview.kinds import Attributes, AttributesAnswer, AttributeValue, Prediction
from facereview.pictures import Picture
from facereview.schema import AttributeField, AttributeSchema
from facereview.screens.choices import chosen, read_choices
from facereview.screens.markup import read_config, strip_html, why_html
from facereview.server import PredictionDraft
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.questions import Question

SHOTS = 3
# Rows of a keyboard, so that the keys of a field lie side by side. Not 0 (unusable) and not u: Label Studio's own.
_KEYS = ("123456789", "qwertyiop", "asdfghjkl", "zxcvbnm")
_DOUBTFUL = 0.8  # a guess below is pointed out


def label_config(schema: AttributeSchema) -> str:
    """Every attribute of the schema is a group of choices `attribute_NAME`; aliases are the values as decisions carry
    them. Fields beyond what the keyboard holds are clicked.
    """
    keys = hotkeys(schema)
    rows = "\n".join(_row(place, field, keys) for place, field in enumerate(schema.fields))
    return read_config("attributes.xml").replace("{{fields}}", rows)


def hotkeys(schema: AttributeSchema) -> dict[tuple[str, str], str]:
    """A key for each (attribute, value), no key twice. The keys of a field lie side by side on a row of the keyboard:
    rows are dealt out in the order of the schema, or if that does not work out largest field first. A field that fits
    on none takes what is left, and where that runs out its last values have no key.
    """
    in_order = _dealt(schema.fields, is_tightest=False)
    tight = _dealt(sorted(schema.fields, key=lambda field: -len(field.values)), is_tightest=True)
    dealt = in_order if len(in_order) == len(schema.fields) else max(in_order, tight, key=len)
    used = set("".join(dealt.values()))
    left = [key for row in _KEYS for key in row if key not in used]
    keys: dict[tuple[str, str], str] = {}
    for field in schema.fields:
        own = dealt.get(field.name)
        if own is None:
            own, left = "".join(left[: len(field.values)]), left[len(field.values) :]
        keys |= {(field.name, value): key for value, key in zip(field.values, own, strict=False)}
    return keys


def _dealt(fields: Sequence[AttributeField], *, is_tightest: bool) -> dict[str, str]:
    """Keys side by side for as many fields as get some: from the first row with room, or from the tightest."""
    rows = list(_KEYS)
    dealt: dict[str, str] = {}
    for field in fields:
        fitting = [place for place, row in enumerate(rows) if len(row) >= len(field.values)]
        if fitting:
            place = min(fitting, key=lambda place: len(rows[place]) if is_tightest else 0)
            dealt[field.name] = rows[place][: len(field.values)]
            rows[place] = rows[place][len(field.values) :]
    return dealt


def task_data(
    question: Question, subject: Attributes, url_of: Mapping[Picture, str], schema: AttributeSchema
) -> dict[str, JsonValue]:
    """`shots`: an image a shot; `why`: HTML; `scores`: HTML, one an attribute in the schema's order."""
    guesses = {guess.name: guess for guess in _guesses(subject, schema)}
    return {
        "why": why_html(question, "all as ticked" if guesses else "nothing ticked"),
        "shots": strip_html(url_of, subject.strip, SHOTS),
        "scores": [_score_html(guesses.get(field.name)) for field in schema.fields],
    }


def prediction(question: Question, subject: Attributes, schema: AttributeSchema) -> PredictionDraft:
    """Guesses that the schema does not know (any more) are left out; of two for one attribute the surer one counts."""
    result: list[JsonValue] = [
        {**chosen(_control(guess.name), "why", [guess.value]), "score": guess.score}
        for guess in _guesses(subject, schema)
    ]
    return PredictionDraft(model_version=question.model_version, score=question.chance, result=tuple(result))


def read_answer(
    _question: Question, _subject: Attributes, result: Sequence[JsonValue], schema: AttributeSchema
) -> AttributesAnswer:
    """What is ticked, guesses that were left standing among it; of an unusable picture nothing is said.

    Raises DataError for an attribute or value that the schema does not have, two values of one, or nothing at all.
    """
    allowed = {_control(field.name): set(field.values) for field in schema.fields}
    ticked = read_choices(result, {**allowed, "verdict": {"unusable"}})
    if ticked.get("verdict"):
        return AttributesAnswer(verdict="unusable")
    values = []
    for field in sorted(schema.fields, key=lambda field: field.name):
        said = ticked.get(_control(field.name), ())
        if len(said) > 1:
            raise DataError(f"{field.name} is {' and '.join(said)} at once; tick one and submit again")
        values += [AttributeValue(name=field.name, value=value) for value in said]
    if not values:
        raise DataError("nothing is ticked; tick what holds, or that the picture is unusable")
    return AttributesAnswer(verdict="described", values=tuple(values))


def _control(name: str) -> str:
    return f"attribute_{name}"


def _row(place: int, field: AttributeField, keys: Mapping[tuple[str, str], str]) -> str:
    choices = []
    for value in field.values:
        key = keys.get((field.name, value))
        hotkey = "" if key is None else f' hotkey="{key}"'
        choices.append(f'          <Choice alias="{escape(value)}" value="{escape(value.replace("_", " "))}"{hotkey}/>')
    control = f'<Choices name="{escape(_control(field.name))}" toName="why" choice="single" layout="inline">'
    return "\n".join(
        [
            '      <View className="fl-field">',
            f'        <Header value="{escape(field.title)}" size="5"/>',
            f'        <Markdown className="fl-score" value="$scores[{place}]"/>',
            f"        {control}",
            *choices,
            "        </Choices>",
            "      </View>",
        ]
    )


def _guesses(subject: Attributes, schema: AttributeSchema) -> list[Prediction]:
    """The surest guess an attribute, in the schema's order."""
    best: dict[str, Prediction] = {}
    for guess in sorted(subject.predictions, key=lambda guess: (-guess.score, guess.value)):
        if schema.allows(guess.name, guess.value):
            best.setdefault(guess.name, guess)
    return [best[field.name] for field in schema.fields if field.name in best]


def _score_html(guess: Prediction | None) -> str:
    """How sure the machine is; marked where it is doubtful. Empty without a guess."""
    if guess is None:
        return ""
    return f"<b>{guess.score:.0%}</b>" if guess.score < _DOUBTFUL else f"{guess.score:.0%}"
