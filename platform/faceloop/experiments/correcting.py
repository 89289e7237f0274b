"""A published release brought up to today's labels by a delta: what people decided since it was packed, not all of it.

What goes in is what `pack` would take now, split by split. Classes keep their index, so a training may go on from where
it was; a new identity comes behind the last, and `compact` closes the gaps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from faceloop.batches import run_key_of
from faceloop.consent_gate import PURPOSES_OF, ConsentParams, key_part, material_of
from faceloop.experiments.pin import refuse_pinned
from faceloop.params import section
from faceloop.release.splits import split_of
from faceloop.runner import Workspace, hold, stage_params
from faceloop.stage import Report, load_stage
from faceloop.stage_inputs import input_manifest, refuse_mixed_runs
from faceloop.stages.pack import Candidate, Params, choose, source_line
from facestore.consentbasis import Basis, prove, read_basis
from facestore.crops import CropReader
from facestore.errors import ConfigError
from facestore.heartbeat import HeldLease
from facestore.ids import JsonValue
from facestore.keys import open_keyring
from facestore.publish import put_in_place
from facestore.records import Footage, ReleaseSample
from facestore.releasechanges import Addition, Change, Changed, MadeFrom, Put, change_release, compact_release
from facestore.shardchanges import ShardLimits
from facestore.shards import SampleLabel
from facestore.tables import read_table

_WHY = "corrected"  # stands in the release beside what it supersedes


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """`relabelled`: another identity, perhaps in another split; counts of samples."""

    version: str
    relabelled: int
    added: int
    removed: int
    kept: int


def correct_release(work: Workspace, *, wait_s: float = 0.0) -> Corrected:
    """Publish the release as a delta to the one before; already up to date, it gets no delta.

    Raises what `pack` raises, ConsentChanged where consents changed meanwhile (run it again), StageError where nothing
    was packed or the release is pinned, DataError for one whose files are not what it says. A confidence alone is no
    reason for a delta: it stays as it was packed.
    """
    refuse_pinned(work, "pack")
    params, keys = _params(work), open_keyring(work.root)
    with hold(work, "pack", wait_s=wait_s) as lease:
        report, basis = Report(), _basis(work, lease)
        wanted = choose(
            work.path("faces"), work.path("embeddings"), work.path("assignments"), params, report, basis.withheld
        )
        report.published = len(wanted)
        there = {row.face_id: row for row in read_table(work.path("release"), "samples", ReleaseSample)}
        found = _difference(wanted, there, params)
        reader = CropReader(work.path("crops"), payload=keys)
        added = [
            Addition(
                split=found.home[face_id],
                label=_label(wanted[face_id], found.class_of if found.home[face_id] == "train" else {}),
                footage_id=wanted[face_id].footage_id,
                jpeg=reader.jpeg("aligned", wanted[face_id].crop_key),
            )
            for face_id in sorted(found.moved | found.new)
        ]
        reader.close()
        done = change_release(
            work.path("release"),
            Change(reason=_WHY, removed=found.gone | found.moved, added=added),
            limits=shard_limits(work),
            payload=keys,
            made_from=_made_from(work, params, report, basis),
            put=_fenced(lease, basis),
        )
    return Corrected(
        version=done.version,
        relabelled=len(found.moved),
        added=len(found.new),
        removed=len(found.gone),
        kept=len(there) - len(found.moved) - len(found.gone),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """Face ids by what happens to them; `home`: the split of each that is wanted."""

    moved: set[str]
    new: set[str]
    gone: set[str]
    home: Mapping[str, str]
    class_of: Mapping[str, int]


def _difference(wanted: Mapping[str, Candidate], there: Mapping[str, ReleaseSample], params: Params) -> _Difference:
    home = {
        face_id: split_of(one.identity_id, seed=params.seed, val_share=params.val_share, test_share=params.test_share)
        for face_id, one in wanted.items()
    }
    moved = {
        face_id
        for face_id in wanted.keys() & there.keys()
        if (there[face_id].identity_id, there[face_id].split) != (wanted[face_id].identity_id, home[face_id])
    }
    new = wanted.keys() - there.keys()
    class_of = _classes(there.values(), [wanted[face] for face in moved | new if home[face] == "train"])
    return _Difference(moved=moved, new=new, gone=there.keys() - wanted.keys(), home=home, class_of=class_of)


def compact(work: Workspace, *, wait_s: float = 0.0) -> Changed:
    """Publish the release without deltas, its classes without gaps. Raises as `correct_release`."""
    refuse_pinned(work, "pack")
    with hold(work, "pack", wait_s=wait_s) as lease:
        return compact_release(work.path("release"), limits=shard_limits(work), put=_fenced(lease))


def _params(work: Workspace) -> Params:
    params = stage_params(work, "pack")
    if not isinstance(params, Params):
        raise ConfigError("pack: params of another stage; this is a fault of ours, please report it")
    return params


def shard_limits(work: Workspace) -> ShardLimits:
    """As `pack` has them."""
    params = _params(work)
    return ShardLimits(samples=params.samples_per_shard, size_bytes=params.bytes_per_shard)


def _basis(work: Workspace, lease: HeldLease) -> Basis:
    """What consents allow, as for a run of pack."""
    is_enforced = section(work.tree, "consent", ConsentParams).policy == "enforce"
    with lease.fenced() as session:
        return read_basis(session, PURPOSES_OF["pack"], material_of("pack", work.path), is_enforced=is_enforced)


def _fenced(lease: HeldLease, basis: Basis | None = None) -> Put:
    def put(staged: Path, release: Path) -> None:
        with lease.fenced() as session:
            if basis is not None:
                prove(session, basis)
            put_in_place(staged, release)

    return put


def _made_from(work: Workspace, params: Params, report: Report, basis: Basis) -> MadeFrom:
    """As if pack had run: a run of it with these inputs finds that its work is done."""
    stage = load_stage("pack")
    inputs = {artifact: input_manifest(stage, artifact, work.path(artifact)) for artifact in stage.ins}
    refuse_mixed_runs(stage, inputs)
    report.check(stage.name)
    made_from = {artifact: found.digest for artifact, found in inputs.items()} | key_part(stage.name, basis)
    footage = read_table(work.path("footage"), "footage", Footage)
    return MadeFrom(
        footage={record.footage_id: source_line(record) for record in footage},
        run_key=run_key_of(stage, params, dict[str, JsonValue](made_from)),
        inputs=made_from,
        counts=report.counts(),
    )


def _classes(there: Iterable[ReleaseSample], coming: Iterable[Candidate]) -> Mapping[str, int]:
    """Identity to class: as in the release, and new ones after the last."""
    known = {sample.identity_id: sample.class_index for sample in there if sample.class_index >= 0}
    new = sorted({candidate.identity_id for candidate in coming} - known.keys())
    first = max(known.values(), default=-1) + 1
    return known | {identity: first + place for place, identity in enumerate(new)}


def _label(candidate: Candidate, class_of: Mapping[str, int]) -> SampleLabel:
    return SampleLabel(
        face_id=candidate.face_id,
        identity_id=candidate.identity_id,
        class_index=class_of.get(candidate.identity_id, -1),
        confidence=round(candidate.confidence, 6),
        quality=round(candidate.quality, 6),
    )
