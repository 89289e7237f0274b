"""Stores outside the root with person 1 in them: a bucket, PostgreSQL, DVC."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from tests.chaos.postgres_cluster import Cluster
from tests.faceloop.erasing_world import copy_of, jpeg_of, put_media
from tests.faceloop.mining_world import face_id

from faceloop.erasure.needles import Needles
from faceloop.runner import Workspace
from facestore.ids import media_key, sha256_hex
from facestore.rowcopies import copy_catalogue
from facestore.s3 import S3Bucket
from facestore.s3versions import versions_below

TRACKED = ("faces", "crops", "embeddings", "release", "objects")


def versioned_bucket(environment: Mapping[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """A bucket of its own, that keeps versions."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made, _ = S3Bucket.from_url(f"s3://erase-{sha256_hex(str(folder).encode())[:12]}")
    made.make()
    made.client.put_bucket_versioning(Bucket=made.name, VersioningConfiguration={"Status": "Enabled"})
    return made


def in_bucket(published: Workspace, bucket: S3Bucket, folder: Path) -> Workspace:
    """The world with its media in a bucket."""
    work = copy_of(published, folder, objects=f"s3://{bucket.name}/media")
    plant_in_bucket(work, bucket)
    return work


def plant_in_bucket(work: Workspace, bucket: S3Bucket) -> None:
    """Its media go there: an older version with a picture, a mark of deletion, an upload cut off."""
    shutil.rmtree(work.root / "objects")
    first, second, third = (f"media/{media_key(sha256_hex(face_id(1, photo).encode()))}" for photo in range(3))
    jpeg = jpeg_of(work)
    bucket.put_bytes(first, jpeg, content_type="image/jpeg")
    bucket.remove([first])
    put_media(work)
    bucket.remove([second])
    begun = bucket.client.create_multipart_upload(Bucket=bucket.name, Key=third)
    bucket.client.upload_part(
        Bucket=bucket.name, Key=third, UploadId=begun["UploadId"], PartNumber=1, Body=jpeg * 1_000
    )


def left_in(bucket: S3Bucket, judge: Needles) -> list[str]:
    """Keys with a version, a mark or an open upload of the person, and versions that hold a byte of them."""
    found = [one.key for one in versions_below(bucket, "") if judge.found_in(one.key.encode())]
    found += [upload.key for upload in bucket.started_uploads("")]
    for page in bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name):
        for entry in page.get("Versions", []):
            body = bucket.client.get_object(Bucket=bucket.name, Key=entry["Key"], VersionId=entry["VersionId"])["Body"]
            found += [entry["Key"]] if judge.found_in(body.read()) else []
    return found


def in_postgres(published: Workspace, url: str, folder: Path) -> Workspace:
    """The world with its catalogue on a server."""
    work = copy_of(published, folder, ledger=url)
    plant_in_postgres(work, published.ledger_url())
    return work


def plant_in_postgres(work: Workspace, catalogue: str) -> None:
    """Copy a catalogue there; the server has sampled its tables for the planner."""
    url = work.ledger_url()
    copy_catalogue(catalogue, url)
    for path in work.root.glob("ledger.sqlite3*"):
        path.unlink()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("ANALYZE"))
    engine.dispose()


def owned_database(cluster: Cluster, name: str, owner: str) -> str:
    engine = create_engine(cluster.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if owner != "app":
            connection.execute(text(f"CREATE ROLE {owner} LOGIN"))
        connection.execute(text(f"CREATE DATABASE {name} OWNER {owner}"))
    engine.dispose()
    return cluster.url.replace("app@/postgres", f"{owner}@/{name}")


def data_of(cluster: Cluster) -> Path:
    engine = create_engine(cluster.url)
    with engine.connect() as connection:
        found = Path(str(connection.scalar(text("SHOW data_directory"))))
    engine.dispose()
    return found


def dvc(project: Path, *words: str) -> None:
    environ = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dvc")), *words, "-q"],
        cwd=project, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def tracked_by_dvc(project: Path, names: Sequence[str]) -> None:
    """Every artifact of `project/root` added to a real DVC, and pushed to a remote that is a folder."""
    for left in (project / "root" / ".dvc", project / "remote"):
        shutil.rmtree(left)
    dvc(project, "init", "--no-scm")
    dvc(project, "config", "core.site_cache_dir", str(project / "site"))
    dvc(project, "remote", "add", "--default", "away", str(project / "remote"))
    dvc(project, "add", *(f"root/{name}" for name in names))
    dvc(project, "push")
