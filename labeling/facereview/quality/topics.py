"""Everybody's word on each thing that a question asks: what skill and agreement are reckoned from."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from facereview.kinds import Answer, expected_answer, load_answer, subject_of
from facereview.quality.words import ORDINARY, WHOLE, chances_of, words_of
from facestore.questions import AnnotationVersion, Question, QuestionKind

_RIGHT = ""  # stands for the annotator of a honeypot's right answer; opaque names are never empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    annotator: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One thing on which answers to a question can differ, and what was said of it."""

    question_id: str
    kind: QuestionKind
    name: str
    sayings: tuple[Saying, ...]  # at least one, one for each annotator, in their order
    right: str | None  # of a honeypot the word that is known to be right
    chances: tuple[tuple[str, float], ...]  # the machine's, [0, 1], of the words of which it has an idea
    weight: float  # in (0, 1]; those of a question add up to 1


def topics_of(questions: Iterable[Question], annotations: Iterable[AnnotationVersion]) -> list[Topic]:
    """Topics of all questions that were answered, by question and name, for any order of the input.

    Of what a grid or a frame shows, only what somebody found out of the ordinary is a topic: a dozen plain faces prove
    no care. Where nobody found anything, the question is one topic. Raises DataError for an answer that does not fit.
    """
    standing = latest_answers(annotations)
    topics = []
    for question in sorted(questions, key=lambda question: question.question_id):
        given = {
            version.annotator: load_answer(question.kind, version.answer)
            for version in standing.get(question.question_id, ())
            if version.answer is not None
        }
        if given:
            topics += _topics(question, given)
    return topics


def latest_answers(annotations: Iterable[AnnotationVersion]) -> dict[str, list[AnnotationVersion]]:
    """The answers that stand, by question: of each annotator the one changed last; none skipped, deleted or unreadable.

    Annotators in their order.
    """
    latest: dict[tuple[str, str], AnnotationVersion] = {}
    for version in sorted(annotations, key=lambda found: (found.updated_at, found.project_key, found.unique_id)):
        if version.state == "answered" and version.answer is not None:
            latest[version.question_id, version.annotator] = version
    standing = defaultdict(list)
    for (question_id, _), version in sorted(latest.items()):
        standing[question_id].append(version)
    return dict(standing)


def _topics(question: Question, given: Mapping[str, Answer]) -> list[Topic]:
    subject, right = subject_of(question), expected_answer(question)
    words = words_of(subject, given if right is None else {_RIGHT: right, **given})
    chances = chances_of(subject)
    unusual = sorted(name for name, said in words.items() if not set(said.values()) <= ORDINARY)
    if len(words) > 1 and not unusual:
        plain = {who: word for said in words.values() for who, word in said.items()}
        believed = [chances[name][word] for name in words for word in plain.values() if word in chances.get(name, {})]
        word = max(plain.values(), default="")
        words, unusual = {WHOLE: dict.fromkeys(plain, word)}, [WHOLE]
        chances = {WHOLE: {word: min(believed)}} if believed else {}
    names = [name for name in (unusual or sorted(words)) if set(words[name]) - {_RIGHT}]
    return [
        Topic(
            question_id=question.question_id,
            kind=question.kind,
            name=name,
            sayings=tuple(
                Saying(annotator=who, word=word) for who, word in sorted(words[name].items()) if who != _RIGHT
            ),
            right=words[name].get(_RIGHT),
            chances=tuple(sorted(chances.get(name, {}).items())),
            weight=1 / len(names),
        )
        for name in names
    ]
