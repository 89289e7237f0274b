"""review push: the plan of `select` to the labelling server, and what nobody need answer any more away from it."""

from dataclasses import dataclass
from datetime import datetime

from faceloop.decision_tables import policy_of, read_logs
from faceloop.identity.resolve import aliases_of
from faceloop.question_pictures import QuestionPictures
from faceloop.questions.gather import groups_of_faces
from faceloop.questions.moot import moot
from faceloop.review.access import Showing, review_params
from faceloop.review.doubts import ask_again
from faceloop.review.offered import beside_plan
from faceloop.runner import Workspace
from facereview.asking.push import Pushed, PushParams, push
from facereview.asking.withdraw import withdraw
from facereview.kinds import subject_of
from facereview.pictures import pictures_of
from facereview.server import ReviewServer
from facestore.errors import InputsNotReady
from facestore.publish import read_manifest
from facestore.questions import CLOSED, Question
from facestore.records import Face
from facestore.reviewlog import ReviewLog
from facestore.tables import read_columns, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a push came to."""

    pushed: Pushed
    withdrawn: int  # questions that are moot
    kept: int  # moot too, but somebody has begun or answered
    doubted: int  # settled ones that somebody else is asked too


def ask_people(work: Workspace, log: ReviewLog, server: ReviewServer, shown: Showing, *, now: datetime) -> Asked:
    """Withdraw what is moot, then push the plan, and what was offered beside it.

    Raises InputsNotReady before select has run, and what push raises.
    """
    folder = work.path("questions")
    if read_manifest(folder) is None:
        raise InputsNotReady(f"review push: missing input {folder}; run select first")
    plan = list(read_table(folder, "questions", Question))
    gone = _moot(work, log, plan)
    left = withdraw(gone, log=log, server=server, shelf=shown.shelf, now=now)
    fresh = [question for question in plan if question.question_id not in gone]
    params = review_params(work)
    doubted = ask_again(work, log, fresh, now=now)
    fresh += beside_plan(log, {question.question_id for question in plan})
    with QuestionPictures(work) as pictures:
        pictures.prepare(picture for question in fresh for picture in pictures_of(subject_of(question)))
        pushed = push(
            fresh,
            log=log,
            server=server,
            shelf=shown.shelf,
            pictures=pictures,
            schema=params.schema_of_attributes(),
            params=PushParams(project_tasks=params.project_tasks, backlog=params.backlog, max_rounds=params.max_rounds),
            now=now,
            say=work.progress.say,
            group_of_face=groups_of_faces(work.path("clusters")),
            connect=shown.connect,
        )
    return Asked(pushed=pushed, withdrawn=len(left.question_ids), kept=len(left.kept), doubted=doubted)


def _moot(work: Workspace, log: ReviewLog, plan: list[Question]) -> set[str]:
    """Of the plan and of what is open: what is answered by now, or about faces that are gone."""
    closed = {key for key, settlement in log.settlements().items() if settlement.state in CLOSED}
    questions = {question.question_id: question for question in plan}
    questions |= {question.question_id: question for question in log.questions()}
    logs = read_logs(work)
    table = read_columns(work.path("faces"), "faces", Face, ("face_id", "rejected"))
    faces = set(table.filter(table["rejected"].is_null())["face_id"].to_pylist())
    found = moot(
        [question for key, question in questions.items() if key not in closed],
        effective=logs.resolved(policy_of(work)).effective,
        aliases=aliases_of(logs.events),
        faces=faces,
    )
    return set(found)
