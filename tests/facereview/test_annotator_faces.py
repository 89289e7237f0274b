"""Questions about one face or frame on the real server: described by keys, drawn by mouse, read as what was meant."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from facereview.kinds import (
    Answer,
    Attributes,
    AttributesAnswer,
    Boxes,
    BoxesAnswer,
    FaceBox,
    Landmarks,
    LandmarksAnswer,
    Prediction,
    Strip,
    Subject,
    ask,
    subject_of,
)
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import RunningServer
from facereview.pictures import FramePicture, pictures_of
from facereview.schema import AttributeField, AttributeSchema
from facereview.screens import label_config, prediction, read_answer, task_data
from facereview.screens.attributes import hotkeys
from facereview.server import TaskDraft
from facestore.questions import Question

from .annotator import Annotator
from .canvas import Canvas, Place

pytestmark = pytest.mark.integration

WIDTH, HEIGHT = 1920, 1080  # px of the frames
MODEL = "yunet@1"
SECONDS = 10.0  # to the next task: generous, for a machine that is busy
HAND_PX = 6.0  # of the frame, that a drag may be off by: a px of the screen is two of the frame
PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text(encoding="utf-8"))
SCHEMA = AttributeSchema(
    fields=tuple(
        AttributeField(name=field["name"], title=field["title"], values=tuple(field["values"]))
        for field in PARAMS["review"]["attributes"]
    )
)


def _question(subject: Subject) -> Question:
    return ask(subject, subset="gate", reason="low_score", model_version=MODEL, chance=0.8, gain=1.0, seconds=6.0)


def _picture(path: Path, width: int, height: int) -> None:
    """Faces as children draw them: no person's photo is needed to test a screen."""
    picture = np.full((height, width, 3), (90, 120, 60), np.uint8)
    for x in range(0, width, 240):
        cv2.circle(picture, (x + 120, height // 2), min(100, height // 3), (200, 220, 240), -1)
    cv2.imwrite(str(path), picture)


def _project(server: LabelStudioServer, label_studio: RunningServer, questions: Sequence[Question]) -> int:
    """A project with one task a question, predictions filled in, pictures in the served folder."""
    kind = questions[0].kind
    folder = Path(label_studio.files) / f"faces-{kind}"
    folder.mkdir()
    project = server.create_project(
        title=f"One {kind}", description="", label_config=label_config(kind, SCHEMA), overlap=1, model_version=MODEL
    )
    server.connect_folder(project.project_id, str(folder))
    drafts = []
    for question in questions:
        urls = {}
        for place, picture in enumerate(pictures_of(subject_of(question))):
            name = f"{question.question_id}-{place}.jpg"
            view = picture.view if isinstance(picture, FramePicture) else (0, 0, 224, 224)
            x1, y1, x2, y2 = view or (0, 0, WIDTH, HEIGHT)
            _picture(folder / name, x2 - x1, y2 - y1)
            urls[picture] = f"/data/local-files/?d={folder.name}/{name}"
        data = task_data(question, urls, SCHEMA)
        drafts.append(TaskDraft(question_id=question.question_id, data=data, prediction=prediction(question, SCHEMA)))
    server.create_tasks(project.project_id, drafts)
    return project.project_id


def _answers(server: LabelStudioServer, project_id: int, questions: Sequence[Question]) -> list[Answer]:
    tasks = {task.question_id: task for task in server.tasks(project_id)}
    found = []
    for question in questions:
        (annotation,) = tasks[question.question_id].annotations
        found.append(read_answer(question, annotation.result, SCHEMA))
    return found


def _percent(x: float, y: float, view: tuple[int, int, int, int] = (0, 0, WIDTH, HEIGHT)) -> Place:
    """px of the frame to percent of what the picture shows; written down anew, to hold the product's to account."""
    return 100 * (x - view[0]) / (view[2] - view[0]), 100 * (y - view[1]) / (view[3] - view[1])


def test_attributes_are_corrected_by_keys_and_by_clicks(
    person: Annotator, server: LabelStudioServer, label_studio: RunningServer
) -> None:
    """With the schema that we ship: all of it is above the fold."""
    guesses = {field.name: field.values[0] for field in SCHEMA.fields}
    predictions = tuple(Prediction(name=name, value=value, score=0.7) for name, value in guesses.items())
    questions = [
        _question(Attributes(strip=Strip(face_ids=(f"a{n}", f"b{n}", f"c{n}")), predictions=predictions))
        for n in range(3)
    ]
    project_id = _project(server, label_studio, questions)
    starts = np.cumsum([0, *(len(field.values) for field in SCHEMA.fields)])
    keys = hotkeys(SCHEMA)
    first, second, third, *_ = SCHEMA.fields
    person.open(project_id)
    assert person.lowest_px() < person.fold_px()
    assert person.ticked("answers") == starts[:-1].tolist()
    person.press(keys[first.name, first.values[-1]])
    person.click("answers", int(starts[1]) + 1)
    person.click("answers", int(starts[2]))  # ticked: it is unticked
    assert person.submit(by_key=True) < SECONDS
    person.press("0")
    assert person.submit() < SECONDS
    person.submit(by_key=True)
    assert person.is_done()
    changed, unusable, agreed = _answers(server, project_id, questions)
    assert isinstance(changed, AttributesAnswer)
    assert isinstance(agreed, AttributesAnswer)
    said = {**guesses, first.name: first.values[-1], second.name: second.values[1]}
    del said[third.name]
    assert {one.name: one.value for one in changed.values} == said
    assert unusable == AttributesAnswer(verdict="unusable")
    assert {one.name: one.value for one in agreed.values} == guesses


def test_boxes_are_deleted_moved_and_drawn(
    person: Annotator, server: LabelStudioServer, label_studio: RunningServer
) -> None:
    boxes = {"none": (120, 440, 280, 640), "off": (800, 400, 1000, 640), "good": (1500, 440, 1660, 640)}
    found = tuple(FaceBox(face_id=face, bbox=box) for face, box in boxes.items())
    questions = [
        _question(Boxes(footage_id="f" * 64, pts_ms=pts_ms, width=WIDTH, height=HEIGHT, boxes=found))
        for pts_ms in (0, 40)
    ]
    project_id = _project(server, label_studio, questions)
    person.open(project_id)
    canvas = Canvas(page=person.page)
    assert canvas.bottom_px() < person.fold_px()
    assert canvas.size_px()[0] > 1000
    canvas.click(_percent(200, 540))
    person.press("Backspace")
    canvas.drag(_percent(1200, 100), _percent(1400, 340))
    person.press("Escape")
    canvas.click(_percent(900, 520))
    canvas.drag(_percent(900, 520), _percent(960, 580))
    assert person.submit(by_key=True) < SECONDS
    person.submit(by_key=True)
    assert person.is_done()
    changed, agreed = _answers(server, project_id, questions)
    assert isinstance(changed, BoxesAnswer)
    assert changed.wrong == ("none",)
    assert [box.face_id for box in changed.moved] == ["off"]
    assert changed.moved[0].bbox == pytest.approx((860, 460, 1060, 700), abs=HAND_PX)
    assert len(changed.missed) == 1
    assert changed.missed[0] == pytest.approx((1200, 100, 1400, 340), abs=HAND_PX)
    assert agreed == BoxesAnswer(wrong=(), moved=(), missed=())


def test_points_are_dragged_and_faces_are_called_unusable(
    person: Annotator, server: LabelStudioServer, label_studio: RunningServer
) -> None:
    view = (700, 300, 1000, 600)
    points = (800, 400, 900, 402, 850, 450, 810, 500, 890, 501)
    questions = [
        _question(Landmarks(face_id=face, footage_id="f" * 64, pts_ms=0, view=view, points=points))
        for face in ("dragged", "unusable", "agreed")
    ]
    project_id = _project(server, label_studio, questions)
    person.open(project_id)
    canvas = Canvas(page=person.page)
    assert canvas.bottom_px() < person.fold_px()
    assert min(canvas.size_px()) > 500
    canvas.drag(_percent(850, 450, view), _percent(865, 470, view))
    assert person.submit(by_key=True) < SECONDS
    person.press("6")
    person.submit()
    person.submit(by_key=True)
    assert person.is_done()
    dragged, unusable, agreed = _answers(server, project_id, questions)
    assert isinstance(dragged, LandmarksAnswer)
    assert isinstance(agreed, LandmarksAnswer)
    assert dragged.points == pytest.approx((800, 400, 900, 402, 865, 470, 810, 500, 890, 501), abs=1.5)
    assert dragged.points[4:6] != agreed.points[4:6]
    assert unusable == LandmarksAnswer(verdict="unusable")
    assert agreed.points == pytest.approx(points, abs=0.01)
