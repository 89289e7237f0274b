"""Roles as users of a running S3 server."""

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from uuid import uuid4

import boto3

from facestore.errors import StoreError
from facestore.s3roles import Place, Role, policy_of

T = TypeVar("T")
SETTLED_S = 30.0  # until the server has heard of a role
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def credentials_of(role: Role, places: Mapping[Place, str]) -> dict[str, str]:
    """A new user with the role's policy; the caller's environment leads to the server."""
    iam = boto3.Session().client("iam", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    user = f"{role}-{uuid4().hex[:12]}"
    iam.create_user(UserName=user)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    policy = iam.create_policy(PolicyName=user, PolicyDocument=json.dumps(policy_of(role, places)))["Policy"]
    iam.attach_user_policy(UserName=user, PolicyArn=policy["Arn"])
    iam.close()
    return dict(zip(KEYS, (key["AccessKeyId"], key["SecretAccessKey"]), strict=True))


def settled(call: Callable[[], T]) -> T:
    """What a call with new credentials gives, once the server knows them."""
    until = time.monotonic() + SETTLED_S
    while True:
        try:
            return call()
        except StoreError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
