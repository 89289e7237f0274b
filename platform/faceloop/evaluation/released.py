"""What the published tables know of the faces of a release: occasions, slices, who labelled them, train vectors."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from faceloop.evaluation.coverage_params import MeasuredAxis
from faceloop.evaluation.gold import Gold
from faceloop.evaluation.slices import FaceFacts, facts_of
from facestore.errors import ConfigError
from facestore.records import Assignment, AttributeLabel, Face, FaceEmbedding, ReleaseSample
from facestore.tables import column_matrix, read_columns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainFaces:
    """What was trained on, under the current model; `not_compared` samples have no embedding today."""

    face_ids: tuple[str, ...]
    identity_ids: tuple[str, ...]
    vectors: NDArray[np.float32]  # (n, d) unit
    all_identity_ids: tuple[str, ...]  # of samples without an embedding, too
    not_compared: int


def occasions(faces: Path) -> dict[str, str]:
    """The tracklet of each face."""
    table = read_columns(faces, "faces", Face, ("face_id", "tracklet_id"))
    return dict(zip(table["face_id"].to_pylist(), table["tracklet_id"].to_pylist(), strict=True))


def slice_facts(
    gold: Gold, faces: Path, assignments: Path, measured: Mapping[str, MeasuredAxis]
) -> tuple[FaceFacts, ...]:
    """Bands of each gold face, in gold order; a face that the tables lost is `unknown` everywhere."""
    wanted = pa.array(gold.face_ids, pa.string())
    columns = {axis.column for axis in measured.values()}
    rows = _of(read_columns(faces, "faces", Face, ("face_id", "subset", *sorted(columns))), wanted).to_pylist()
    by_face = {row["face_id"]: row for row in rows}
    said: dict[str, dict[str, str]] = defaultdict(dict)
    names: set[str] = set()
    labels = _of(read_columns(assignments, "attributes", AttributeLabel, ("face_id", "name", "value")), wanted)
    for label in labels.to_pylist():
        said[label["face_id"]][label["name"]] = label["value"]
        names.add(label["name"])
    names -= set(measured)  # what is measured is not asked
    return tuple(
        facts_of(by_face[face_id]["subset"], by_face[face_id], said[face_id], measured, names)
        if face_id in by_face
        else FaceFacts(bands={})
        for face_id in gold.face_ids
    )


def labelled_by_people(gold: Gold, assignments: Path) -> float:
    """Share of the gold faces whose identity rests on what people said, [0, 1]; 1 of no faces."""
    labels = read_columns(assignments, "assignments", Assignment, ("face_id", "source"))
    by_people = labels.filter(pc.not_equal(labels["source"], "auto"))["face_id"].combine_chunks()
    is_by_people = pc.is_in(pa.array(gold.face_ids, pa.string()), value_set=by_people)
    return float(np.mean(is_by_people.to_numpy(zero_copy_only=False))) if len(gold) else 1.0


def train_faces(release: Path, embeddings: Path, contract_id: str) -> TrainFaces:
    """Train samples with the vectors that `embed` published.

    Raises ConfigError where those were made by another model than the current one, `contract_id`.
    """
    samples = read_columns(release, "samples", ReleaseSample, ("split", "face_id", "identity_id"))
    train = samples.filter(pc.equal(samples["split"], "train"))
    columns = ("face_id", "contract_id", "embedding")
    table = _of(read_columns(embeddings, "faces", FaceEmbedding, columns), train["face_id"].combine_chunks())
    if others := set(table["contract_id"].unique().to_pylist()) - {contract_id}:
        raise ConfigError(
            f"evaluate.current is the model {contract_id}, embeddings were made by {', '.join(sorted(others))}; "
            "set evaluate.current as embed.model"
        )
    identity_of = dict(zip(train["face_id"].to_pylist(), train["identity_id"].to_pylist(), strict=True))
    face_ids = table["face_id"].to_pylist()
    return TrainFaces(
        face_ids=tuple(face_ids),
        identity_ids=tuple(identity_of[face_id] for face_id in face_ids),
        vectors=column_matrix(table, "embedding"),
        all_identity_ids=tuple(sorted(set(identity_of.values()))),
        not_compared=len(train) - len(table),
    )


def _of(table: pa.Table, face_ids: pa.Array | Collection[str]) -> pa.Table:
    return table.filter(pc.is_in(table["face_id"], value_set=face_ids))
