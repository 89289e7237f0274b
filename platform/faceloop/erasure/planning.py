"""What an erasure will remove, found before anything goes: the plan lies in a file that only its owner reads.

It holds what it takes to know the person again, so it is the last thing that goes. The catalogue's journal holds none
of it: counts and keyed references.
"""

import base64
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from faceloop.erasure.finding import BY_SUBJECT, Finding, read_finding
from faceloop.erasure.needles import Needles, name_forms, vector_windows, windows_of
from faceloop.restriction.inventory import take_inventory
from faceloop.restriction.subject import Situation, Subject
from faceloop.review.access import with_review_log
from faceloop.runner import Workspace
from facereview.kinds import shown_faces, subject_of
from facestore.crops import CROPS_FILE, CropReader
from facestore.errors import DataError, ObjectMissing
from facestore.ids import digest_of, media_key
from facestore.keys import MARKER
from facestore.lmdbfile import LmdbReader
from facestore.models import Models
from facestore.objects import open_store
from facestore.publish import read_manifest, sync_path
from facestore.records import Face, FaceEmbedding, Footage, TrackletTemplate
from facestore.reviewlog import ReviewLog
from facestore.tables import column_matrix, read_columns

ERASURES, PLAN = "erasures", "plan.json"
HELD = f"{PLAN}.held"  # goes whenever a plan that is over goes
_ID_HEX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that goes. Ids sorted; `needles` are what must be in no file afterwards, base64."""

    erasure_id: str
    subject_id: str
    identity_ids: tuple[str, ...]  # of which no face stays
    face_ids: tuple[str, ...]  # with those of the same tracklets that were set aside
    tracklet_ids: tuple[str, ...]  # wholly the subject's
    mixed_tracklet_ids: tuple[str, ...]  # others' faces stay, the mean vector goes
    footage_ids: tuple[str, ...]  # that show nobody else
    shared_footage_ids: tuple[str, ...]  # that show others too
    locations: tuple[str, ...]  # of all this footage at its source
    tasks: tuple[tuple[str, int], ...]  # at the labelling server: key of the project, task
    releases: tuple[str, ...]  # that held samples of the subject: places under the root
    models: tuple[str, ...]  # trained on such a release, or on one that is not under the root any more: ids
    needles: tuple[str, ...]
    finding: Finding = BY_SUBJECT

    @property
    def ids(self) -> frozenset[str]:
        """Ids that no table may name: all but those of shared footage."""
        return frozenset({*self.face_ids, *self.tracklet_ids, *self.footage_ids, *self.identity_ids, self.subject_id})

    def search_for(self) -> Needles:
        return Needles(base64.b64decode(needle) for needle in self.needles)


def make_plan(work: Workspace, situation: Situation, subject: Subject) -> Plan:
    """Look up what holds the subject. Changes nothing. Raises what reading the tables raises."""
    found = take_inventory(work, situation, subject)
    columns = ("face_id", "footage_id", "tracklet_id", "rejected")
    rows = read_columns(work.path("faces"), "faces", Face, columns).to_pylist()
    accepted = set(subject.face_ids)
    tracklets = {situation.tracklet_of[face] for face in accepted}
    others = {row["tracklet_id"] for row in rows if row["rejected"] is None and row["face_id"] not in accepted}
    whole = tracklets - others
    faces = accepted | {row["face_id"] for row in rows if row["tracklet_id"] in whole}
    seen = defaultdict(set)
    for row in rows:
        seen[row["footage_id"]].add(row["face_id"] in faces)
    alone = {footage for footage, whose in seen.items() if whose == {True}}
    shared = {footage for footage, whose in seen.items() if len(whose) > 1}
    identities = _whole_identities(situation, faces)
    ids = sorted({*faces, *whole, *alone, *identities, subject.subject_id})
    needles = {item.encode() for item in ids}
    for name in _names(situation, {subject.subject_id, *identities}):
        needles |= name_forms(name)
    needles |= {window for face, jpeg in _stored_crops(work) if face in faces for window in windows_of(jpeg)}
    needles |= {window for jpeg in _opened_crops(work, faces) for window in windows_of(jpeg)}
    needles |= {window for vector in _vectors(work, faces, tracklets) for window in vector}
    needles |= set(_media_windows(work, alone | shared))
    needles = _unlike_others(work, needles, faces, alone | shared)
    return Plan(
        erasure_id=digest_of(["erasure", subject.subject_id, *sorted(faces)])[:_ID_HEX],
        subject_id=subject.subject_id,
        identity_ids=identities,
        face_ids=tuple(sorted(faces)),
        tracklet_ids=tuple(sorted(whole)),
        mixed_tracklet_ids=tuple(sorted(tracklets & others)),
        footage_ids=tuple(sorted(alone)),
        shared_footage_ids=tuple(sorted(shared)),
        locations=_locations(work, alone | shared),
        tasks=with_review_log(work, lambda log: _tasks(log, faces)),
        releases=tuple(copy.place for copy in found.samples),
        models=_models(work, {work.root / copy.place for copy in found.samples}),
        needles=tuple(sorted(base64.b64encode(needle).decode() for needle in needles)),
    )


def plan_path(root: Path, erasure_id: str) -> Path:
    return root / ERASURES / erasure_id / PLAN


def write_plan(root: Path, plan: Plan) -> None:
    """Keep a plan, readable by its owner alone, whole or not at all; one that is there stays."""
    path = plan_path(root, plan.erasure_id)
    if not path.is_file():
        _write_private(path, json.dumps(asdict(plan)))


def write_held(root: Path, erasure_id: str, held: Sequence[str]) -> Path:
    """Where the list of files now lies that still hold something: beside the plan, and for no other eyes than it."""
    path = plan_path(root, erasure_id).with_name(HELD)
    _write_private(path, "".join(f"{place}\n" for place in held))
    return path


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    waiting = path.with_name(f"{path.name}.partial")
    waiting.unlink(missing_ok=True)
    with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    sync_path(waiting)
    waiting.rename(path)
    sync_path(path.parent)


def read_plan(root: Path, erasure_id: str) -> Plan:
    """Raises DataError where there is none, or it cannot be read."""
    path = plan_path(root, erasure_id)
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        tasks = tuple((str(project), int(task)) for project, task in body.pop("tasks"))
        finding = read_finding(body.pop("finding", None))
        words = {name: str(body.pop(name)) for name in ("erasure_id", "subject_id")}
        lists: dict[str, tuple[str, ...]] = {name: tuple(map(str, value)) for name, value in body.items()}
        return Plan(tasks=tasks, finding=finding, **words, **lists)  # type: ignore[arg-type]  # by name
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"no plan of erasure {erasure_id} ({type(error).__name__}); name the subject again") from error


def _whole_identities(situation: Situation, faces: set[str]) -> tuple[str, ...]:
    theirs = defaultdict(set)
    for face in situation.current.faces():
        if face.identity_id is not None:
            theirs[face.identity_id].add(face.face_id)
    return tuple(sorted(identity for identity, owned in theirs.items() if owned <= faces))


def _names(situation: Situation, identities: set[str]) -> set[str]:
    """Names of these and of nobody else: a name that others bear too, or as a part of theirs, betrays nobody."""
    now = situation.aliases
    named = [
        (now.get(event.identity_id, event.identity_id) in identities, event.name)
        for event in situation.logs.events
        if event.name and event.identity_id
    ]
    of_others = [name for is_theirs, name in named if not is_theirs]
    return {name for is_theirs, name in named if is_theirs and not any(name in other for other in of_others)}


def _stored_crops(work: Workspace) -> Iterator[tuple[str, bytes]]:
    """Face ids with their pictures as they lie there: encrypted ones are searched for in their encrypted form."""
    for path in sorted(work.path("crops").glob(f"*/{CROPS_FILE}")):
        for key, record in LmdbReader(path).items():
            yield key.decode().partition(":")[2], record


def _opened_crops(work: Workspace, faces: set[str]) -> Iterator[bytes]:
    """Pictures of an encrypted root as they are, which a page or a question may show; none of another root."""
    if not (work.root / MARKER).is_file():
        return
    crops = CropReader(work.path("crops"))
    for path in sorted(work.path("crops").glob(f"*/{CROPS_FILE}")):
        for key, _ in LmdbReader(path).items():  # noqa: PERF102  # no dict
            kind, _, face = key.decode().partition(":")
            if face in faces:
                yield crops.jpeg("aligned" if kind == "a" else "context", f"{path.parent.name}/{face}")


def _vectors(work: Workspace, faces: set[str], tracklets: set[str]) -> Iterator[list[bytes]]:
    folder = work.path("embeddings")
    columns = ("face_id", "embedding")
    yield from _windows(read_columns(folder, "faces", FaceEmbedding, columns), "face_id", faces)
    for name in ("templates", "committee"):
        table = read_columns(folder, name, TrackletTemplate, ("tracklet_id", "embedding"))
        yield from _windows(table, "tracklet_id", tracklets)


def _windows(table: pa.Table, column: str, wanted: set[str]) -> Iterator[list[bytes]]:
    table = table.filter(pc.is_in(table[column], value_set=pa.array(sorted(wanted), pa.string())))
    if len(table) and pa.types.is_list(table.schema.field("embedding").type):
        yield from (vector_windows(vector) for vector in column_matrix(table, "embedding"))


def _media_windows(work: Workspace, footage_ids: Iterable[str]) -> Iterator[bytes]:
    for path in _stored_media(work, footage_ids):
        yield from windows_of(path.read_bytes())


def _stored_media(work: Workspace, footage_ids: Iterable[str]) -> Iterator[Path]:
    store = open_store(work.external("objects"), may_link=False)
    for footage_id in sorted(footage_ids):
        try:
            with store.local(media_key(footage_id)) as path:
                yield path
        except ObjectMissing:
            continue


def _unlike_others(work: Workspace, needles: set[bytes], faces: set[str], footage: set[str]) -> set[bytes]:
    """Without windows that pictures, or footage, of others hold too, as of one wall behind all: they betray nobody."""
    search = Needles(needles)
    common: set[bytes] = set()
    for face_id, record in _stored_crops(work):
        if face_id not in faces:
            common |= search.found_in(record)
    media = read_columns(work.path("footage"), "footage", Footage, ("footage_id",))["footage_id"].to_pylist()
    for path in _stored_media(work, set(media) - footage):
        common |= search.in_bytes_of(path)
    return needles - common


def _models(work: Workspace, held: set[Path]) -> tuple[str, ...]:
    """All but those whose release lies under the root and held nothing of the subject: by digests of manifests."""
    folders = {path.parent for path in work.root.rglob("samples.parquet")} - held
    innocent = {manifest.digest for folder in folders if (manifest := read_manifest(folder)) is not None}
    models = Models(work.ledger_url())
    try:
        return tuple(sorted(model.model_id for model, _ in models.all() if model.release not in innocent))
    finally:
        models.close()


def _locations(work: Workspace, footage_ids: set[str]) -> tuple[str, ...]:
    table = read_columns(work.path("footage"), "footage", Footage, ("footage_id", "locations"))
    rows = table.to_pylist()
    return tuple(sorted(place for row in rows if row["footage_id"] in footage_ids for place in row["locations"]))


def _tasks(log: ReviewLog, faces: set[str]) -> tuple[tuple[str, int], ...]:
    found = []
    for question in log.questions():
        try:
            shown = set(shown_faces(subject_of(question)))
        except DataError:
            continue
        if shown & faces:
            tasks = log.tasks(question_ids=[question.question_id])
            found += [(task.project_key, task.task_id) for task in tasks if task.task_id is not None]
    return tuple(sorted(found))
