"""Questions about people on the real server: an annotator answers by mouse and by keys, and we read what was meant."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from facereview.kinds import (
    Answer,
    Candidate,
    Member,
    OddOnesOut,
    OddOnesOutAnswer,
    SamePerson,
    SamePersonAnswer,
    Strip,
    Subject,
    WhoIsThis,
    WhoIsThisAnswer,
    ask,
    subject_of,
)
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import RunningServer
from facereview.pictures import pictures_of
from facereview.schema import AttributeSchema
from facereview.screens import label_config, prediction, read_answer, task_data
from facereview.server import TaskDraft
from facestore.questions import Question

from .annotator import Annotator

pytestmark = pytest.mark.integration

SCHEMA = AttributeSchema(fields=())
MODEL = "sface@12"
SECONDS = 10.0  # to the next task: generous, for a machine that is busy


def _strip(*faces: str) -> Strip:
    return Strip(face_ids=faces)


def _question(subject: Subject) -> Question:
    return ask(
        subject, subset="gate", reason="two_halves", reason_detail="1 of 3 models differ", model_version=MODEL,
        chance=0.8, gain=1.0, seconds=3.0,
    )  # fmt: skip


def _picture(folder: Path, number: int) -> None:
    """A face as children draw them: no person's photo is needed to test a screen."""
    picture = np.full((224, 224, 3), (40 * number % 255, 90, 200 - 30 * number % 200), np.uint8)
    cv2.circle(picture, (112, 112), 80, (200, 220, 240), -1)
    cv2.putText(picture, str(number), (70, 140), cv2.FONT_HERSHEY_SIMPLEX, 2.5, (0, 0, 0), 4)
    cv2.imwrite(str(folder / f"{number}.jpg"), picture)


def _project(server: LabelStudioServer, label_studio: RunningServer, questions: list[Question]) -> int:
    """A project with one task a question, predictions filled in, pictures in the served folder."""
    kind = questions[0].kind
    folder = Path(label_studio.files) / f"people-{kind}"
    folder.mkdir()
    project = server.create_project(
        title=f"Faces {kind}", description="", label_config=label_config(kind, SCHEMA), overlap=1, model_version=MODEL
    )
    server.connect_folder(project.project_id, str(folder))
    tasks = []
    for question in questions:
        pictures = pictures_of(subject_of(question))
        for number in range(len(pictures)):
            _picture(folder, number)
        urls = {picture: f"/data/local-files/?d={folder.name}/{number}.jpg" for number, picture in enumerate(pictures)}
        draft = TaskDraft(
            question_id=question.question_id,
            data=task_data(question, urls, SCHEMA),
            prediction=prediction(question, SCHEMA),
        )
        tasks.append(draft)
    server.create_tasks(project.project_id, tasks)
    return project.project_id


def _answers(server: LabelStudioServer, project_id: int, questions: list[Question]) -> list[Answer | None]:
    """What each question was answered, None where it was skipped."""
    found: dict[str, Answer | None] = {}
    for question in questions:
        (task,) = (task for task in server.tasks(project_id) if task.question_id == question.question_id)
        (annotation,) = task.annotations
        found[question.question_id] = (
            None if annotation.is_skipped else read_answer(question, annotation.result, SCHEMA)
        )
    return [found[question.question_id] for question in questions]


def test_a_pair_is_answered_by_a_click_by_keys_by_agreeing_and_by_skipping(
    person: Annotator, server: LabelStudioServer, label_studio: RunningServer
) -> None:
    questions = [
        _question(
            SamePerson(left=_strip(f"a{n}", "x", "y", "z", "w"), right=_strip(f"b{n}"), similarity=0.4, chance=0.7)
        )
        for n in range(5)
    ]
    project_id = _project(server, label_studio, questions)
    person.open(project_id)
    assert person.lowest_px() < person.fold_px()
    assert person.ticked("answers") == [0]
    person.click("answers", 1)
    assert person.submit() < SECONDS
    person.press("5")
    assert person.ticked("answers") == [4]
    assert person.submit(by_key=True) < SECONDS
    person.submit(by_key=True)
    person.skip()
    person.click("answers", 0)  # ticked already
    person.submit(by_key=True)
    assert person.is_done()
    assert _answers(server, project_id, questions) == [
        SamePersonAnswer(verdict="different"),
        SamePersonAnswer(verdict="right_unusable"),
        SamePersonAnswer(verdict="same"),
        None,
        SamePersonAnswer(verdict="same"),
    ]


def test_strangers_are_clicked_out_of_a_grid_of_twenty(
    person: Annotator, server: LabelStudioServer, label_studio: RunningServer
) -> None:
    def grid(question: int, size: int, doubtful: set[int]) -> Question:
        members = tuple(
            Member(face_id=f"m{question}-{place}", chance=0.5, is_doubtful=place in doubtful) for place in range(size)
        )
        return _question(OddOnesOut(reference=_strip(f"r{question}", "s", "t"), members=members))

    questions = [grid(0, 20, {3, 19}), grid(1, 6, {2}), grid(2, 20, set()), grid(3, 20, {1})]
    project_id = _project(server, label_studio, questions)
    person.open(project_id)
    assert person.lowest_px() < person.fold_px()
    assert person.ticked("cells") == [3, 19]
    person.click("cells", 3)
    person.click("cells", 7)
    person.click("marks", 8)
    person.submit()
    person.press("3")  # unmarks the only doubtful one
    person.submit(by_key=True)
    person.press("b", "t", "Shift+z", "Shift+1")
    person.submit(by_key=True)
    person.press("0")
    person.submit(by_key=True)
    assert _answers(server, project_id, questions) == [
        OddOnesOutAnswer(verdict="sorted", strangers=("m0-7", "m0-19"), not_faces=("m0-8",)),
        OddOnesOutAnswer(verdict="sorted"),
        OddOnesOutAnswer(verdict="sorted", strangers=("m2-9", "m2-19"), not_faces=("m2-0", "m2-15")),
        OddOnesOutAnswer(verdict="unsure"),
    ]


def test_somebody_is_found_among_candidates(
    person: Annotator, server: LabelStudioServer, label_studio: RunningServer
) -> None:
    def line_up(question: int, size: int) -> Question:
        candidates = tuple(
            Candidate(strip=_strip(f"c{question}-{place}", "d", "e"), similarity=0.5, chance=0.5 / (place + 1))
            for place in range(size)
        )
        return _question(WhoIsThis(probe=_strip(f"p{question}", "q", "r"), candidates=candidates))

    questions = [line_up(0, 5), line_up(1, 2), line_up(2, 1), line_up(3, 3)]
    project_id = _project(server, label_studio, questions)
    person.open(project_id)
    assert person.lowest_px() < person.fold_px()
    person.click("candidates", 4)
    person.submit()
    person.press("2")
    person.submit(by_key=True)
    person.press("6")
    person.submit(by_key=True)
    person.click("candidates", 5)  # after three pictures: someone new, cannot tell, unusable
    person.submit()
    assert _answers(server, project_id, questions) == [
        WhoIsThisAnswer(verdict="candidate", candidate=4),
        WhoIsThisAnswer(verdict="candidate", candidate=1),
        WhoIsThisAnswer(verdict="someone_new"),
        WhoIsThisAnswer(verdict="unusable"),
    ]


def test_further_shots_stand_under_their_own_candidate_whoever_has_none(
    person: Annotator, server: LabelStudioServer, label_studio: RunningServer
) -> None:
    strips = [_strip("k0", "k0b", "k0c"), _strip("k1"), _strip("k2", "k2b"), _strip("k3", "k3b", "k3c")]
    candidates = tuple(Candidate(strip=strip, similarity=0.5, chance=0.2) for strip in strips)
    question = _question(WhoIsThis(probe=_strip("k"), candidates=candidates))
    folder = Path(label_studio.files) / "people-who_is_this"
    if folder.exists():
        folder.rename(folder.with_name("people-who_is_this-before"))
    person.open(_project(server, label_studio, [question]))

    def middles(selector: str) -> list[float]:
        boxes = [image.bounding_box() for image in person.page.locator(selector).all()]
        return [round(box["x"] + box["width"] / 2) for box in boxes if box is not None]

    first, _, third, fourth = middles(".fl-candidates .lsf-choice img")
    assert middles(".fl-further .fl-row2 img") == [first, third, fourth]
    assert middles(".fl-further .fl-row3 img") == [first, fourth]
