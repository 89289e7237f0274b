# ruff: noqa: A005
"""select: from clusters and labels to what people are asked next, most worth first, within their minutes.

Reads published tables only. Empty inputs give an empty plan.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from faceloop.identity.resolve import aliases_of
from faceloop.identity.standing import standing_of
from faceloop.questions.arrange import Plan, arrange
from faceloop.questions.asking import as_question
from faceloop.questions.audits import ask_boxes, ask_landmarks, lot, within
from faceloop.questions.confirming import draft_confirmations
from faceloop.questions.describing import faces_to_describe
from faceloop.questions.drafting import draft_questions, find_doubts
from faceloop.questions.expectation import Expectation, expect
from faceloop.questions.gather import Artifacts, draw_frames, read_sights, read_situation
from faceloop.questions.honeypots import known_people, make_honeypots
from faceloop.questions.mix import mixed
from faceloop.questions.moot import NOT_DESCRIBING, moot
from faceloop.questions.plan_params import SelectParams
from faceloop.questions.situation import Situation
from faceloop.stage import Context, In, Out, Report
from facestore.decisions import Decision, IdentityEvent
from facestore.ids import JsonValue
from facestore.questions import Question
from facestore.tables import read_table, write_table

VERSION = 1
PLAN_FILE = "plan.json"
Params = SelectParams
_SAMPLE_S_PER_FRAME = 1.0  # no frame is looked through faster: bounds how many are drawn


def run(
    *,
    footage: In,
    faces: In,
    embeddings: In,
    clusters: In,
    assignments: In,
    decisions: In,
    questions: Out,
    params: SelectParams,
    context: Context,
) -> Report:
    report = Report()
    effective = list(read_table(decisions, "effective", Decision))
    aliases = aliases_of(list(read_table(decisions, "events", IdentityEvent)))
    places = Artifacts(footage=footage, faces=faces, embeddings=embeddings, clusters=clusters, assignments=assignments)
    with context.stopwatch.on("gather"):
        everybody = read_sights(faces)
        withheld = context.withheld.of("annotation")
        sights = [sight for sight in everybody if sight.footage_id not in withheld]
        situation = read_situation(places, sights, effective, aliases, shots=params.shots)
    plan, main, spread = _ask(places, situation, effective, params, context)
    with context.stopwatch.on("honeypots"):
        who_is_who = [*main, *spread[0]]
        honeypots = make_honeypots(
            known_people(standing_of(effective, aliases=aliases, faces=situation.sight_of.keys()), situation),
            who_is_who,
            wanted=round(params.shares.honeypots * len(who_is_who)),
            identities=params.honeypot_identities,
            seed=params.seed,
        )
    found = mixed(main, [*spread, honeypots], seed=params.seed)
    known = moot(found, effective=effective, aliases=aliases, faces=situation.sight_of.keys())
    asked = mixed([question for question in found if question.question_id not in known], [], seed=params.seed)
    write_table(questions / "questions.parquet", Question, asked)
    text = json.dumps(_document(plan, asked, params), indent=1, sort_keys=True)
    (questions / PLAN_FILE).write_text(text + "\n", encoding="utf-8")
    report.items_in = plan.repeating + plan.left + len(found)
    report.published = len(asked)
    if len(asked) < len(found):
        report.rejected["answered_elsewhere"] += len(found) - len(asked)
    if plan.repeating:
        report.pending["repeats_another"] += plan.repeating
    if plan.left:
        report.pending[plan.stop] += plan.left
    if withheld:
        report.figures["faces_withheld"] = len(everybody) - len(sights)
    report.figures["honeypots"] = sum(question.expected is not None for question in asked)
    report.figures["planned_s"] = round(sum(question.seconds for question in asked))
    return report


def _ask(
    places: Artifacts, situation: Situation, effective: Sequence[Decision], params: SelectParams, context: Context
) -> tuple[Plan, list[Question], list[list[Question]]]:
    """The plan of doubts, its questions, and what is spread among them: confirmations, attributes, boxes, landmarks."""
    withheld = context.withheld.of("annotation")
    budget_s, shares = params.budget_minutes * 60, params.shares
    with context.stopwatch.on("doubts"):
        doubts = find_doubts(situation, params)
        drafts = draft_questions(situation, doubts, params)
    with context.stopwatch.on("arrange"):
        expected = expect(situation, doubts)
        plan = arrange(drafts, situation, expected, params, budget_s=budget_s * (1 - shares.sides()))
    with context.stopwatch.on("samples"):
        inside = {draft.label for draft in plan.chosen if draft.is_inside}
        grids = draft_confirmations(situation, doubts, inside, params)
        words = [said for said in effective if said.verb == "attribute" and said.name not in NOT_DESCRIBING]
        described = {said.face_id for said in words if said.face_id is not None}
        spread = [
            within((as_question(grid, situation, params) for grid in grids), budget_s * shares.confirmations),
            within(faces_to_describe(situation, described, params), budget_s * shares.attributes),
            _boxes(places, situation, params, budget_s * shares.boxes, withheld),
            _landmarks(places, situation, params, budget_s * shares.landmarks, withheld),
        ]
    return plan, [as_question(draft, situation, params) for draft in plan.chosen], spread


def _document(plan: Plan, asked: Iterable[Question], params: SelectParams) -> dict[str, JsonValue]:
    """What the plan costs and is expected to bring. Gains are pairs of faces, scores pairwise over faces."""
    kinds: dict[str, list[Question]] = defaultdict(list)
    for question in asked:
        kinds["honeypots" if question.expected is not None else question.kind].append(question)
    return {
        "strategy": params.strategy,
        "budget_s": round(params.budget_minutes * 60, 3),
        "stop": plan.stop,
        "kinds": {
            kind: {
                "questions": len(found),
                "seconds": round(sum(question.seconds for question in found), 3),
                "gain": 0.0 if kind == "honeypots" else round(sum(question.gain for question in found), 3),
            }
            for kind, found in sorted(kinds.items())
        },
        "predicted": {"before": _scores(plan.before), "after": _scores(plan.after)},
    }


def _scores(expected: Expectation) -> dict[str, JsonValue]:
    return {
        "pairwise_precision": round(expected.precision, 6),
        "pairwise_recall": round(expected.recall, 6),
        "pairwise_f": round(expected.pairwise_f, 6),
    }


def _boxes(
    places: Artifacts, situation: Situation, params: SelectParams, budget_s: float, withheld: Collection[str]
) -> list[Question]:
    size = int(budget_s / max(params.seconds.boxes, _SAMPLE_S_PER_FRAME))
    frames = draw_frames(places, size, params.seed, "boxes", withheld) if size else ()
    return within(
        [ask_boxes(frame, params.seconds, model_version=situation.model_version) for frame in frames], budget_s
    )


def _landmarks(
    places: Artifacts, situation: Situation, params: SelectParams, budget_s: float, withheld: Collection[str]
) -> list[Question]:
    """One accepted face a frame."""
    size = int(budget_s / max(params.seconds.landmarks, _SAMPLE_S_PER_FRAME))
    drawn = []
    for frame in draw_frames(places, 2 * size, params.seed, "landmarks", withheld) if size else ():
        accepted = [one for one in frame.detected if one.face_id in situation.sight_of]
        drawn += [(one, frame) for one in sorted(accepted, key=lambda one: lot(params.seed, one.face_id))[:1]]
    version = situation.model_version
    return within([ask_landmarks(one, frame, params.seconds, model_version=version) for one, frame in drawn], budget_s)
