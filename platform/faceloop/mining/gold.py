"""Gold: who is evaluated. What a request with sources lists may be trained on, so no face of a gold person is in it."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceloop.mining.quarry import Quarry
from faceloop.params import section
from faceloop.runner import Workspace
from faceloop.stages.evaluate import Params as EvaluateParams
from facestore.ids import digest_of
from facestore.publish import read_manifest
from facestore.records import ReleaseSample
from facestore.tables import read_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldFaces:
    """The gold of the published release; empty where none is published."""

    release: str | None  # digest
    identity_of: dict[str, str]  # face → person

    @property
    def digest(self) -> str:
        """Of who is asked about whom: equal in two releases with the same gold."""
        return digest_of(dict(self.identity_of.items()))


def gold_faces(work: Workspace) -> GoldFaces:
    """Samples of the splits that `evaluate.splits` names. Raises DataError for a table that cannot be read."""
    manifest = read_manifest(work.path("release"))
    if manifest is None:
        return GoldFaces(release=None, identity_of={})
    splits = section(work.tree, "evaluate", EvaluateParams).splits
    table = read_columns(work.path("release"), "samples", ReleaseSample, ("split", "face_id", "identity_id"))
    rows = table.filter(pc.is_in(table["split"], value_set=pc.cast(splits, table["split"].type)))
    names = dict(zip(rows["face_id"].to_pylist(), rows["identity_id"].to_pylist(), strict=True))
    return GoldFaces(release=manifest.digest, identity_of=names)


def is_gold(quarry: Quarry, gold: GoldFaces) -> NDArray[np.bool_]:
    """(n,) faces of gold, and every other face of the people in it: the next release puts them there."""
    people = set(gold.identity_of.values())
    return np.array([face.face_id in gold.identity_of or face.identity_id in people for face in quarry.faces], np.bool_)
