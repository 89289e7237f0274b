"""The source manifest beside the footage: which camera, when, and under whose consent."""

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

from faceloop.sample.publish import published
from faceloop.sample.truth import Truth

MANIFEST_NAME = "sources.csv"
COLUMNS = ("path", "subset", "captured_at", "consent_id")
FIRST_CAPTURE = datetime(2025, 6, 14, 8, 0, tzinfo=UTC)
CONSENT_IDS = {"gate": "sample-001", "lobby": "sample-002", "album": "sample-003"}
# Real manifests have holes: for these the parent folder must do.
LEFT_OUT = frozenset({"album/small-01.jpg", "album/blurred-01.jpg", "lobby/nobody-here.mp4"})


def write_manifest(directory: Path, truth: Truth) -> None:
    """Write `sources.csv`: path (POSIX, relative), subset, captured_at (ISO 8601, UTC), consent_id."""
    paths = sorted([file.path for file in truth.files] + [bad.path for bad in truth.bad])
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for number, path in enumerate(paths):
        subset = path.split("/")[0]
        captured_at = (FIRST_CAPTURE + timedelta(minutes=7 * number)).isoformat().replace("+00:00", "Z")
        if path not in LEFT_OUT:
            rows.writerow((path, subset, captured_at, CONSENT_IDS[subset]))
    with published(directory / MANIFEST_NAME) as target:
        target.write_text(text.getvalue(), encoding="utf-8", newline="")
