"""Roles of a bucket: what their policies say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facestore.errors import ConfigError
from facestore.s3roles import ROLES, Place, Role, policy_of

BUCKET = "roles"
PLACES: dict[Place, str] = {place: f"s3://{BUCKET}/{place}" for place in ("objects", "source", "pictures", "anchors")}
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=3, max_size=20)


def _statements(role: Role, places: dict[Place, str] = PLACES) -> list[dict[str, Any]]:
    policy = policy_of(role, places)
    assert policy is not None
    found: list[dict[str, Any]] = policy["Statement"]  # type: ignore[assignment]
    return found


def _actions(role: Role) -> set[str]:
    return {action for one in _statements(role) for action in one["Action"]}


def test_no_role_may_do_everything_or_change_a_bucket() -> None:
    for role in ROLES:
        for action in _actions(role):
            assert "*" not in action
            assert not action.startswith(("s3:PutBucket", "s3:DeleteBucket", "s3:PutObjectAcl", "s3:PutLifecycle"))
            assert "Policy" not in action
            assert "Retention" not in action


def test_who_adds_objects_removes_none_and_only_three_roles_remove() -> None:
    removing = {role for role in ROLES if any("Delete" in action for action in _actions(role))}
    assert removing == {"sweep", "erase", "label"}
    assert {role for role in ROLES if "s3:PutObject" in _actions(role)} == {"ingest", "repair", "label", "anchor"}
    (of_label,) = [one for one in _statements("label") if "s3:DeleteObject" in one["Action"]]
    assert of_label["Resource"] == [f"arn:aws:s3:::{BUCKET}/pictures/*"]


@given(bucket=names, prefixes=st.lists(names, min_size=4, max_size=4, unique=True))
def test_every_object_that_a_role_reaches_lies_below_one_of_its_places(bucket: str, prefixes: list[str]) -> None:
    places: dict[Place, str] = dict(
        zip(("objects", "source", "pictures", "anchors"), (f"s3://{bucket}/{one}/" for one in prefixes), strict=True)
    )
    for role, (_, wanted) in ROLES.items():
        below = {f"arn:aws:s3:::{places[place].removeprefix('s3://')}*" for place in wanted}
        for one in _statements(role, places):
            (resource,) = one["Resource"]
            has_objects = any("Object" in action or "Multipart" in action for action in one["Action"])
            assert resource in below | {f"arn:aws:s3:::{bucket}"}
            assert has_objects == (resource in below) or "s3:ListBucketMultipartUploads" in one["Action"]
        assert len({one["Sid"] for one in _statements(role, places)}) == len(_statements(role, places))


def test_folders_need_no_policy_and_a_key_service_needs_its_own_rights() -> None:
    assert policy_of("read", {"objects": "objects"}) is None
    assert policy_of("show", {"objects": PLACES["objects"], "pictures": "served"}) is None
    statements = _statements("ingest", {"objects": "s3://b/p?encryption=aws:kms&key=abc", "source": "footage"})
    assert statements[-1]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert statements[-1]["Resource"] == ["arn:aws:kms:*:*:key/abc"]
    assert "kms:GenerateDataKey" not in str(_statements("read", {"objects": "s3://b?encryption=aws:kms&key=arn:k"}))


@pytest.mark.parametrize("url", ["s3://", "s3:///p", "s3://*/p", "s3://b/${aws:username}", "s3://b/p?encryption=none"])
def test_an_address_that_would_say_more_than_a_place_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        policy_of("read", {"objects": url})
