"""`faceloop store roles`, and commands that run with the rights of their roles alone."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from tests.facestore.s3_roles_world import credentials_of, settled
from typer.testing import CliRunner

from faceloop.cli import app
from facestore.ids import media_key, sha256_hex
from facestore.objects import open_store
from facestore.s3 import S3Bucket
from facestore.s3roles import ROLES, Place

ROOT = Path(__file__).parents[2]
BUCKETS = ["-S", "paths.objects=s3://media/faceloop", "-S", "review.pictures=s3://shown/pictures"]


def _roles(folder: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["store", "roles", *words, "--root", str(folder / "root")])
    return done.exit_code, done.output if done.exception is None else str(done.exception)


def test_the_list_says_what_each_role_is_for_and_which_need_no_bucket(tmp_path: Path) -> None:
    code, said = _roles(tmp_path)
    lines = said.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == list(ROLES)
    assert all(line.endswith("all of it in folders") for line in lines)
    assert "all of it in folders" not in _roles(tmp_path, *BUCKETS)[1].splitlines()[list(ROLES).index("erase")]


def test_a_policy_names_the_places_of_the_params(tmp_path: Path) -> None:
    code, said = _roles(tmp_path, "erase", *BUCKETS)
    assert code == 0
    resources = {one["Resource"][0] for one in json.loads(said)["Statement"]}
    assert resources == {
        "arn:aws:s3:::media", "arn:aws:s3:::media/faceloop/*", "arn:aws:s3:::shown", "arn:aws:s3:::shown/pictures/*"
    }  # fmt: skip
    code, said = _roles(tmp_path, "anchor", "--anchors", "s3://elsewhere/heads")
    assert "arn:aws:s3:::elsewhere/heads/*" in said


@pytest.mark.parametrize(
    ("words", "message"), [(["everything"], "one of ingest, read"), (["anchor"], "needs no bucket")]
)
def test_a_role_that_is_none_and_one_without_a_bucket_are_said_to_be_that(
    words: list[str], message: str, tmp_path: Path
) -> None:
    code, said = _roles(tmp_path, *words)
    assert code != 0
    assert message in said


@pytest.mark.integration
def test_ingest_verify_and_sweep_run_with_the_rights_of_their_roles_and_not_with_each_others(
    face_source: Path, s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    url = f"s3://stages-{uuid4().hex[:10]}/objects"
    bucket, _ = S3Bucket.from_url(url)
    bucket.make()
    places: dict[Place, str] = {"objects": url}
    of_role = {role: s3_environment | credentials_of(role, places) for role in ("ingest", "read", "sweep")}
    for role in of_role:
        _wait_for(of_role[role], url)
    options = ["--root", str(tmp_path / "root"), "-S", f"paths.objects={url}", "-S", f"paths.source={face_source}"]
    assert "AccessDenied" in _faceloop(of_role["sweep"], "run", "ingest", *options, ends=2)
    _faceloop(of_role["ingest"], "run", "ingest", *options, ends=0)
    assert "5 objects checked: 0 damaged" in _faceloop(of_role["read"], "verify", "--store", *options, ends=0)
    lost = "objects/" + media_key(sha256_hex(b"no footage refers to it"))
    bucket.put_bytes(lost, b"no footage refers to it", content_type="image/jpeg")
    sweep = ("store", "sweep", "--remove", "--older-than-hours", "0", *options)
    assert "AccessDenied" in _faceloop(of_role["ingest"], *sweep, ends=2)
    assert bucket.has(lost)
    assert "1 removed" in _faceloop(of_role["sweep"], *sweep, ends=0)
    assert not bucket.has(lost)


def _wait_for(environ: Mapping[str, str], url: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        settled(lambda: list(open_store(url, may_link=False).listed(0.0)))


def _faceloop(environ: Mapping[str, str], *words: str, ends: int) -> str:
    program = str(Path(sys.executable).with_name("faceloop"))
    done = subprocess.run(
        [program, *words], env=os.environ | dict(environ), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == ends, done.stderr[-2000:]
    return done.stdout + done.stderr
