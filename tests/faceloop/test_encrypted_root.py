"""An encrypted root gives what a plain one gives; its doors leave entries in the audit log, which hold no names."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faceloop.commands.auditing import purpose_of, sums_of
from faceloop.erasure.needles import Needles, search, vector_windows, windows_of
from facestore.auditlog import AuditLog
from facestore.crops import CropReader
from facestore.keys import MARKER
from facestore.records import Cluster, Face, FaceEmbedding, TrackletTemplate
from facestore.tables import column_matrix, read_columns

FACELOOP = Path(sys.executable).parent / "faceloop"


def _call(*words: str, fails: bool = False) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FACELOOP_")} | {
        "OMP_NUM_THREADS": "1"
    }
    done = subprocess.run([str(FACELOOP), *words], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stderr[-2000:]
    return done.stderr if fails else done.stdout


def _assert_nothing_lies_there_plain(plain: Path, sealed: Path, crop_keys: list[str]) -> None:
    """Windows of every crop and vector, searched for in every file of both roots, footage apart."""
    _call("gallery", "publish", "--proposed", "--min-quality", "0", "--root", str(sealed))
    reader = CropReader(plain / "crops")
    needles = [window for key in crop_keys for window in windows_of(reader.jpeg("aligned", key))]
    needles += [window for key in crop_keys for window in windows_of(reader.jpeg("context", key))]
    faces = read_columns(plain / "embeddings", "faces", FaceEmbedding, ("embedding",))
    templates = read_columns(plain / "embeddings", "templates", TrackletTemplate, ("embedding",))
    for table in (faces, templates):
        needles += [window for vector in column_matrix(table, "embedding") for window in vector_windows(vector)]
    found = {
        root: {Path(name).relative_to(root).parts[0] for name in search([root], Needles(needles)).held}
        for root in (plain, sealed)
    }
    assert found[sealed] == set()
    assert found[plain] >= {"crops", "embeddings", "release"}  # the mutant: nobody sealed it
    pages = {root: (root / "report" / "report.html").read_text(encoding="utf-8") for root in (plain, sealed)}
    assert "data:image/jpeg" in pages[plain] and "data:image/jpeg" not in pages[sealed]
    assert "Pictures are left out" in pages[sealed]
    said = json.loads(_call("keys", "status", "--root", str(sealed)))
    assert (said["not_encrypted"], said["pictures_in_pages"]) == ([], False)
    assert any(line.startswith("objects:") for line in said["plain_by_design"])


@pytest.mark.integration
def test_a_flow_on_an_encrypted_root_gives_the_same_labels_vectors_and_crops(
    face_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, sealed, key = tmp_path / "plain", tmp_path / "sealed", tmp_path / "master.key"
    _call("keys", "init", "--root", str(sealed), "--key-file", str(key))
    for root in (plain, sealed):
        _call("flow", str(face_source), "--root", str(root), "--threads", "1")
    for name in ("faces", "assignments"):
        for path in sorted((plain / name).rglob("*.parquet")):
            assert path.read_bytes() == (sealed / path.relative_to(plain)).read_bytes(), path.name
    monkeypatch.delenv("FACELOOP_MASTER_KEY", raising=False)
    clustered = ("face_id", "cluster_id", "confidence", "status")  # but for the run, whose key names its inputs
    for table in (
        [read_columns(root / "embeddings", "faces", FaceEmbedding) for root in (plain, sealed)],
        [read_columns(root / "embeddings", "templates", TrackletTemplate) for root in (plain, sealed)],
        [read_columns(root / "clusters", "clusters", Cluster, clustered) for root in (plain, sealed)],
    ):
        assert table[0].num_rows
        assert table[0].equals(table[1])
    assert (plain / "metrics.json").read_bytes() == (sealed / "metrics.json").read_bytes()
    there = [key for key in read_columns(plain / "faces", "faces", Face, ("crop_key",))["crop_key"].to_pylist() if key]
    here, closed = CropReader(plain / "crops"), CropReader(sealed / "crops")
    for crop in there:
        assert here.jpeg("aligned", crop) == closed.jpeg("aligned", crop)
    stored = b"".join(path.read_bytes() for path in (sealed / "crops").rglob("*.lmdb"))
    assert b"\xff\xd8\xff" in b"".join(path.read_bytes() for path in (plain / "crops").rglob("*.lmdb"))
    assert here.jpeg("aligned", there[0])[:200] not in stored
    assert not (plain / MARKER).exists()
    _assert_nothing_lies_there_plain(plain, sealed, there)
    log = AuditLog(f"sqlite:///{sealed / 'ledger.sqlite3'}")
    _call("identities", "list", "--root", str(sealed))
    entries = list(log.entries())
    assert [entry.action for entry in entries][-2:] == ["identities list", "identities list"]
    assert entries[-2].what == {"state": "begun"}
    assert face_source.name not in json.dumps([dict(entry.what) for entry in entries])
    log.close()
    key.rename(tmp_path / "elsewhere.key")
    assert "FACELOOP_MASTER_KEY" in _call("run", "detect", "--root", str(sealed), fails=True)


def test_groups_of_a_result_are_summed_so_that_no_name_of_theirs_is_kept() -> None:
    said = {"published": 3, "rejected": {"alice": 2, "bob": 1}, "who": "Ada", "Faces Of": 1}
    assert sums_of(said) == {"published": 3, "rejected": 3}  # type: ignore[arg-type]


def test_commands_that_show_people_are_doors_and_others_are_not() -> None:
    assert purpose_of("review push") == "labelling"
    assert purpose_of("erase apply") == "data_subject_request"
    assert purpose_of("jobs list") is None
    assert purpose_of("") is None
