"""The world of `mining_world` with vectors as the built-in recogniser's, whose contract galleries are held against."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import pytest

from faceloop.runner import Workspace
from faceloop.vision.models import embedding_contract
from faceloop.vision.packs import load_pack
from facestore.ids import canonical_json

from . import mining_world

CONTRACT = embedding_contract(load_pack("builtin", accept_licence=None, insightface_root=None), precision="f32")


@contextmanager
def its_dimension() -> Iterator[None]:
    """`axis` and all that is published meanwhile has as many values as the recogniser's vectors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mining_world, "DIM", CONTRACT.dimension)
        yield


def under_contract(publish: Callable[[], Workspace]) -> Workspace:
    """What `publish` made, its embeddings under the contract."""
    with its_dimension():
        work = publish()
    body = canonical_json({"contract_id": CONTRACT.contract_id, **asdict(CONTRACT), "committee": []})
    (work.path("embeddings") / "contract.json").write_text(body, encoding="utf-8")
    return work
