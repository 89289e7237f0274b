import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceloop.decision_tables import export_decisions, with_decision_log
from faceloop.questions.audits import Detected, FrameSeen, ask_boxes, ask_landmarks, lot, within
from faceloop.questions.describing import predicted
from faceloop.questions.gather import groups_of_faces
from faceloop.questions.moot import moot
from faceloop.questions.situation import Sight
from faceloop.runner import Outcome, Workspace, run_stage
from facereview.answers.claims import claims_of
from facereview.kinds import (
    Boxes,
    Landmarks,
    OddOnesOut,
    OddOnesOutAnswer,
    Prediction,
    SamePerson,
    shown_faces,
    subject_of,
)
from facestore.decisions import Decision, Verb, decide
from facestore.errors import ConfigError
from facestore.ids import sha256_hex
from facestore.publish import fresh_partial, publish
from facestore.questions import Question
from facestore.records import Assignment, Cluster, Face, FaceEmbedding, Footage, NearDuplicate, TrackletTemplate
from facestore.tables import read_table, write_table

from .runner_world import digests_of, open_root, tree_of
from .situation_world import select_params

PEOPLE, PHOTOS, DIM = 8, 6, 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECONDS = select_params().seconds


def face_id(person: int, photo: int) -> str:
    return sha256_hex(f"face {person} {photo}".encode())[:32]


PERSON = {face_id(person, photo): person for person in range(PEOPLE) for photo in range(PHOTOS)}


def publish_world(work: Workspace, *, shuffled: int | None = None, is_empty: bool = False) -> None:
    """Photos of eight people; of person 0 two photos are so hard that clustering leaves them apart from the rest."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    footage, faces, vectors, templates = [], [], [], []
    for name, person in PERSON.items():
        photo = next(number for number in range(PHOTOS) if face_id(person, number) == name)
        is_hard = person == 0 and photo >= PHOTOS - 2
        vector = axes[person] + 0.05 * rng.standard_normal(DIM)
        if is_hard:
            vector = 0.36 * axes[person] + axes[PEOPLE] + 0.05 * rng.standard_normal(DIM)
        vector = tuple((vector / np.linalg.norm(vector)).astype(np.float32).tolist())
        source = sha256_hex(name.encode())
        footage.append(
            Footage(
                footage_id=source, batch="b000", uri=f"{name}.jpg", locations=(f"{name}.jpg",), size_bytes=1,
                kind="image", width=640, height=480, rotation=0, fps=None, duration_s=None, frames=None, codec="jpeg",
                captured_at=None, source="s", subset=f"album{photo % 2}", consent_id=None, keys=(), flags=(),
            )
        )  # fmt: skip
        faces.append(
            Face(
                face_id=name, footage_id=source, subset=f"album{photo % 2}", pts_ms=0,
                bbox=(100.0, 100.0, 200.0, 220.0), landmarks=tuple(float(value) for value in range(100, 110)),
                det_score=0.9, tracklet_id=f"t{name}", is_best_shot=True, size_px=110.0, sharpness=1.0, brightness=0.5,
                contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=0.8 + 0.01 * photo,
                crop_key=f"b000/{name}", detector="yunet", rejected=None,
            )
        )  # fmt: skip
        vectors.append(
            FaceEmbedding(face_id=name, tracklet_id=f"t{name}", footage_id=source, contract_id=CONTRACT,
                          embedding=vector)
        )  # fmt: skip
        templates.append(
            TrackletTemplate(
                tracklet_id=f"t{name}", footage_id=source, subset=f"album{photo % 2}", contract_id=CONTRACT, faces=1,
                weight=0.8, quality=0.8, coherence=1.0, best_face_id=name, embedding=vector,
            )
        )  # fmt: skip
    published: tuple[tuple[str, str, dict[str, tuple[type[Any], Sequence[Any]]]], ...] = (
        ("footage", "ingest", {"footage": (Footage, footage)}),
        ("faces", "detect", {"faces": (Face, faces)}),
        (
            "embeddings",
            "embed",
            {
                "faces": (FaceEmbedding, vectors),
                "templates": (TrackletTemplate, templates),
                "near_duplicates": (NearDuplicate, []),
            },
        ),
    )
    for artifact, stage, tables in published:
        partial = fresh_partial(work.path(artifact), keep=False)
        for name, (record, rows) in tables.items():
            order = np.random.default_rng(shuffled).permutation(len(rows)) if shuffled is not None else range(len(rows))
            kept = [] if is_empty else [rows[place] for place in order]
            write_table(partial / f"{name}.parquet", record, kept)
        publish(work.path(artifact), stage=stage, run_key=f"run-{stage}-{shuffled}", counts={}, inputs={})


CONTRACT = "ec1cdc4793d86c6e"  # of the built-in recogniser, for its shipped calibration


def a_root(root: Path, *overrides: str, shuffled: int | None = None, is_empty: bool = False) -> Workspace:
    work = open_root(root, tree_of(root / "source", *overrides))
    publish_world(work, shuffled=shuffled, is_empty=is_empty)
    return work


def select(work: Workspace, decisions: Sequence[Decision] = ()) -> Outcome:
    """Take people's word in, and run everything up to select."""
    if decisions:
        with_decision_log(work, lambda log: log.append(list(decisions)))
    export_decisions(work)
    for stage in ("cluster", "identify"):
        run_stage(work, stage)
    return run_stage(work, "select")


def plan_of(work: Workspace) -> list[Question]:
    return list(read_table(work.path("questions"), "questions", Question))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    work = a_root(tmp_path_factory.mktemp("asked"))
    select(work)
    return work


def confirmed(questions: Sequence[Question]) -> list[Decision]:
    """What a person who knows everybody says of the grids."""
    said: list[Decision] = []
    for question in questions:
        subject = subject_of(question)
        if isinstance(subject, OddOnesOut) and question.expected is None:
            person = PERSON[subject.reference.face_ids[0]]
            strangers = tuple(one.face_id for one in subject.members if PERSON[one.face_id] != person)
            said += [
                decide(one.verb, face_id=one.face_id, other_face_id=one.other_face_id, annotator="ann", decided_at=NOW)
                for one in claims_of(subject, OddOnesOutAnswer(verdict="sorted", strangers=strangers))
            ]
    return said


def person_of(question: Question) -> int:
    return PERSON[shown_faces(subject_of(question))[0]]


def test_the_plan_asks_who_the_hard_photos_are_and_confirms_the_rest(asked: Workspace) -> None:
    questions = plan_of(asked)
    assert [question.rank for question in questions] == list(range(len(questions)))
    assert {question.kind for question in questions} == {"same_person", "odd_ones_out", "boxes", "landmarks"}
    best = next(question for question in questions if question.kind == "same_person")
    subject = subject_of(best)
    assert isinstance(subject, SamePerson)
    hard = {face_id(0, PHOTOS - 2), face_id(0, PHOTOS - 1)}
    assert {PERSON[face] for face in shown_faces(subject)} == {0}
    assert hard & {subject.left.face_ids[0], subject.right.face_ids[0]}
    grids = [question for question in questions if question.kind == "odd_ones_out"]
    assert {question.reason for question in grids} == {"proposed_identity"}
    assert len(grids) == PEOPLE
    assert len({question.question_id for question in questions}) == len(questions)
    assert all(question.model_version == CONTRACT and question.expected is None for question in questions)


def test_the_plan_file_says_what_the_plan_costs_and_brings(asked: Workspace) -> None:
    plan = json.loads((asked.path("questions") / "plan.json").read_text(encoding="utf-8"))
    questions = plan_of(asked)
    assert plan["stop"] == "nothing_left"
    for kind, line in plan["kinds"].items():
        of_kind = [question for question in questions if question.kind == kind]
        assert line["questions"] == len(of_kind)
        assert line["seconds"] == pytest.approx(sum(question.seconds for question in of_kind))
    before, after = plan["predicted"]["before"], plan["predicted"]["after"]
    assert 0 < before["pairwise_f"] < after["pairwise_f"] <= 1
    assert after["pairwise_recall"] > before["pairwise_recall"]


def test_answers_bring_attributes_and_honeypots_and_are_not_asked_for_again(asked: Workspace, tmp_path: Path) -> None:
    shutil.copytree(asked.root, tmp_path / "root")
    work = open_root(tmp_path / "root", tree_of(asked.root / "source", "select.shares.honeypots=0.5"))
    before = plan_of(work)
    answered = {one.question_id for one in before if one.kind == "odd_ones_out" and person_of(one) < 6}
    said = confirmed([one for one in before if one.question_id in answered])
    anchors = [face_id(person, 0) for person in range(6)]
    said += [
        decide("is", face_id=face, identity_id=f"person-{place}", annotator="ann", decided_at=NOW)
        for place, face in enumerate(anchors)
    ]
    outcome = select(work, said)
    after = plan_of(work)
    assert answered.isdisjoint(one.question_id for one in after)
    assert {one.kind for one in after} >= {"attributes", "boxes", "landmarks"}
    faces = {face.face_id for face in read_table(work.path("faces"), "faces", Face)}
    effective = list(read_table(work.path("decisions"), "effective", Decision))
    assert moot(after, effective=effective, aliases={}, faces=faces) == {}
    assert 0 < outcome.report.figures["honeypots"] == sum(one.expected is not None for one in after)
    gone = moot(before, effective=effective, aliases={}, faces=faces)
    assert set(gone) == answered


def test_faces_that_people_left_out_are_not_shown(asked: Workspace, tmp_path: Path) -> None:
    shutil.copytree(asked.root, tmp_path / "root")
    work = open_root(tmp_path / "root", asked.tree)
    out = [face_id(0, PHOTOS - 1), face_id(3, 0)]
    verbs: tuple[Verb, ...] = ("not_a_face", "ignore")
    said = [decide(verb, face_id=face, annotator="ann", decided_at=NOW) for verb, face in zip(verbs, out, strict=True)]
    select(work, said)
    for question in plan_of(work):
        if question.kind != "boxes":
            assert not set(out) & set(shown_faces(subject_of(question)))


def test_the_same_inputs_give_the_same_bytes_and_rows_in_another_order_the_same_questions(
    asked: Workspace, tmp_path: Path
) -> None:
    twin, turned = a_root(tmp_path / "twin"), a_root(tmp_path / "turned", shuffled=3)
    for work in (twin, turned):
        select(work)
    assert digests_of(twin, "questions") == digests_of(asked, "questions")
    assert {one.question_id for one in plan_of(turned)} == {one.question_id for one in plan_of(asked)}
    assert select(twin).was_published_before


def test_without_faces_there_is_an_empty_plan(tmp_path: Path) -> None:
    work = a_root(tmp_path, is_empty=True)
    outcome = select(work)
    assert (plan_of(work), outcome.report.items_in) == ([], 0)
    plan = json.loads((work.path("questions") / "plan.json").read_text(encoding="utf-8"))
    assert plan["predicted"]["before"]["pairwise_f"] == 1.0


def test_a_budget_of_nothing_asks_nothing_and_shares_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    work = a_root(tmp_path / "root", "select.budget_minutes=0")
    outcome = select(work)
    assert plan_of(work) == []
    assert outcome.report.pending["over_budget"] > 0
    with pytest.raises(ConfigError, match="less than 1"):
        select_params("shares.attributes=0.9", "shares.confirmations=0.2")


def test_questions_about_the_same_clusters_are_told_by_the_groups_of_their_faces(asked: Workspace) -> None:
    groups = groups_of_faces(asked.path("clusters"))
    rows = {row.face_id: row.cluster_id for row in read_table(asked.path("clusters"), "clusters", Cluster)}
    assert groups == {face: str(cluster) for face, cluster in rows.items() if cluster >= 0}
    labels = {row.face_id: row.identity_id for row in read_table(asked.path("assignments"), "assignments", Assignment)}
    assert len({groups[face_id(1, photo)] for photo in range(PHOTOS)}) == 1
    assert labels[face_id(1, 0)] == labels[face_id(1, 1)]


def detected(box: tuple[float, float, float, float], name: str = "a", score: float = 0.9) -> Detected:
    return Detected(face_id=name, bbox=box, landmarks=tuple(map(float, range(10))), det_score=score)


FRAME = FrameSeen(footage_id="f", pts_ms=40, subset="s", width=640, height=480, detected=())


def test_landmarks_are_shown_in_a_square_of_twice_the_box_that_ends_with_the_frame() -> None:
    def view(*box: float) -> tuple[int, int, int, int]:
        x1, y1, x2, y2 = box
        question = ask_landmarks(detected((x1, y1, x2, y2)), FRAME, SECONDS, model_version="m")
        subject = subject_of(question)
        assert isinstance(subject, Landmarks)
        return subject.view

    assert view(300, 200, 340, 260) == (260, 170, 380, 290)
    assert view(-5, 0, 35, 40) == (0, 0, 55, 60)
    assert view(620, 460, 660, 500) == (600, 440, 640, 480)


def test_a_frame_is_asked_about_with_all_its_boxes_or_with_none() -> None:
    boxes = (detected((9, 9, 30, 30), "b", 0.8), detected((1, 1, 5, 5), "a", 0.5))
    question = ask_boxes(replace(FRAME, detected=boxes), SECONDS, model_version="m")
    subject = subject_of(question)
    assert isinstance(subject, Boxes)
    assert [box.face_id for box in subject.boxes] == ["a", "b"]
    assert (question.chance, question.seconds, question.gain) == (0.4, 12.0, 0.0)
    empty = ask_boxes(FRAME, SECONDS, model_version="m")
    assert (empty.chance, empty.seconds) == (1.0, 10.0)
    assert [len(within([question, empty, empty], budget)) for budget in (11.0, 12.0, 22.0, 99.0)] == [0, 1, 2, 3]


def test_lots_hang_on_their_parts_alone() -> None:
    assert lot(1, "a", 2) == lot(1, "a", 2)
    assert len({lot(1, "a", 2), lot(2, "a", 2), lot(1, "b", 2), lot(1, "a", 3), lot(1, "a2")}) == 5


@pytest.mark.parametrize(
    ("yaw", "occlusion", "expected"),
    [
        (0.0, 0.0, {"pose": "frontal", "occlusion": "none"}),
        (-50.0, 0.3, {"pose": "left"}),
        (50.0, 0.3, {"pose": "right"}),
        (25.0, 0.3, {}),
    ],
)
def test_attributes_are_filled_in_where_the_face_tables_say_something(
    yaw: float, occlusion: float, expected: dict[str, str]
) -> None:
    sight = Sight(
        face_id="a", footage_id="f", subset="s", pts_ms=0, tracklet_id="t", quality=0.9, yaw=yaw, pitch=0.0,
        occlusion=occlusion, has_crop=True,
    )  # fmt: skip
    found: list[Prediction] = list(predicted(sight))
    assert {one.name: one.value for one in found} == expected
    assert all(0.6 <= one.score <= 1 for one in found)
