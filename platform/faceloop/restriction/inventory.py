"""What holds a person, counted: tables, stores, questions, releases, hard sets, galleries. Ids and counts, no names."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceloop.clustering.calibration import read_calibrations
from faceloop.export.gallery_shelf import GALLERIES, galleries_with
from faceloop.restriction.subject import Situation, Subject, speaking_of
from faceloop.review.access import with_review_log
from faceloop.runner import Workspace
from facereview.kinds import shown_faces, subject_of
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.publish import read_manifest
from facestore.questions import CLOSED, Question, ReviewTask
from facestore.records import Cluster, Face, FaceEmbedding, HardPair, TrackletTemplate
from facestore.reviewlog import ReviewLog
from facestore.tables import column_matrix, read_columns, read_older

_ALIKE_SIGMAS = 3.7  # as clusters merge: other faces so near may be the person's too
_SHOWN_IDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A table of samples or pairs somewhere under the root, and how many rows of it are of the subject."""

    place: str  # relative to the root
    rows: int
    is_current: bool  # the published release; else an earlier copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Counts; `face_ids`, `footage_ids` and `alike_face_ids` in full."""

    face_ids: tuple[str, ...]
    rejected_faces: int  # of the same tracklets, that the detector's limits set aside
    footage_ids: tuple[str, ...]
    crops: int
    vectors: int  # of faces, and templates of tracklets with such a face
    clustered: int  # faces in a cluster
    states: dict[str, int]  # of labels
    questions_open: int
    questions_closed: int
    tasks: dict[str, int]  # of the labelling server by state, as the review log knows them
    decisions: dict[str, int]  # by verb, that name a face of the subject; the whole log
    samples: tuple[Copy, ...]  # releases and their copies
    hard_sets: tuple[Copy, ...]
    galleries: tuple[Copy, ...]  # `rows`: faces that went into it; `is_current`: the one that counts
    alike_face_ids: tuple[str, ...]  # of others or nobody, that resemble the subject: look whether they are theirs


def take_inventory(work: Workspace, situation: Situation, subject: Subject) -> Inventory:
    """Reads tables and the review log; asks no server. Artifacts that are not there count as empty."""
    faces = set(subject.face_ids)
    tracklets = {situation.tracklet_of[face] for face in faces}
    columns = ("face_id", "footage_id", "tracklet_id", "crop_key", "rejected")
    rows = _of(read_columns(work.path("faces"), "faces", Face, columns), "tracklet_id", tracklets).to_pylist()
    mine = [row for row in rows if row["face_id"] in faces]
    vectors = _of(read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("face_id",)), "face_id", faces)
    templates = read_columns(work.path("embeddings"), "templates", TrackletTemplate, ("tracklet_id",))
    clusters = _of(
        read_columns(work.path("clusters"), "clusters", Cluster, ("face_id", "cluster_id")), "face_id", faces
    )
    questions = with_review_log(work, lambda log: _asked(log, faces))
    return Inventory(
        face_ids=subject.face_ids,
        rejected_faces=sum(row["rejected"] is not None for row in rows),
        footage_ids=tuple(sorted({row["footage_id"] for row in mine})),
        crops=sum(row["crop_key"] is not None for row in mine),
        vectors=len(vectors) + len(_of(templates, "tracklet_id", tracklets)),
        clustered=sum(cluster >= 0 for cluster in clusters["cluster_id"].to_pylist()),
        states=_counted(situation.current.labels[face].state for face in faces if face in situation.current.labels),
        questions_open=sum(not is_closed for _, is_closed, _ in questions),
        questions_closed=sum(is_closed for _, is_closed, _ in questions),
        tasks=_counted(task.state for _, _, tasks in questions for task in tasks),
        decisions=_counted(said.verb for said in speaking_of(situation.logs.decisions, faces)),
        samples=samples_with(work, faces),
        hard_sets=hard_sets_with(work, faces),
        galleries=shelved_with(work, faces),
        alike_face_ids=_alike(work, situation, faces),
    )


def as_json(found: Inventory) -> dict[str, JsonValue]:
    """In full, for papers."""
    plain: dict[str, JsonValue] = {}
    for name, value in asdict(found).items():
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain


def in_short(found: Inventory) -> dict[str, JsonValue]:
    """Fits on a screen and through Airflow: long lists of ids are cut, their lengths are given."""
    plain = as_json(found)
    for name in ("face_ids", "footage_ids", "alike_face_ids"):
        ids = plain.pop(name)
        if isinstance(ids, list):
            plain[name.removesuffix("_ids") + "s"] = len(ids)
            plain[name] = ids[:_SHOWN_IDS]
    plain["footage"] = plain.pop("footages")
    return plain


def _of(table: pa.Table, column: str, wanted: set[str]) -> pa.Table:
    return table.filter(pc.is_in(table[column], value_set=pa.array(sorted(wanted), pa.string())))


def _counted(names: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _asked(log: ReviewLog, faces: set[str]) -> list[tuple[Question, bool, list[ReviewTask]]]:
    """Questions that show one of the faces, whether each is closed, and its tasks."""
    about = [question for question in log.questions() if _shows(question, faces)]
    closed = {key for key, found in log.settlements().items() if found.state in CLOSED}
    return [(one, one.question_id in closed, log.tasks(question_ids=[one.question_id])) for one in about]


def _shows(question: Question, faces: set[str]) -> bool:
    try:
        return not faces.isdisjoint(shown_faces(subject_of(question)))
    except DataError:
        return False  # of an older kind: it is asked no more


def shelved_with(work: Workspace, faces: set[str]) -> tuple[Copy, ...]:
    """Galleries that were made from one of the faces."""
    return tuple(
        Copy(place=f"{GALLERIES}/{held.gallery}", rows=held.faces, is_current=held.is_current)
        for held in galleries_with(work.root, faces)
    )


def samples_with(work: Workspace, faces: set[str]) -> tuple[Copy, ...]:
    """The published release, and every copy of a release under the root, that holds one of the faces."""
    return tuple(_samples(work, faces))


def hard_sets_with(work: Workspace, faces: set[str]) -> tuple[Copy, ...]:
    """Every version of a hard set that holds one of the faces."""
    return tuple(_hard_sets(work, faces))


def _samples(work: Workspace, faces: set[str]) -> Iterator[Copy]:
    current = work.path("release") / "samples.parquet"
    for path in sorted({current, *_tables_of_samples(work)}):
        if path.is_file() and (rows := len(_of(read_older(path.parent, "samples", ("face_id",)), "face_id", faces))):
            yield Copy(place=_place(work.root, path), rows=rows, is_current=path == current)


def _tables_of_samples(work: Workspace) -> Iterator[Path]:
    """Wherever a release was copied to under the root; the large stores hold none."""
    stores = {Path(work.external("objects")).name, work.path("crops").name}
    for folder, below, names in os.walk(work.root):
        below[:] = [name for name in below if name not in stores]
        if "samples.parquet" in names:
            yield Path(folder, "samples.parquet")


def _hard_sets(work: Workspace, faces: set[str]) -> Iterator[Copy]:
    for path in sorted((work.root / "hard_sets").glob("*/*/pairs.parquet")):
        table = read_columns(path.parent, "pairs", HardPair, ("first_face_id", "second_face_id"))
        ends = zip(table["first_face_id"].to_pylist(), table["second_face_id"].to_pylist(), strict=True)
        if rows := sum(not faces.isdisjoint(pair) for pair in ends):
            yield Copy(place=_place(work.root, path), rows=rows, is_current=False)


def _place(root: Path, path: Path) -> str:
    return path.parent.relative_to(root).as_posix() if path.is_relative_to(root) else path.parent.name


def _alike(work: Workspace, situation: Situation, faces: set[str]) -> tuple[str, ...]:
    """Best faces of other tracklets whose template is as near to the subject's mean as parts of one person are."""
    path = work.path("clusters") / "calibration.json"
    if read_manifest(work.path("embeddings")) is None or not path.is_file():
        return ()
    columns = ("tracklet_id", "contract_id", "best_face_id", "embedding")
    table = read_columns(work.path("embeddings"), "templates", TrackletTemplate, columns)
    mine = {situation.tracklet_of[face] for face in faces}
    is_mine = np.array([tracklet in mine for tracklet in table["tracklet_id"].to_pylist()], np.bool_)
    calibration = read_calibrations(path.read_text(encoding="utf-8"), str(path)).get(
        table["contract_id"][0].as_py() if len(table) else ""
    )
    if calibration is None or not is_mine.any():
        return ()
    vectors = column_matrix(table, "embedding")
    mean = vectors[is_mine].mean(axis=0, dtype=np.float64)
    is_near = (vectors @ mean >= calibration.cosine(_ALIKE_SIGMAS)) & ~is_mine
    return tuple(sorted(table.filter(is_near)["best_face_id"].to_pylist()))
