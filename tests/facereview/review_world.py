"""A small world of review: questions pushed to a stand-in, answers to them, and what must follow from them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from facereview.answers.claims import claims_of
from facereview.answers.consensus import Trust, Vote, agree
from facereview.answers.reconcile import Pulled, pull
from facereview.asking.projects import description_of
from facereview.kinds import (
    Answer,
    Member,
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    Strip,
    ask,
    subject_of,
)
from facereview.pictures import pictures_of
from facereview.schema import AttributeSchema
from facereview.screens import label_config, task_data
from facereview.screens.choices import chosen
from facereview.server import ReviewServer, ServerAnnotation, ServerTask, TaskDraft
from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision
from facestore.ids import JsonValue
from facestore.questions import Question, ReviewProject, ReviewTask
from facestore.reviewlog import ReviewLog

from .stand_in import StandIn

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TRUST = Trust(certainty=0.9, error_rate=0.03, error_rates={"stand-in/5": 0.3})
SCHEMA = AttributeSchema(fields=())
VERDICTS = ("same", "different", "unsure", "left_unusable", "right_unusable")
Key = tuple[str | None, ...]


@dataclass(slots=True, kw_only=True)
class World:
    server: StandIn
    log: ReviewLog
    url: str
    questions: dict[str, Question]
    task_ids: dict[tuple[str, int], int]  # question and round: the server's task

    def pull(self, *, full: bool = True, **other: object) -> Pulled:
        said: list[str] = []
        return pulled(self.log, self.server, full=full, say=said.append, **other)  # type: ignore[arg-type]

    def decisions(self) -> list[Decision]:
        opened = DecisionLog(self.url)
        found = list(opened.all())
        opened.close()
        return found


def pulled(
    log: ReviewLog,
    server: ReviewServer,
    *,
    full: bool = True,
    only_hinted: bool = False,
    say: Callable[[str], None] = lambda _: None,
    trust: Trust = TRUST,
    is_known_face: Callable[[str], bool] = lambda _: True,
) -> Pulled:
    return pull(
        log=log, server=server, schema=SCHEMA, trust=trust, is_known_face=is_known_face, now=lambda: NOW, full=full,
        say=say, only_hinted=only_hinted,
    )  # fmt: skip


def same_person(number: int, *, chance: float = 0.8, needs: int = 1, expected: Answer | None = None) -> Question:
    sides = [Strip(face_ids=(f"{side}{number:03d}", f"{side}{number:03d}-more")) for side in ("a", "b")]
    subject = SamePerson(left=sides[0], right=sides[1], similarity=0.4, chance=chance)
    return ask(
        subject, subset="s", reason="test", model_version="m1", chance=chance, gain=1, seconds=3, needs=needs,
        expected=expected,
    )  # fmt: skip


def odd_ones_out(number: int) -> Question:
    chances = (0.95, 0.4, 0.7)
    members = tuple(
        Member(face_id=f"m{number:03d}-{place}", chance=chance, is_doubtful=chance < 0.5)
        for place, chance in enumerate(chances)
    )
    subject = OddOnesOut(reference=Strip(face_ids=(f"r{number:03d}",)), members=members)
    return ask(subject, subset="s", reason="test", model_version="m1", chance=0.5, gain=1, seconds=9)


def make_world(
    folder: Path,
    questions: Sequence[Question],
    *,
    rounds: int = 1,
    project_tasks: int = 10,
    server: StandIn | None = None,
) -> World:
    """Each question is asked `rounds` times, in projects of `project_tasks`."""
    server = server or StandIn()
    url = f"sqlite:///{folder / 'catalogue.sqlite3'}"
    log = ReviewLog(url)
    log.offer(questions, at=NOW)
    task_ids = {}
    for round_number in range(1, rounds + 1):
        for start in range(0, len(questions), project_tasks):
            some = questions[start : start + project_tasks]
            made = push(log, server, some, f"{round_number:08x}{start:08x}", round_number)
            task_ids.update({(question_id, round_number): task_id for question_id, task_id in made.items()})
    return World(
        server=server,
        log=log,
        url=url,
        questions={question.question_id: question for question in questions},
        task_ids=task_ids,
    )


def push(
    log: ReviewLog, server: ReviewServer, questions: Sequence[Question], key: str, round_number: int = 1
) -> dict[str, int]:
    """Task ids by question id."""
    project = server.create_project(
        title="Same person?",
        description=description_of(key),
        label_config=label_config(questions[0].kind, SCHEMA),
        overlap=1,
        model_version="m1",
    )
    log.add_project(
        ReviewProject(
            key=key, instance=server.instance, project_id=project.project_id, kind=questions[0].kind,
            round=round_number, overlap=1, config_sha256="0" * 64, model_version="m1", created_at=NOW, is_open=True,
        )
    )  # fmt: skip
    drafts = [TaskDraft(question_id=one.question_id, data=_data(one), prediction=None) for one in questions]
    made = server.create_tasks(project.project_id, drafts)
    rows = [
        ReviewTask(question_id=key_, round=round_number, project_key=key, task_id=task, state="pushed", changed_at=NOW)
        for key_, task in made.items()
    ]
    log.plan(rows)
    return made


def _data(question: Question) -> dict[str, JsonValue]:
    """As a push makes it, of pictures that nobody looks at."""
    addresses = dict.fromkeys(pictures_of(subject_of(question)), "/static/icons/logo.svg")
    return task_data(question, addresses, SCHEMA)


def verdict(value: str) -> tuple[JsonValue, ...]:
    return (chosen("verdict", "why", [value]),)


def sorted_out(strangers: Sequence[int], not_faces: Sequence[int] = ()) -> tuple[JsonValue, ...]:
    """Places from 1."""
    marks = (("strangers", strangers), ("not_faces", not_faces))
    return tuple(chosen(name, "why", [str(place) for place in places]) for name, places in marks if places)


def truth(world: World) -> Counter[Key]:
    """What the stand-in's state comes to, computed from nothing else: the decisions that must stand."""
    held = [world.server._seen(task_id) for task_id in world.server.tasks_by_id]
    question_of = {task_id: world.questions[key] for (key, _), task_id in world.task_ids.items()}
    return truth_of(held, question_of, world.server.instance)


def truth_of(
    tasks: Iterable[ServerTask], question_of: Mapping[int, Question], instance: str, trust: Trust = TRUST
) -> Counter[Key]:
    """The decisions that must stand while a server holds these tasks. `question_of`: by task id."""
    votes: dict[str, list[Vote]] = defaultdict(list)
    unique_ids: dict[tuple[int, str], str] = {}
    questions = {question.question_id: question for question in question_of.values()}
    for task in tasks:
        question = question_of[task.task_id]
        for one in task.annotations:
            if one.is_skipped:
                continue
            annotator = f"{instance}/{one.user_id}"
            unique_ids[one.annotation_id, annotator] = one.unique_id
            votes[question.question_id].append(
                Vote(
                    annotator=annotator,
                    annotation_id=one.annotation_id,
                    version=0,
                    answered_at=one.updated_at,
                    claims=claims_of(subject_of(question), _answer(question, one)),
                )
            )
    found: Counter[Key] = Counter()
    for question_id, cast in votes.items():
        if questions[question_id].expected is not None:
            continue
        for settled in agree(cast, needs=questions[question_id].needs, trust=trust).settled:
            claim = settled.claim
            said = (claim.verb, claim.face_id, claim.other_face_id, claim.name, claim.value)
            for vote in settled.votes:
                found[*said, vote.annotator, unique_ids[vote.annotation_id, vote.annotator]] += 1
    return found


def standing(decisions: Iterable[Decision]) -> Counter[Key]:
    """What the log says now, counted: twice the same is two."""
    said = list(decisions)
    gone = {one.retracts for one in said if one.verb == "retract"}
    return Counter(
        (one.verb, one.face_id, one.other_face_id, one.name, one.value, one.annotator, one.annotation_id)
        for one in said
        if one.verb != "retract" and one.decision_id not in gone
    )


def faults(decisions: Iterable[Decision], right: Mapping[Key, int]) -> dict[str, int]:
    """How many decisions are lost, doubled, or in the log though nobody's answer stands for them."""
    found = standing(decisions)
    return {
        "lost": sum(count > found[key] for key, count in right.items()),
        "doubled": sum(count > 1 for count in found.values()),
        "forged": sum(key not in right for key in found),
    }


def _answer(question: Question, one: ServerAnnotation) -> Answer:
    """Read without the product's reader."""
    said: dict[str, list[str]] = {}
    for entry in one.result:
        assert isinstance(entry, dict)
        value = entry["value"]
        assert isinstance(value, dict)
        choices = value["choices"]
        assert isinstance(choices, list)
        said[str(entry["from_name"])] = [str(choice) for choice in choices]
    if question.kind == "same_person":
        (verdict_,) = said["verdict"]
        return SamePersonAnswer(verdict=verdict_)  # type: ignore[arg-type]
    subject = subject_of(question)
    assert isinstance(subject, OddOnesOut)
    faces = [member.face_id for member in subject.members]
    not_faces = tuple(faces[int(place) - 1] for place in said.get("not_faces", ()))
    strangers = tuple(faces[int(place) - 1] for place in said.get("strangers", ()))
    return OddOnesOutAnswer(
        verdict="sorted", strangers=tuple(face for face in strangers if face not in not_faces), not_faces=not_faces
    )
