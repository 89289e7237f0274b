"""What a command ends with where the database or the store is away: a scheduler comes back, a person is told why."""

import sys
from pathlib import Path

import pytest

from faceloop.cli import main


@pytest.mark.parametrize(
    ("ledger", "code"),
    [("postgresql+psycopg://app@127.0.0.1:1/faceloop", 75), ("nosuchdatabase://somewhere/faceloop", 2)],
)
def test_a_catalogue_that_is_away_says_come_back(
    ledger: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["decisions", "list", "--root", str(tmp_path), "-S", f"paths.ledger={ledger}"]
    monkeypatch.setattr(sys, "argv", ["faceloop", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == code, said
    assert "cannot open" in said
    assert "Traceback" not in said


def test_a_bucket_that_is_away_says_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"ENDPOINT_URL": "http://127.0.0.1:1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
    for name, value in {**settings, "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(
        sys, "argv", ["faceloop", "run", "ingest", "--root", str(tmp_path), "-S", "paths.source=s3://faces"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 75, said
    assert "s3://faces" in said
