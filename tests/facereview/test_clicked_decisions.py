"""From a click to a decision: each kind pushed, answered in a browser, pulled, and in the log as it was meant."""

from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from facereview.answers.claims import BOX, LANDMARKS, MISSED_FACE
from facereview.answers.consensus import Trust
from facereview.answers.reconcile import pull
from facereview.asking.push import PushParams, push
from facereview.asking.shelf import FolderShelf
from facereview.kinds import (
    Attributes,
    Boxes,
    Candidate,
    FaceBox,
    Landmarks,
    Member,
    OddOnesOut,
    Prediction,
    SamePerson,
    Strip,
    Subject,
    WhoIsThis,
    ask,
)
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import RunningServer
from facereview.pictures import FramePicture, Picture
from facereview.schema import AttributeField, AttributeSchema
from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision
from facestore.questions import Question, QuestionKind
from facestore.reviewlog import ReviewLog

from .annotator import Annotator, annotator
from .canvas import Canvas

pytestmark = pytest.mark.integration

SCHEMA = AttributeSchema(
    fields=(
        AttributeField(name="gaze", title="Gaze", values=("camera", "away")),
        AttributeField(name="state", title="State", values=("awake", "asleep")),
    )
)
WIDTH, HEIGHT = 800, 600
POINTS = (60.0, 80.0, 140.0, 80.0, 100.0, 120.0, 70.0, 150.0, 130.0, 150.0)


class Painted:
    """Pictures that nobody had to sit for."""

    def jpeg(self, picture: Picture) -> bytes:
        width, height = 224, 224
        if isinstance(picture, FramePicture):
            x1, y1, x2, y2 = picture.view or (0, 0, WIDTH, HEIGHT)
            width, height = x2 - x1, y2 - y1
        found, jpeg = cv2.imencode(".jpg", np.full((height, width, 3), 140, np.uint8))
        assert found
        return bytes(jpeg)


def question(subject: Subject, rank: int) -> Question:
    return ask(
        subject, subset="s", reason="weak_member", model_version="m1", chance=0.7, gain=1.0, seconds=4.0, rank=rank
    )


def strip(*faces: str) -> Strip:
    return Strip(face_ids=faces)


SUBJECTS: dict[QuestionKind, Subject] = {
    "same_person": SamePerson(left=strip("a1"), right=strip("b1"), similarity=0.4, chance=0.6),
    "odd_ones_out": OddOnesOut(
        reference=strip("r1"),
        members=tuple(Member(face_id=f"m{n}", chance=0.6, is_doubtful=n == 1) for n in (1, 2, 3)),
    ),
    "who_is_this": WhoIsThis(
        probe=strip("p1"),
        candidates=tuple(Candidate(strip=strip(f"c{n}"), similarity=0.4, chance=0.45) for n in (1, 2)),
    ),
    "attributes": Attributes(strip=strip("t1"), predictions=(Prediction(name="gaze", value="camera", score=0.8),)),
    "boxes": Boxes(
        footage_id="film",
        pts_ms=40,
        width=WIDTH,
        height=HEIGHT,
        boxes=(FaceBox(face_id="x1", bbox=(80, 60, 240, 240)), FaceBox(face_id="x2", bbox=(400, 60, 560, 240))),
    ),
    "landmarks": Landmarks(face_id="l1", footage_id="film", pts_ms=40, view=(0, 0, 200, 200), points=POINTS),
}
QUESTIONS = {kind: question(subject, rank) for rank, (kind, subject) in enumerate(SUBJECTS.items())}


@pytest.fixture(scope="module")
def said(
    label_studio: RunningServer, server: LabelStudioServer, chromium: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Decision]:
    """What the log holds after somebody answered all six."""
    url = f"sqlite:///{tmp_path_factory.mktemp('clicked') / 'catalogue.sqlite3'}"
    log, decisions = ReviewLog(url), DecisionLog(url)
    shelf = FolderShelf(root=Path(label_studio.files), prefix="clicked")
    shelf.folder.mkdir()
    push(
        QUESTIONS.values(),
        log=log,
        server=server,
        shelf=shelf,
        pictures=Painted(),
        schema=SCHEMA,
        params=PushParams(project_tasks=50, backlog=50, max_rounds=2),
        now=datetime.now(UTC),
        say=lambda _: None,
        group_of_face={},
        connect=lambda project: server.connect_folder(project, str(shelf.folder)),
    )
    project_of = {project.kind: project.project_id for project in log.projects()}
    with annotator(chromium, label_studio.url, label_studio.email, label_studio.password) as person:
        for kind in QUESTIONS:
            person.open(project_of[kind])
            answer(person, kind)
            person.submit()
    pulled = pull(
        log=log,
        server=server,
        schema=SCHEMA,
        trust=Trust(certainty=0.7, error_rate=0.03, error_rates={}),
        is_known_face=lambda _: True,
        now=lambda: datetime.now(UTC),
        full=True,
        say=lambda _: None,
    )
    assert pulled.versions == {"answered": len(QUESTIONS)}
    found = list(decisions.all())
    log.close()
    decisions.close()
    return found


def answer(person: Annotator, kind: QuestionKind) -> None:
    """As an annotator would, by mouse and by keys."""
    canvas = Canvas(page=person.page)
    match kind:
        case "same_person":
            person.click("answers", 1)  # different
        case "odd_ones_out":
            person.click("cells", 0)  # m1 was marked: it belongs after all
            person.click("cells", 1)  # m2 is a stranger
            person.click("marks", 2)  # m3 is no face
        case "who_is_this":
            person.click("candidates", 1)
        case "attributes":
            person.press("2")  # gaze: away
        case "boxes":
            canvas.click((20, 25))  # the middle of x1 …
            person.press("Backspace")
            canvas.drag((62.5, 60), (80, 90))  # somebody was missed
        case "landmarks":
            canvas.drag((50, 60), (60, 70))  # the nose


def of(said: list[Decision], kind: QuestionKind) -> list[Decision]:
    return [decision for decision in said if decision.question_id == QUESTIONS[kind].question_id]


def test_each_decision_cites_its_annotation_and_one_opaque_annotator(said: list[Decision]) -> None:
    assert {decision.annotation_version for decision in said} == {1}
    assert all(decision.annotation_id for decision in said)
    (name,) = {decision.annotator for decision in said}
    assert "@faceloop" not in name


def test_two_people_are_kept_apart(said: list[Decision]) -> None:
    (word,) = of(said, "same_person")
    assert (word.verb, word.face_id, word.other_face_id) == ("different", "a1", "b1")


def test_a_stranger_a_member_and_what_is_no_face(said: list[Decision]) -> None:
    words = {(word.verb, word.face_id, word.other_face_id) for word in of(said, "odd_ones_out")}
    assert words == {("same", "m1", "r1"), ("different", "m2", "r1"), ("not_a_face", "m3", None)}


def test_the_probe_is_the_second_candidate(said: list[Decision]) -> None:
    (word,) = of(said, "who_is_this")
    assert (word.verb, word.face_id, word.other_face_id) == ("same", "c2", "p1")


def test_an_attribute_is_corrected(said: list[Decision]) -> None:
    words = {(word.face_id, word.name, word.value) for word in of(said, "attributes")}
    assert words == {("t1", "gaze", "away")}


def test_a_wrong_box_goes_and_a_missed_face_comes(said: list[Decision]) -> None:
    words = of(said, "boxes")
    assert sorted((word.verb, str(word.name)) for word in words) == [("attribute", MISSED_FACE), ("not_a_face", "None")]
    assert BOX not in {word.name for word in words}
    assert [word.face_id for word in words if word.verb == "not_a_face"] == ["x1"]


def test_a_point_is_moved_and_the_others_stay(said: list[Decision]) -> None:
    (word,) = of(said, "landmarks")
    assert word.name == LANDMARKS
    points = [float(number) for number in str(word.value).split(",")]
    expected = [*POINTS]
    expected[4:6] = [120.0, 140.0]
    np.testing.assert_allclose(points, expected, atol=3.0)
