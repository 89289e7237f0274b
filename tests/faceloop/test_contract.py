"""Embedding contracts: equal fields, equal id; anything else, another id."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.vision.contract import EmbeddingContract

CONTRACT = EmbeddingContract(
    pack_id="opencv-zoo-yunet-sface",
    recogniser_sha256="fb" * 32,
    alignment="arcface-112-5pt",
    colour="RGB",
    mean=0.0,
    std=1.0,
    dimension=128,
    precision="f32",
)
OTHER: dict[str, str | float | int] = {
    "pack_id": "other",
    "recogniser_sha256": "00" * 32,
    "alignment": "arcface-224-5pt",
    "colour": "BGR",
    "mean": 127.5,
    "std": 128.0,
    "dimension": 512,
    "precision": "bf16",
}


def test_contract_id_is_the_same_on_every_machine() -> None:
    assert CONTRACT.contract_id == "ca3b9b14e25f1126"


@pytest.mark.parametrize("name", [field.name for field in fields(EmbeddingContract)])
def test_each_field_changes_the_id(name: str) -> None:
    other = replace(CONTRACT, **{name: OTHER[name]})  # type: ignore[arg-type]
    assert other.contract_id != CONTRACT.contract_id


@given(mean=st.floats(-255, 255), std=st.floats(0.01, 255), pack_id=st.text(max_size=20))
def test_id_is_a_function_of_the_fields(mean: float, std: float, pack_id: str) -> None:
    first = replace(CONTRACT, mean=mean, std=std, pack_id=pack_id)
    assert first.contract_id == replace(first).contract_id
    assert len(first.contract_id) == 16
    assert (first.contract_id == CONTRACT.contract_id) == (first == CONTRACT)


def test_equal_numbers_written_differently_give_one_id() -> None:
    assert replace(CONTRACT, mean=-0.0, std=1).contract_id == CONTRACT.contract_id
