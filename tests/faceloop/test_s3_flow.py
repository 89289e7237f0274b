"""The same footage from a folder and from a bucket gives the same tables."""

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

pytestmark = pytest.mark.integration


def _flow(source: str, root: Path, environment: dict[str, str], *options: str) -> None:
    faceloop = Path(sys.executable).parent / "faceloop"
    command = [str(faceloop), "flow", source, "--root", str(root), *options]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def _tables(root: Path) -> dict[str, bytes]:
    names = ("footage", "faces", "embeddings", "clusters", "assignments")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for name in names
        for path in sorted((root / name).rglob("*.parquet"))
    }


def test_footage_in_a_bucket_and_media_in_a_bucket_give_the_tables_of_a_folder(
    face_source: Path, s3_environment: dict[str, str], tmp_path: Path
) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=s3_environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=s3_environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=s3_environment["AWS_SECRET_ACCESS_KEY"],
        region_name=s3_environment.get("AWS_DEFAULT_REGION", "us-east-1"),
    )
    client.create_bucket(Bucket="flow-test")
    for path in sorted(face_source.rglob("*")):
        if path.is_file():
            key = f"in/{face_source.name}/{path.relative_to(face_source).as_posix()}"
            client.upload_file(str(path), "flow-test", key)
    _flow(str(face_source), tmp_path / "folder", {})
    _flow(
        f"s3://flow-test/in/{face_source.name}",
        tmp_path / "bucket",
        s3_environment,
        "-S",
        "paths.objects=s3://flow-test/objects",
    )
    by_folder, by_bucket = _tables(tmp_path / "folder"), _tables(tmp_path / "bucket")
    assert by_folder.keys() == by_bucket.keys()
    assert [name for name in by_folder if by_folder[name] != by_bucket[name]] == []
    stored = client.list_objects_v2(Bucket="flow-test", Prefix="objects/media/")["KeyCount"]
    assert stored == len(list((tmp_path / "folder" / "objects").rglob("*/*/*")))
