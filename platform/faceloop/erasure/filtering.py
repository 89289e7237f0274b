"""Artifacts without a person: rows and pictures of others are kept as they are, and so is the layout of batches.

What is built beside an artifact takes its place in one exchange with all others. Keys of finished batches are computed
anew where they held before: later runs find their work done, and neither look at old footage again nor bring back
what was removed.
"""

import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from faceloop.batches import BATCH_FILE
from faceloop.erasure.planning import Plan
from facestore.crops import CROPS_FILE
from facestore.ids import canonical_json
from facestore.lmdbfile import LmdbReader, LmdbWriter
from facestore.publish import MANIFEST, Manifest, read_manifest, write_manifest
from facestore.records import MEDIA_ERASED
from facestore.tables import ROW_GROUP_ROWS, table_files

_TOKEN = re.compile(r"[\w-]+")
_TEMPLATES = ("templates.parquet", "committee.parquet", "nodes.parquet")  # rows made of all faces of a tracklet
KeysOf = Callable[[Mapping[str, Manifest]], Mapping[str, str]]  # manifests of inputs → key of each batch


def filtered_copy(source: Path, target: Path, plan: Plan) -> int:
    """Build an artifact without the subject, its manifest still to be written; returns how many rows and pictures went.

    Files that cannot be filtered and name the subject are left out: whoever needs them makes them again.
    """
    shutil.rmtree(target, ignore_errors=True)
    needles = plan.search_for()
    gone = 0
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        name = path.relative_to(source).as_posix()
        if name == MANIFEST:
            continue
        to = target / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            gone += _filter_table(path, to, plan, _heirs(source, plan) if path.name == "identities.parquet" else {})
        elif path.name == CROPS_FILE:
            gone += _filter_crops(path, to, set(plan.face_ids))
        elif needles.in_file(path):
            gone += 1
        else:
            shutil.copyfile(path, to)
    target.mkdir(parents=True, exist_ok=True)
    return gone


def names_any(value: object, ids: Collection[str]) -> bool:
    """Whether a cell names one of the ids: as it is, in a list, or inside a longer text."""
    if isinstance(value, str):
        return value in ids or any(token in ids for token in _TOKEN.findall(value))
    return isinstance(value, list) and any(names_any(item, ids) for item in value)


def _filter_table(path: Path, to: Path, plan: Plan, heirs: Mapping[str, str]) -> int:
    table = pq.read_table(path, partitioning=None)
    ids = plan.ids | set(plan.mixed_tracklet_ids) if path.name in _TEMPLATES else plan.ids
    texts = [field.name for field in table.schema if _is_text(field.type)]
    keep = [not any(names_any(value, ids) for value in row.values()) for row in table.select(texts).to_pylist()]
    if heirs:
        table, keep = _inherit(table, keep, heirs, plan)
    kept = table.filter(pa.array(keep, pa.bool_()))
    if path.name == "footage.parquet":
        kept = _flag(kept, set(plan.shared_footage_ids))
    with pq.ParquetWriter(
        to, table.schema, compression="zstd", write_statistics=True, write_page_checksum=True
    ) as writer:
        writer.write_table(kept, ROW_GROUP_ROWS)
    return len(table) - len(kept)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind))


def _heirs(assignments: Path, plan: Plan) -> dict[str, str]:
    """A face that stays for each identity: what its row shows in place of a face that went."""
    heirs: dict[str, str] = {}
    for path in table_files(assignments, "assignments"):
        for row in pq.read_table(path, columns=["face_id", "identity_id"], partitioning=None).to_pylist():
            if row["identity_id"] is not None and row["face_id"] not in plan.ids:
                heirs[row["identity_id"]] = min(row["face_id"], heirs.get(row["identity_id"], row["face_id"]))
    return heirs


def _inherit(table: pa.Table, keep: list[bool], heirs: Mapping[str, str], plan: Plan) -> tuple[pa.Table, list[bool]]:
    """An identity of others whose row shows a face of the subject stays, and shows one of its own."""
    rows = table.to_pylist()
    for number, row in enumerate(rows):
        heir = heirs.get(row["identity_id"])
        if not keep[number] and heir and row["identity_id"] not in plan.ids:
            keep[number] = True
            for column in ("seed_face_id", "best_face_id"):
                row[column] = heir if row[column] in plan.ids else row[column]
            row["successor"] = None if row["successor"] in plan.ids else row["successor"]
    return pa.Table.from_pylist(rows, schema=table.schema), keep


def _flag(table: pa.Table, shared: set[str]) -> pa.Table:
    if shared.isdisjoint(table["footage_id"].to_pylist()):
        return table
    rows = table.to_pylist()
    for row in rows:
        if row["footage_id"] in shared:
            row["flags"] = sorted({*row["flags"], MEDIA_ERASED})
    return pa.Table.from_pylist(rows, schema=table.schema)


def _filter_crops(path: Path, to: Path, faces: set[str]) -> int:
    gone = 0
    with LmdbWriter(to) as writer:
        for key, record in LmdbReader(path).items():
            if key.decode().partition(":")[2] in faces:
                gone += 1
            else:
                writer.put(key, record)
    return gone


def restamp(
    waiting: Mapping[str, Path], outs: Collection[str], before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """Give finished batches of a stage's outputs the key that they have now; those that were out of date stay so."""
    for out in outs:
        for path in sorted(waiting[out].glob(f"*/{BATCH_FILE}")) if out in waiting else ():
            body = json.loads(path.read_text(encoding="utf-8"))
            batch = path.parent.name
            if body.get("key") == before.get(batch) and batch in after:
                path.write_text(canonical_json({**body, "key": after[batch]}) + "\n", encoding="utf-8")


def remanifest(waiting: Path, live: Path, digests: Mapping[str, str]) -> Manifest | None:
    """Write the manifest of a filtered artifact: run key and counts as before, inputs by their new digests."""
    was = read_manifest(live)
    if was is None:
        return None
    inputs = {name: digests.get(digest, digest) for name, digest in was.inputs.items()}
    return write_manifest(waiting, stage=was.stage, run_key=was.run_key, counts=was.counts, inputs=inputs)
