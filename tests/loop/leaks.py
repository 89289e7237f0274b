"""Whether something that must stay where it is got out: into logs, Airflow's database, what is published."""

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from faceloop.operate.place import Place
from facereview.labelstudio.local import running
from facestore.records import FaceEmbedding
from facestore.tables import read_table

from .deployment_world import Loop


def secrets_of(place: Place) -> dict[str, str]:
    """Every secret that a deployment was made with, by what it is."""
    keys = json.loads((place.folder / "keys.json").read_text(encoding="utf-8"))
    server = running(place.labels)
    assert server is not None
    found = {name: str(keys[name]) for name in ("fernet", "session", "jwt", "webhook")}
    found |= {f"password of {user}": secret for user, secret in keys["passwords"].items()}
    return found | {"token of Label Studio": server.token, "signed query": "X-Amz-Signature="}


def vectors_of(loop: Loop, faces: int) -> dict[str, bytes]:
    """The bytes of some vectors as they lie in a table, and as base64 would carry them."""
    found: dict[str, bytes] = {}
    rows = read_table(loop.work().path("embeddings"), "faces", FaceEmbedding)
    for row in islice(rows, faces):
        raw = np.asarray(row.embedding, dtype=np.float32).tobytes()[:48]
        found[f"vector of {row.face_id[:8]}"] = raw
        found[f"vector of {row.face_id[:8]} in base64"] = base64.b64encode(raw)
    return found


def places_of_leaks(place: Place) -> Iterator[Path]:
    """Files in which no secret, name or vector has a place: logs, Airflow's database, what stages and jobs said."""
    for folder in (place.logs, place.airflow / "logs", place.root / "jobs", place.labels / "logs"):
        yield from _files(folder)
    yield from _files(place.airflow, "airflow.db*")
    for name in ("report", "evaluation", "release", "questions", "exported"):
        yield from _files(place.root / name)
    yield place.params
    yield place.standing


def found_in(files: Iterator[Path], needles: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Which needles lie in which files, by the needle's name."""
    found: dict[str, set[str]] = {}
    for path in files:
        if not path.is_file():
            continue
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # a database that is in use makes and removes files beside it
        for name, needle in needles.items():
            if needle in content:
                found.setdefault(name, set()).add(path.name)
    return found


def _files(folder: Path, pattern: str = "*") -> Iterator[Path]:
    return iter(sorted(folder.rglob(pattern))) if folder.is_dir() else iter(())
