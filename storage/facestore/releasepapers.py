"""What a release says of itself, kept true when it is changed: its table, its manifest and its card."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from facestore.errors import DataError, StoreError
from facestore.ids import JsonValue, canonical_json, digest_of
from facestore.records import ReleaseSample
from facestore.shardindex import INDEX, read_index
from facestore.tables import write_table

TABLE = "samples"
_PAPERS = "manifest.json"
_CARD = "README.md"


def splits_of(release: Path) -> list[str]:
    return sorted(path.parent.name for path in release.glob(f"*/{INDEX}"))


def version_of(release: Path) -> str:
    return str(_papers(release)["release"])


def _papers(release: Path) -> dict[str, JsonValue]:
    try:
        papers = json.loads((release / _PAPERS).read_bytes())
        if not isinstance(papers, dict) or "release" not in papers:
            raise DataError(f"{release / _PAPERS} names no version; run pack again")
    except (OSError, ValueError) as error:
        raise DataError(f"{release / _PAPERS} cannot be read ({error}); run pack again") from error
    return papers


def write_papers(staged: Path, samples: Sequence[ReleaseSample], reason: str, footage: Mapping[str, JsonValue]) -> str:
    """Table, manifest and card of the changed release; returns its version, which names its content.

    `footage`: lines of the lineage as they are now, by footage id; without one, the line of before stays.
    """
    order = sorted(samples, key=lambda sample: (sample.split, sample.row))
    papers = _papers(staged)
    before = str(papers["release"])
    version = digest_of([[sample.split, sample.row, sample.sha256] for sample in order])[:12]
    papers["release"] = version
    papers["splits"] = {split: _sizes(split, order) for split in splits_of(staged)}
    papers["tombstones"] = [
        {"split": split, "reason": delta.reason, "samples": len(delta.removed)}
        for split in splits_of(staged)
        for delta in read_index(staged / split).deltas
        if delta.removed
    ]
    changes = papers.get("changes")
    earlier = changes if isinstance(changes, list) else []
    papers["changes"] = [*earlier, {"before": before, "reason": reason}]
    _trace(papers, {sample.footage_id for sample in order}, footage)
    card = (staged / _CARD).read_text(encoding="utf-8") if (staged / _CARD).is_file() else f"# Face release {before}\n"
    note = (
        f"Changed after it was packed ({reason}): counts above are of {before}, those of {version} in the manifest.\n"
    )
    texts = {
        _PAPERS: canonical_json(papers) + "\n",
        _CARD: card.replace(f"version: {before}", f"version: {version}", 1),
    }
    texts[_CARD] += f"\n{note}"
    try:
        for name, text in texts.items():
            (staged / name).unlink(missing_ok=True)  # it may be shared with the release before
            (staged / name).write_text(text, encoding="utf-8")
        (staged / f"{TABLE}.parquet").unlink(missing_ok=True)
        write_table(staged / f"{TABLE}.parquet", ReleaseSample, order)
    except OSError as error:
        raise StoreError(f"cannot change the release: {error}; make room, then run again") from error
    return version


def _sizes(split: str, samples: Sequence[ReleaseSample]) -> JsonValue:
    own = [sample for sample in samples if sample.split == split]
    return {"identities": len({sample.identity_id for sample in own}), "samples": len(own)}


def _trace(papers: dict[str, JsonValue], used: Collection[str], now: Mapping[str, JsonValue]) -> None:
    """The lineage names the footage that samples come from, and no other: consents are looked up by it."""
    lineage = papers.get("lineage")
    if not isinstance(lineage, dict):
        lineage = papers["lineage"] = {}
    listed = lineage.get("footage")
    before = {str(e["footage_id"]): e for e in listed if isinstance(e, dict)} if isinstance(listed, list) else {}
    lines = {**before, **now}
    lineage["footage"] = [lines[footage_id] for footage_id in sorted(used) if footage_id in lines]
