"""The source manifest: what people wrote is taken as written, and a mistake is named with its row."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from faceloop.footage.source_manifest import SourceEntry, read_source_manifest
from facestore.errors import ConfigError


def _write(tmp_path: Path, text: str, name: str = "sources.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_csv_and_yaml_say_the_same(tmp_path: Path) -> None:
    csv_file = _write(
        tmp_path,
        "path,subset,captured_at,consent_id\r\n"
        "cam 1/a.mp4,cam1,2024-05-01T10:00:00+02:00,c-7\r\n"
        "b.jpg,,2024-05-01,\r\n",
    )
    yaml_file = _write(
        tmp_path,
        "- {path: cam 1/a.mp4, subset: cam1, captured_at: 2024-05-01T10:00:00+02:00, consent_id: c-7}\n"
        "- {path: b.jpg, captured_at: 2024-05-01}\n",
        "sources.yaml",
    )
    expected = {
        "cam 1/a.mp4": SourceEntry(
            subset="cam1", captured_at=datetime(2024, 5, 1, 8, tzinfo=UTC), consent_id="c-7", keys=()
        ),
        "b.jpg": SourceEntry(subset=None, captured_at=datetime(2024, 5, 1, tzinfo=UTC), consent_id=None, keys=()),
    }
    assert read_source_manifest(csv_file) == expected
    assert read_source_manifest(yaml_file) == expected


@pytest.mark.parametrize(
    "name",
    [
        "two words.mp4",
        'with "quotes".mp4',
        "comma, here.mp4",
        "line\nbreak.mp4",
        "u\u2028v.mp4",
        "f\x0cf.mp4",
        "人.mp4",
    ],
)
def test_any_name_can_be_written_in_csv(name: str, tmp_path: Path) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    assert list(read_source_manifest(_write(tmp_path, f"path,subset\n{quoted},s\n"))) == [name]


def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_a_key(tmp_path: Path) -> None:
    assert list(read_source_manifest(_write(tmp_path, "\ufeffpath\na.mp4\n"))) == ["a.mp4"]


def test_an_empty_manifest_says_nothing(tmp_path: Path) -> None:
    assert read_source_manifest(_write(tmp_path, "")) == {}
    assert read_source_manifest(_write(tmp_path, "", "s.yaml")) == {}


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("path,subste\na.mp4,x\n", "s.csv", r"row 1: unknown key 'subste'; keys are path, subset"),
        ("path,subset\na.mp4,x\nb.mp4,x,y\n", "s.csv", r"row 2: unknown key None"),
        ("path,subset\n,x\n", "s.csv", r"row 1: no path"),
        ("path\na.mp4\n./a.mp4\n", "s.csv", r"row 2: 'a.mp4' stands there twice"),
        ("path,captured_at\na.mp4,yesterday\n", "s.csv", r"row 1: captured_at = 'yesterday' is not an ISO-8601 time"),
        ("path,captured_at\na.mp4,0001-01-01T00:00:00+14:00\n", "s.csv", r"row 1: captured_at"),
        ("- path: a.mp4\n  captured_at: 2024\n", "s.yaml", r"row 1: captured_at = 2024"),
        ("path: a.mp4\n", "s.yaml", r"expected a list of rows"),
        ("- a.mp4\n", "s.yaml", r"expected a list of rows"),
        ("- {path: [", "s.yaml", r"cannot read the source manifest s\.yaml"),
        ('path\n"a.mp4\n', "s.csv", r"cannot read the source manifest s\.csv"),
    ],
)
def test_a_mistake_is_named(text: str, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read_source_manifest(_write(tmp_path, text, name))


def test_a_manifest_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes("path\ncafé.mp4\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot read the source manifest"):
        read_source_manifest(tmp_path / "s.csv")
