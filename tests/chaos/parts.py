"""Small real worlds of the platform's parts: one run of each costs a tenth of a second, and can be run again.

`work` runs in a forked child, as often as it takes; `found` says what is there afterwards, by names of items. `wrong`
is asked right after a kill, too.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image
from tests.chaos.accounting import Receipts
from tests.chaos.remote import hosted
from tests.facereview.paper_server import NOON, SCHEMA, DrawnPictures, PaperServer, pairs
from tests.facereview.review_world import make_world, pulled, same_person, standing, truth, verdict

from faceloop.erasure.saga import Means, begin, go_on, status
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace, run_stage
from facereview.asking.push import PushParams, push
from facereview.asking.shelf import FolderShelf
from facestore.crops import CropWriter
from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision, IdentityEvent, decide
from facestore.errors import DataError
from facestore.exchange import Turn, begin_exchange, complete_exchange, end_exchange, pending_exchange
from facestore.ids import digest_of
from facestore.ledger import Ledger
from facestore.objects import open_store
from facestore.publish import fresh_partial, publish, read_manifest, verify
from facestore.records import (
    Assignment,
    Face,
    FaceEmbedding,
    Footage,
    Identity,
    NearDuplicate,
    Rejection,
    ReleaseSample,
)
from facestore.reviewlog import ReviewLog
from facestore.shards import ShardReader
from facestore.tables import read_table, write_table

ROOT = Path(__file__).parents[2]
LONG_AGO_S = 1_700_000_000
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One root of one part."""

    wanted: tuple[str, ...]  # items that must be there once the work was run to its end
    work: Callable[[Receipts], None]
    found: Callable[[], list[str]]  # items that are there; called when no run is under way
    wrong: Callable[[], list[str]] = list  # what no moment may show
    left: Callable[[], list[str]] = list  # what may not be there after a run to its end
    passing: tuple[str, ...] = ()  # items that may be there until the work was run to its end


Part = Callable[[Path], AbstractContextManager[World]]  # given a folder of its own


def _workspace(root: Path, *overrides: str) -> Workspace:
    settings = [f"paths.source={root / 'source'}", "ingest.batches=2", *overrides]
    return open_workspace(
        root / "root", read_params(ROOT / "params.yaml", settings), threads=1, progress=SilentProgress()
    )


def _half_published(work: Workspace, *artifacts: str) -> list[str]:
    """An artifact is there whole, with a manifest that holds, or not at all."""
    wrong = []
    for artifact in artifacts:
        path = work.path(artifact)
        if path.exists():
            try:
                verify(path)
            except DataError as error:
                wrong.append(f"{artifact}: {error}")
    return wrong


def _left(work: Workspace) -> list[str]:
    return [
        f"left: {path.name}"
        for path in work.root.iterdir()
        if path.suffix in (".partial", ".old") or (path.is_dir() and path.name[0] == ".")
    ]


def _runs(work: Workspace, stage: str, artifact: str) -> list[str]:
    """The ledger knows the run that is published."""
    manifest = read_manifest(work.path(artifact))
    ledger = Ledger(work.ledger_url())
    run = ledger.find(manifest.run_key) if manifest else None
    ledger.close()
    is_told = run is not None and manifest is not None and run.outputs == {artifact: manifest.digest}
    return [f"run of {stage}"] * is_told


@contextmanager
def ingest(folder: Path, *overrides: str) -> Iterator[World]:
    """Photos, a twin and a file that is none: put once, remembered, published."""
    source = folder / "source"
    source.mkdir(parents=True)
    for number in range(3):
        picture = np.random.default_rng(number).integers(0, 255, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(picture).save(source / f"{number}.png")
    shutil.copyfile(source / "0.png", source / "twin.png")
    (source / "notes.jpg").write_text("no photo")
    for path in source.iterdir():
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    names = sorted(path.name for path in source.iterdir())
    work = _workspace(folder, *overrides)
    Ledger(work.ledger_url()).close()

    def run(receipts: Receipts) -> None:
        run_stage(work, "ingest")
        for name in [*names, "run of ingest"]:
            receipts.write(name)

    def found() -> list[str]:
        path = work.path("footage")
        if read_manifest(path) is None:
            return []
        footage = list(read_table(path, "footage", Footage))
        rejected = list(read_table(path, "rejections", Rejection))
        stored = open_store(work.external("objects"), may_link=False)
        held = [key for record in footage for key in [_object_key(stored, record.footage_id)] if key is not None]
        assert len(held) == len(footage), "footage is published and its bytes are not in the store"
        listed = [name for record in footage for name in record.locations] + [one.item for one in rejected]
        return listed + _runs(work, "ingest", "footage")

    def wrong() -> list[str]:
        return _half_published(work, "footage")

    yield World(wanted=(*names, "run of ingest"), work=run, found=found, wrong=wrong, left=lambda: _left(work))


def _object_key(stored: object, footage_id: str) -> str | None:
    keys = [entry.key for entry in stored.listed(LONG_AGO_S) if entry.key.endswith(footage_id)]  # type: ignore[attr-defined]
    for key in keys:
        stored.check(key)  # type: ignore[attr-defined]
    return keys[0] if len(keys) == 1 else None


def _face(number: int) -> Face:
    face_id = digest_of(["face", number])[:32]
    return Face(
        face_id=face_id, footage_id="f" * 64, subset="s", pts_ms=number, bbox=(0.0, 0.0, 9.0, 9.0),
        landmarks=(0.0,) * 10, det_score=0.9, tracklet_id="t", is_best_shot=True, size_px=90.0, sharpness=0.5,
        brightness=0.5, contrast=0.2, yaw=0.0, pitch=0.0, roll=0.0, occlusion=0.0, quality=0.9,
        crop_key=f"b0/{face_id}", detector="d", rejected=None,
    )  # fmt: skip


def pack_workspace(folder: Path, seed: int = 1, *overrides: str) -> Workspace:
    """Another seed is another release."""
    small = ("pack.samples_per_shard=4", "pack.min_samples_per_identity=1", "pack.min_confidence=0")
    return _workspace(folder, *small, f"pack.seed={seed}", *overrides)


def fill_pack(folder: Path, *overrides: str) -> list[Face]:
    """All that `pack` reads, of four people with six crops each; an empty catalogue."""
    folder.mkdir(parents=True, exist_ok=True)
    work = pack_workspace(folder, 1, *overrides)
    faces = [_face(number) for number in range(24)]
    staged = {name: fresh_partial(work.path(name), keep=False) for name in ("footage", "faces", "crops")}
    staged |= {name: fresh_partial(work.path(name), keep=False) for name in ("embeddings", "assignments")}
    write_table(staged["footage"] / "b0" / "footage.parquet", Footage, [])
    write_table(staged["faces"] / "b0" / "faces.parquet", Face, faces)
    vectors = [
        FaceEmbedding(
            face_id=face.face_id, tracklet_id="t", footage_id=face.footage_id, contract_id="c", embedding=(1.0, 0.0)
        )
        for face in faces
    ]  # fmt: skip
    write_table(staged["embeddings"] / "b0" / "faces.parquet", FaceEmbedding, vectors)
    write_table(staged["embeddings"] / "b0" / "near_duplicates.parquet", NearDuplicate, [])
    labels = [
        Assignment(
            face_id=face.face_id, identity_id=f"person-{number % 4}", state="proposed", confidence=0.99,
            source="auto", decision_id=None, via=None,
        )
        for number, face in enumerate(faces)
    ]  # fmt: skip
    write_table(staged["assignments"] / "assignments.parquet", Assignment, labels)
    write_table(staged["assignments"] / "former.parquet", Assignment, [])
    write_table(staged["assignments"] / "events.parquet", IdentityEvent, [])
    people = [
        Identity(
            identity_id=f"person-{who}", is_active=True, seed_face_id=faces[who].face_id, faces=6, tracklets=1,
            footage=1, subsets=1, best_face_id=faces[who].face_id, mean_confidence=0.99, confirmed_faces=0, name=None,
            successor=None,
        )
        for who in range(4)
    ]  # fmt: skip
    write_table(staged["assignments"] / "identities.parquet", Identity, people)
    with CropWriter(staged["crops"] / "b0") as crops:
        for number, face in enumerate(faces):
            crops.put("aligned", face.face_id, np.full((112, 112, 3), 5 * number, np.uint8))
    for name in staged:
        publish(work.path(name), stage=name, run_key="run", counts={}, inputs={})
    Ledger(work.ledger_url()).close()
    return faces


def packed_faces(work: Workspace, name: str = "release") -> list[str]:
    """Face ids of every sample of the release, all hashes checked; none where there is no release."""
    path = work.path("release").with_name(name)
    if read_manifest(path) is None:
        return []
    samples = list(read_table(path, "samples", ReleaseSample))
    stored = []
    for split in _SPLITS:
        reader = ShardReader(path / split, verify_files=True)
        stored += [reader.jpeg(row)[0].face_id for row in range(len(reader))]
    assert sorted(stored) == sorted(sample.face_id for sample in samples), "shards and their table differ"
    return stored


@contextmanager
def pack(folder: Path, *overrides: str) -> Iterator[World]:
    """Crops of four people to shards, sealed, put in place, told to the ledger."""
    faces, work = fill_pack(folder, *overrides), pack_workspace(folder, 1, *overrides)
    wanted = (*(face.face_id for face in faces), "run of pack")

    def run(receipts: Receipts) -> None:
        run_stage(work, "pack")
        for name in wanted:
            receipts.write(name)

    def found() -> list[str]:
        return packed_faces(work) + _runs(work, "pack", "release")

    def wrong() -> list[str]:
        return _half_published(work, "release")

    yield World(wanted=wanted, work=run, found=found, wrong=wrong, left=lambda: _left(work))


@contextmanager
def erasing(folder: Path, *overrides: str) -> Iterator[World]:
    """One person of four goes from a root with a release, up to the certificate; the others stay all the time."""
    faces, work = fill_pack(folder, *overrides), pack_workspace(folder, 1, *overrides)
    run_stage(work, "pack")
    gone = [face.face_id for face in faces[::4]]
    others = [face.face_id for face in faces if face.face_id not in gone]

    def run(receipts: Receipts) -> None:
        for face_id in others:
            receipts.write(face_id)
        if all(erasure.state == "under_way" for erasure in status(work)):
            plan = begin(work, gone[0], by="chaos", reason="person_asked", clock=lambda: NOON)
            go_on(work, plan.erasure_id, Means(clock=lambda: NOON))
        receipts.write("certificate")

    def found() -> list[str]:
        certificates = [path.stem for path in work.root.glob("erasures/*/certificate.json")]
        kept = packed_faces(work) or packed_faces(work, "release.old")  # cut between its two renames
        return kept + certificates

    yield World(
        wanted=(*others, "certificate"), work=run, found=found, wrong=lambda: _half_published(work, "release"),
        left=lambda: _left(work), passing=tuple(gone),
    )  # fmt: skip


def some_decisions(count: int) -> list[Decision]:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    return [
        decide(
            verb="same", face_id=f"{number:032x}", other_face_id=f"{number + 100:032x}", identity_id=None, name=None,
            value=None, retracts=None, annotator="chaos", decided_at=at, question_id=None, annotation_id=None,
            annotation_version=None, note=None,
        )
        for number in range(count)
    ]  # fmt: skip


@contextmanager
def decisions(folder: Path, before: Callable[[str], None] = lambda url: None, url: str = "") -> Iterator[World]:
    """One transaction a decision, each acknowledged; the second run says all of them again."""
    folder.mkdir(parents=True, exist_ok=True)
    url = url or f"sqlite:///{folder / 'catalogue.sqlite3'}"
    DecisionLog(url).close()
    before(url)
    given = some_decisions(8)

    def run(receipts: Receipts) -> None:
        log = DecisionLog(url)
        for decision in given:
            log.append([decision])
            receipts.write(decision.decision_id)
        log.close()

    def found() -> list[str]:
        log = DecisionLog(url)
        ids = [decision.decision_id for decision in log.all()]
        log.close()
        return ids

    yield World(wanted=tuple(one.decision_id for one in given), work=run, found=found)


@contextmanager
def pushing(folder: Path) -> Iterator[World]:
    """Questions to tasks of a labelling server that outlives the pusher, in projects of three."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder / 'catalogue.sqlite3'}"
    ReviewLog(url).close()
    server, questions = PaperServer(), pairs(5)
    with _short_folder() as short, hosted(server, short) as remote:

        def run(receipts: Receipts) -> None:
            log = ReviewLog(url)
            push(
                questions, log=log, server=remote, shelf=FolderShelf(root=folder / "served", prefix="faces"),
                pictures=DrawnPictures(), schema=SCHEMA, now=NOON, say=lambda _: None, group_of_face={},
                params=PushParams(project_tasks=3, backlog=100, max_rounds=2), connect=lambda _: None,
            )  # fmt: skip
            log.close()
            for question in questions:
                receipts.write(question.question_id)

        def found() -> list[str]:
            log = ReviewLog(url)
            told = {task.question_id for task in log.tasks() if task.state == "pushed"}
            log.close()
            return [asked for asked in server.asked() if asked in told]

        def wrong() -> list[str]:
            return [] if len(server.papers) <= 2 else [f"{len(server.papers)} projects for 5 questions"]

        yield World(wanted=tuple(one.question_id for one in questions), work=run, found=found, wrong=wrong)


@contextmanager
def reconcile(folder: Path) -> Iterator[World]:
    """Answers of a labelling server to versions, settlements and decisions."""
    folder.mkdir(parents=True, exist_ok=True)
    questions = [same_person(number, chance=0.9 if number % 2 else 0.15) for number in range(6)]
    made = make_world(folder, questions)
    for place, task_id in enumerate(sorted(made.server.tasks_by_id)):
        made.server.answer(task_id, 1 + place % 3, verdict("same" if place % 2 else "different"))
        made.server.wait()
    made.log.close()
    right = truth(made)
    with _short_folder() as short, hosted(made.server, short) as remote:

        def run(receipts: Receipts) -> None:
            log = ReviewLog(made.url)
            pulled(log, remote)
            log.close()
            for key in right:
                receipts.write(repr(key))

        def found() -> list[str]:
            return [repr(key) for key, times in standing(made.decisions()).items() for _ in range(times)]

        yield World(wanted=tuple(repr(key) for key in right), work=run, found=found)


@contextmanager
def exchange(folder: Path) -> Iterator[World]:
    """Two artifacts put in the place of two others, all or none."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "journal.json"
    turns = [
        Turn(waiting=folder / "new" / name, live=folder / name, aside=folder / "kept" / name) for name in ("a", "b")
    ]
    for turn in turns:
        for path, text in ((turn.waiting, "new"), (turn.live, "old")):
            fresh_partial(path, keep=False).joinpath("what").write_text(f"{text} {path.name}")
            publish(path, stage="chaos", run_key=text, counts={}, inputs={})

    def run(receipts: Receipts) -> None:
        if not journal.exists() and turns[0].waiting.exists():
            begin_exchange(journal, turns, "chaos")
        if pending_exchange(journal) is not None:
            complete_exchange(journal)
            end_exchange(journal)
        for name in wanted:
            receipts.write(name)

    def found() -> list[str]:
        seen = [f"{place} {path.joinpath('what').read_text()}" for place, path in _places(turns) if path.exists()]
        return [one for one in seen if one in wanted]

    def wrong() -> list[str]:
        """Whatever is seen is whole, and nothing is gone for good."""
        wrong = []
        for _, path in _places(turns):
            if path.exists():
                try:
                    verify(path)
                except DataError as error:
                    wrong.append(str(error))
        texts = sorted(
            path.joinpath("what").read_text() for _, path in _places(turns) if path.joinpath("what").exists()
        )
        return wrong if texts == ["new a", "new b", "old a", "old b"] else [*wrong, f"there are only {texts}"]

    wanted = ("aside old a", "aside old b", "live new a", "live new b")

    def left() -> list[str]:
        return [str(path) for path in (journal, *(turn.waiting for turn in turns)) if path.exists()]

    yield World(wanted=wanted, work=run, found=found, wrong=wrong, left=left)


def _places(turns: Sequence[Turn]) -> list[tuple[str, Path]]:
    return [(place, getattr(turn, place)) for turn in turns for place in ("waiting", "live", "aside")]


@contextmanager
def _short_folder() -> Iterator[Path]:
    """The name of a socket may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


PARTS: dict[str, Part] = {
    "ingest": ingest,
    "pack": pack,
    "decisions": decisions,
    "push": pushing,
    "reconcile": reconcile,
    "exchange": exchange,
    "erase": erasing,
}
__all__ = ["PARTS", "Part", "World"]
