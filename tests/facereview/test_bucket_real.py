"""Pictures in a bucket: the real labelling server signs short-lived links to them, and only for who is logged in."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import boto3
import httpx
import pytest
from tests.facestore.s3_roles_world import credentials_of, settled

from facereview.asking.push import PushParams, push
from facereview.asking.shelf_s3 import BucketShelf
from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.local import RunningServer
from facereview.labelstudio.tokens import log_in
from facestore.reviewlog import ReviewLog
from facestore.s3roles import Place

from .paper_server import SCHEMA, DrawnPictures, pairs

pytestmark = pytest.mark.integration
MINUTES = 15


def test_annotators_get_signed_links_that_end_and_nobody_else_gets_any_with_the_rights_of_two_roles(
    label_studio: RunningServer,
    server: LabelStudioServer,
    s3_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"asked-{uuid4().hex[:8]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    places: dict[Place, str] = {"pictures": f"s3://{bucket}/open"}
    ours, its = credentials_of("label", places), credentials_of("show", places)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    shelf = BucketShelf.from_url(f"s3://{bucket}/open")
    settled(shelf.begin)
    log = ReviewLog(f"sqlite:///{tmp_path / 'catalogue.sqlite3'}")
    push(
        pairs(2),
        log=log,
        server=server,
        shelf=shelf,
        pictures=DrawnPictures(),
        schema=SCHEMA,
        params=PushParams(project_tasks=10, backlog=10, max_rounds=1),
        now=datetime.now(UTC),
        say=lambda _: None,
        group_of_face={},
        connect=lambda project: server.connect_bucket(
            project,
            bucket=bucket,
            prefix=shelf.prefix,
            endpoint=s3_environment["AWS_ENDPOINT_URL"],
            region="us-east-1",
            access_key=its["AWS_ACCESS_KEY_ID"],
            secret_key=its["AWS_SECRET_ACCESS_KEY"],
            link_minutes=MINUTES,
        ),
    )
    task_id = log.tasks()[0].task_id
    log.close()
    token = log_in(label_studio.url, label_studio.email, label_studio.password).legacy_token()
    with httpx.Client(base_url=label_studio.url, headers={"Authorization": f"Token {token}"}) as annotator:
        data = str(annotator.get(f"/api/tasks/{task_id}/?resolve_uri=true").raise_for_status().json()["data"])
        link = data.partition('src="')[2].partition('"')[0].replace("&amp;", "&")
        assert link.startswith(f"{label_studio.url}/tasks/")
        signed = annotator.get(link)
        assert signed.status_code == 303
    address = httpx.URL(signed.headers["location"])
    assert address.params["X-Amz-Expires"] == str(60 * MINUTES)
    picture = httpx.get(address)
    assert (picture.status_code, picture.content[:2]) == (200, b"\xff\xd8")
    assert httpx.get(address.copy_with(query=None)).status_code == 403
    assert httpx.get(link).status_code in (401, 403)
