"""calibrate: measure how strangers resemble each other under each recogniser of a root, without labels."""

from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from pydantic import ConfigDict

from faceloop.clustering.calibration import Calibration, Shortage, as_json, shipped_calibration
from faceloop.clustering.impostors import Unlabelled, measure_calibration
from faceloop.commands.options import ParamsOption, RootOption, SetOption, workspace
from faceloop.params import StageParams, section
from faceloop.runner import Workspace
from facestore.errors import DataError, StageError
from facestore.publish import read_manifest
from facestore.records import Face, FaceEmbedding, TrackletTemplate
from facestore.tables import column_matrix, read_columns

OutOption = Annotated[Path | None, typer.Option("--out", help="Write what was measured to this JSON file.")]


class _ClusterNumbers(StageParams):
    model_config = ConfigDict(frozen=True, extra="ignore")

    min_quality: float


def calibrate(
    root: RootOption = None, params: ParamsOption = None, overrides: SetOption = None, out: OutOption = None
) -> None:
    """Measure the impostor distribution of a root's embeddings: what thresholds in sigmas mean in cosines."""
    work = workspace(root, params, overrides)
    measured = []
    for unlabelled in unlabelled_of(work):
        found = measure_calibration(unlabelled)
        typer.echo(_line(unlabelled.contract_id, found))
        if isinstance(found, Calibration):
            measured.append(found)
    if not measured:
        raise DataError("nothing could be measured; run on footage of more people, or name a file of another root")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(as_json(measured), encoding="utf-8")
        typer.echo(f"written: {out}; name it in cluster.calibration")


def unlabelled_of(work: Workspace) -> list[Unlabelled]:
    """What a root tells about each of its contracts, the committee's too. Raises StageError before embed has run."""
    embeddings, faces = work.path("embeddings"), work.path("faces")
    for path in (embeddings, faces):
        if read_manifest(path) is None:
            raise StageError(f"calibrate: missing input {path}; run detect and embed first")
    least = section(work.tree, "cluster", _ClusterNumbers).min_quality
    pictures = _pictures(faces)
    genuine = _genuine(embeddings)
    found = []
    for name in ("templates", "committee"):
        table = read_columns(embeddings, name, TrackletTemplate)
        table = table.filter(np.asarray(table["quality"].to_numpy()) >= least)
        contracts = np.array(table["contract_id"].to_pylist(), dtype=np.str_)
        for contract in sorted(set(contracts.tolist())):
            part = table.filter(contracts == contract)
            names = part["tracklet_id"].to_pylist()
            found.append(
                Unlabelled(
                    contract_id=contract,
                    node_ids=tuple(names),
                    vectors=column_matrix(part, "embedding"),
                    same_picture=_same_picture(names, pictures),
                    genuine=genuine.get(contract, np.empty(0, np.float32)),
                    source=f"{len(names)} tracklets of {work.root.resolve().name}",
                )
            )
    return found


def _pictures(faces: Path) -> list[list[str]]:
    """Tracklets of each picture that shows two or more."""
    table = read_columns(faces, "faces", Face, ("tracklet_id", "footage_id", "pts_ms", "rejected"))
    table = table.filter(table["rejected"].is_null())
    seen: dict[tuple[str, int], set[str]] = defaultdict(set)
    for tracklet, footage, pts_ms in zip(
        *(table[name].to_pylist() for name in ("tracklet_id", "footage_id", "pts_ms")), strict=True
    ):
        seen[footage, pts_ms].add(tracklet)
    return [sorted(together) for together in seen.values() if len(together) > 1]


def _same_picture(names: list[str], pictures: list[list[str]]) -> npt.NDArray[np.int64]:
    row_of = {name: row for row, name in enumerate(names)}
    rows = ([row_of[name] for name in together if name in row_of] for together in pictures)
    pairs = {pair for together in rows for pair in combinations(sorted(together), 2)}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _genuine(embeddings: Path) -> dict[str, npt.NDArray[np.float32]]:
    """By contract: cosines of a tracklet's first face with its last."""
    table = read_columns(embeddings, "faces", FaceEmbedding, ("tracklet_id", "contract_id", "embedding"))
    vectors = column_matrix(table, "embedding")
    first: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], int] = {}
    contracts, tracklets = table["contract_id"].to_pylist(), table["tracklet_id"].to_pylist()
    for row, key in enumerate(zip(contracts, tracklets, strict=True)):
        first.setdefault(key, row)
        last[key] = row
    cosines: dict[str, list[float]] = defaultdict(list)
    for key, row in first.items():
        if last[key] != row:
            cosines[key[0]].append(float(vectors[row] @ vectors[last[key]]))
    return {contract: np.array(values, dtype=np.float32) for contract, values in cosines.items()}


def _line(contract_id: str, found: Calibration | Shortage) -> str:
    shipped = shipped_calibration(contract_id)
    known = f"; shipped: {shipped.impostor_mean:.4f} ± {shipped.impostor_sd:.4f}" if shipped else ""
    if isinstance(found, Shortage):
        return f"{contract_id}: not measured, {found}{known}"
    extra = "".join(
        f"; {what} {mean:.3f} ({pairs} pairs)"
        for what, mean, pairs in (
            ("one picture", found.same_picture_mean, found.same_picture_pairs),
            ("one tracklet", found.genuine_mean, found.genuine_pairs),
        )
        if mean is not None
    )
    return (
        f"{contract_id}: strangers {found.impostor_mean:.4f} ± {found.impostor_sd:.4f} "
        f"({found.people} people, {found.impostor_pairs:,} pairs){extra}{known}"
    )
