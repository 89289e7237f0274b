"""Mined hard sets as weights of samples: a set names faces, the release says which rows of its train split they are."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceloop.training.train_params import LossParams
from facestore.errors import ConfigError, StageError
from facestore.publish import Manifest, is_intact, read_manifest
from facestore.records import HardPair, ReleaseSample
from facestore.tables import read_columns

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
_MADE_BY = "mine"


def hard_set_digests(loss: LossParams) -> list[str]:
    """Content digest of each set that params name. Raises ConfigError for a folder that is no whole hard set."""
    return [_manifest(Path(folder)).digest for folder in loss.hard_sets]


def hard_samples(release: Path, loss: LossParams) -> BoolArray:
    """(n,) by row of the train split: whether a pair of the named sets holds its face.

    Raises ConfigError as `hard_set_digests`, StageError where the release has none of a set's faces.
    """
    faces = [face for face, _ in _train_rows(release)]
    found = np.zeros(len(faces), np.bool_)
    for folder in map(Path, loss.hard_sets):
        _manifest(folder)
        pairs = read_columns(folder, "pairs", HardPair, ("first_face_id", "second_face_id"))
        listed = {face for column in pairs.itercolumns() for face in column.to_pylist()}
        is_listed = np.array([face in listed for face in faces], np.bool_)
        if not is_listed.any():
            raise StageError(
                f"train: no face of hard set {folder.parent.name}/{folder.name} is in the train split; pack a release "
                "that holds them, or take it out of train.loss.hard_sets"
            )
        found |= is_listed
    return found


def sample_weights(release: Path, loss: LossParams) -> Float32Array | None:
    """(n,) > 0 by row of the train split, with the labels' confidence where it counts; None where no set is named."""
    if not loss.hard_sets:
        return None
    confidence = [confidence for _, confidence in _train_rows(release)]
    weights = np.array(confidence if loss.label_confidence else [1.0] * len(confidence), np.float32)
    return np.where(hard_samples(release, loss), weights * np.float32(loss.hard_weight), weights)


def _train_rows(release: Path) -> list[tuple[str, float]]:
    """Face id and confidence of each row of the train split."""
    table = read_columns(release, "samples", ReleaseSample, ("split", "row", "face_id", "confidence"))
    rows = sorted((row for row in table.to_pylist() if row["split"] == "train"), key=lambda row: row["row"])
    return [(row["face_id"], row["confidence"]) for row in rows]


def _manifest(folder: Path) -> Manifest:
    found = read_manifest(folder) if folder.is_dir() else None
    if found is None or found.stage != _MADE_BY or not is_intact(folder, found):
        raise ConfigError(
            f"train.loss.hard_sets: {folder} is no whole hard set; name folders such as DIR/hard_sets/NAME/VERSION, "
            "which `faceloop mine` makes"
        )
    return found
