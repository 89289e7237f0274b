"""Which artifacts hold faces of a consent, by name, and what becomes of each: what a withdrawal must be able to say."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from faceloop.consent.denying import faces_under
from faceloop.restriction.inventory import Copy, hard_sets_with, samples_with, shelved_with
from faceloop.runner import Workspace
from facestore.ids import JsonValue
from facestore.publish import read_manifest

Kind = Literal["release", "gallery", "hard_set", "evaluation", "candidate", "exported", "attributes"]
_MODELS: tuple[tuple[Kind, str, str], ...] = (
    ("candidate", "a model was trained on them", "run pack, then train"),
    ("exported", "engines were calibrated with them", "run pack, train, then export"),
    ("attributes", "heads were trained on them", "run train_attributes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An artifact that holds faces of a consent, or may."""

    kind: Kind
    place: str  # relative to the root
    rows: int | None  # samples, faces or pairs; None: nobody counted, it stands on a release that held them
    state: str  # what it is worth now
    then: str  # what to do

    def as_json(self) -> dict[str, JsonValue]:
        """For output and papers."""
        return {"kind": self.kind, "place": self.place, "rows": self.rows, "state": self.state, "then": self.then}


def holders(work: Workspace, consent_ids: Collection[str]) -> list[Holder]:
    """Every artifact under the root that holds faces in footage under these consents. Changes nothing.

    Copies elsewhere (exports, caches, backups, consumers' galleries) are not looked into. Raises DataError for a
    gallery or a table that cannot be read.
    """
    faces = set().union(*faces_under(work, consent_ids).values())
    if not faces:
        return []
    samples = samples_with(work, faces)
    found = [_release(copy) for copy in samples]
    found += [_gallery(copy) for copy in shelved_with(work, faces)]
    found += [_hard_set(copy) for copy in hard_sets_with(work, faces)]
    if read_manifest(work.path("evaluation")) is not None:
        found.append(_whole(work, "evaluation", "measured with what the release held", "run evaluate after pack"))
    for artifact, state, then in _MODELS:
        if read_manifest(work.path(artifact)) is not None:
            found.append(_whole(work, artifact, state + ", if the release of that day held them", then))
    return found


def _release(copy: Copy) -> Holder:
    state = "no stage uses it until it is free of them" if copy.is_current else "an earlier copy, given to no stage"
    then = "faceloop consent enforce; the next pack leaves them out" if copy.is_current else f"rm -r {copy.place}"
    return Holder(kind="release", place=copy.place, rows=copy.rows, state=state, then=then)


def _gallery(copy: Copy) -> Holder:
    state = "its searches do not answer with them any more"
    then = (
        "faceloop gallery publish leaves them out" if copy.is_current else f"rm -r {copy.place}, here and at consumers"
    )
    return Holder(kind="gallery", place=copy.place, rows=copy.rows, state=state, then=then)


def _hard_set(copy: Copy) -> Holder:
    state = "a training weighs only what the release still holds"
    then = f"the next mining leaves them out; rm -r {copy.place}"
    return Holder(kind="hard_set", place=copy.place, rows=copy.rows, state=state, then=then)


def _whole(work: Workspace, kind: Kind, state: str, then: str) -> Holder:
    return Holder(kind=kind, place=work.path(kind).name, rows=None, state=state, then=then)
