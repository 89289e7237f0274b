"""Checkpoints: safetensors and JSON, no pickle; whole or not there, checked by hash, the last two are kept.

training/RUN_KEY/
  step-00000120/  shared.safetensors          backbone, its optimiser state (rank 0)
                  rows-00000.safetensors …    one file a rank: its class rows and their optimiser state
                  state.json                  step, curve, … and the sha256 of every file; written last
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load
from torch import Tensor

from faceloop.training.ranks import World
from faceloop.training.tensor_files import write_tensors
from facestore.errors import DataError
from facestore.ids import JsonValue, canonical_json, file_sha256

STATE, SHARED, ROWS = "state.json", "shared.safetensors", "rows-{rank:05d}.safetensors"
KEPT = 2
_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a training needs to go on after `step` steps. `rows` is this rank's part, `shared` everybody's."""

    step: int
    shared: Mapping[str, Tensor]
    rows: Mapping[str, Tensor]
    facts: Mapping[str, JsonValue]


def write_checkpoint(folder: Path, checkpoint: Checkpoint, world: World) -> None:
    """Called by every rank. Visible by one rename after all files are on the disk; then older ones go."""
    final = folder / f"step-{checkpoint.step:08d}"
    partial = folder / f".{final.name}.partial"
    if world.is_first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    world.wait()
    mine = {ROWS.format(rank=world.rank): checkpoint.rows}
    if world.is_first:
        mine[SHARED] = checkpoint.shared
    hashes: dict[str, JsonValue] = {}
    for name, tensors in mine.items():
        write_tensors(partial / name, tensors)
        _flush(partial / name)
        hashes[name] = file_sha256(partial / name)
    merged: dict[str, JsonValue] = {}
    for found in world.gather(hashes):
        merged.update(found)  # type: ignore[call-overload]
    if world.is_first:
        state: dict[str, JsonValue] = {"step": checkpoint.step, "facts": dict(checkpoint.facts), "sha256": merged}
        (partial / STATE).write_text(canonical_json(state) + "\n", encoding="utf-8")
        _flush(partial / STATE)
        _flush(partial)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _flush(folder)
        for _, older in _found(folder)[:-KEPT]:
            shutil.rmtree(older)
    world.wait()


def last_checkpoint(folder: Path, world: World) -> Checkpoint | None:
    """The newest one that is whole, for the same number of ranks; an older one where the newest is damaged."""
    for step, path in reversed(_found(folder)):
        try:
            state = json.loads((path / STATE).read_bytes())
            if sum(name.startswith("rows-") for name in state["sha256"]) != world.ranks:
                continue
            wanted = (SHARED, ROWS.format(rank=world.rank))
            shared, rows = (load(_verified(path / name, state["sha256"][name])) for name in wanted)
            is_whole = True
        except (OSError, ValueError, KeyError, DataError):
            is_whole = False
        if all(world.gather(is_whole)):
            return Checkpoint(step=step, shared=shared, rows=rows, facts=state["facts"])
    return None


def _found(folder: Path) -> list[tuple[int, Path]]:
    paths = folder.iterdir() if folder.is_dir() else iter(())
    return sorted((int(name[1]), path) for path in paths if (name := _NAME.fullmatch(path.name)))


def _verified(path: Path, sha256: str) -> bytes:
    from hashlib import sha256 as hash_of

    content = path.read_bytes()
    if hash_of(content).hexdigest() != sha256:
        raise DataError(f"{path}: sha256 differs from {STATE}; an older checkpoint is taken")
    return content


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
