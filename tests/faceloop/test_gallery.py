"""A published gallery: who stands for whom, what a consumer may ask of it, and what it refuses."""

import re
import shutil
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.export.gallery import Gallery, Thresholds, members_of, verify_gallery, write_gallery
from faceloop.export.gallery_people import KnownFace, Templates, choose_templates
from faceloop.vision.contract import EmbeddingContract
from facestore.errors import ContractMismatch, DataError

Vectors = npt.NDArray[np.float32]
DIM = 8
CONTRACT = EmbeddingContract(
    pack_id="p", recogniser_sha256="0" * 64, alignment="arcface-112-5pt", colour="RGB", mean=0.0, std=1.0,
    dimension=DIM, precision="f32",
)  # fmt: skip
THRESHOLDS = Thresholds(match=0.5, stranger=0.3, impostor_mean=0.05, impostor_sd=0.1)


def face(name: str, identity: str, tracklet: str | None = None, quality: float = 0.8) -> KnownFace:
    return KnownFace(face_id=name, tracklet_id=tracklet or f"t-{name}", identity_id=identity, quality=quality)


def unit(*vectors: list[float]) -> Vectors:
    raw = np.zeros((len(vectors), DIM), np.float32)
    for row, vector in enumerate(vectors):
        raw[row, : len(vector)] = vector
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), np.float32)


def choose(faces: list[KnownFace], vectors: Vectors, most: int = 3, min_quality: float = 0.0) -> Templates:
    return choose_templates(faces, vectors, most=most, min_faces=1, min_quality=min_quality)


ANN_AND_BOB = [face("a1", "ann"), face("a2", "ann"), face("a3", "ann"), face("b1", "bob")]
LOOKS = unit([1, 0.1], [1, -0.1], [0.5, 0, 1], [0, 1])


def written(folder: Path) -> str:
    folder.mkdir(parents=True)
    return write_gallery(
        folder, choose(ANN_AND_BOB, LOOKS), contract=CONTRACT, thresholds=THRESHOLDS, states=["confirmed"], inputs={}
    )


def test_the_mean_comes_first_and_then_the_look_that_is_least_like_it() -> None:
    found = choose(ANN_AND_BOB, LOOKS, most=2)
    assert [(row.identity_id, row.kind, row.faces) for row in found.rows] == [
        ("ann", "mean", 3),
        ("ann", "look", 1),
        ("bob", "mean", 1),
    ]
    assert found.rows[1].best_face_id == "a3"
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert [member.face_id for member in found.members if member.row == 0] == ["a1", "a2", "a3"]


def test_faces_of_one_tracklet_are_one_look_and_need_no_row_beside_their_mean() -> None:
    faces = [face("a1", "ann", "t"), face("a2", "ann", "t")]
    assert [row.kind for row in choose(faces, unit([1], [1, 1])).rows] == ["mean"]


def test_faces_of_low_quality_and_people_of_few_faces_are_left_out_and_counted() -> None:
    faces = [face("a1", "ann", quality=0.2), face("b1", "bob"), face("b2", "bob"), face("c1", "cy")]
    found = choose_templates(faces, unit([1], [0, 1], [0, 1], [0, 0, 1]), most=1, min_faces=2, min_quality=0.4)
    assert [row.identity_id for row in found.rows] == ["bob"]
    assert found.left_out == {"faces_low_quality": 1, "identities_few_faces": 1}


@settings(max_examples=30)
@given(st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_order_of_faces_changes_nothing_and_nobody_has_more_rows_than_asked_for(random: Random, most: int) -> None:
    rng = np.random.default_rng(random.randrange(2**32))
    faces = [face(f"f{number:02d}", f"p{number % 3}", f"t{number // 2}") for number in range(14)]
    raw = rng.standard_normal((14, DIM))
    vectors = np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), np.float32)
    order = list(range(14))
    random.shuffle(order)
    one, other = choose(faces, vectors, most), choose([faces[place] for place in order], vectors[order], most)
    assert one.rows == other.rows and one.members == other.members
    assert np.array_equal(one.vectors, other.vectors)
    counts = [sum(row.identity_id == person for row in one.rows) for person in ("p0", "p1", "p2")]
    assert max(counts) <= most and min(counts) >= 1


def test_a_query_finds_the_person_by_their_best_row_and_says_how_sure(tmp_path: Path) -> None:
    written(tmp_path / "g")
    gallery = Gallery(tmp_path / "g")
    matches = gallery.search(
        unit([0.5, 0, 1], [0, 0, 0, 1, 0.4], [0.9, 0.9]), contract_id=CONTRACT.contract_id, people=2
    )
    assert [(match.identity_id, match.verdict) for match in matches[0]] == [("ann", "match"), ("bob", "stranger")]
    assert {match.verdict for match in matches[1]} == {"stranger"}
    assert len({match.identity_id for match in matches[2]}) == 2
    assert THRESHOLDS.verdict(0.4) == "uncertain"


def test_vectors_of_another_contract_are_refused_before_any_cosine_is_taken(tmp_path: Path) -> None:
    written(tmp_path / "g")
    with pytest.raises(ContractMismatch, match="query is under contract other"):
        Gallery(tmp_path / "g").search(unit([1]), contract_id="other", people=1)


def test_equal_content_has_an_equal_digest_and_equal_bytes(tmp_path: Path) -> None:
    assert written(tmp_path / "one") == written(tmp_path / "other")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()
    assert members_of(tmp_path / "one") == {"a1", "a2", "a3", "b1"}


@pytest.mark.parametrize("name", ["index.faiss", "rows.parquet", "members.parquet", "gallery.json", "SHA256SUMS"])
def test_a_gallery_of_which_a_file_changed_or_is_gone_is_not_opened(tmp_path: Path, name: str) -> None:
    written(tmp_path / "g")
    shutil.copytree(tmp_path / "g", tmp_path / "h")
    changed = bytearray((tmp_path / "g" / name).read_bytes())
    changed[len(changed) // 2] ^= 1
    (tmp_path / "g" / name).write_bytes(bytes(changed))
    (tmp_path / "h" / name).unlink()
    for folder in ("g", "h"):
        with pytest.raises(DataError, match="fetch it again"):
            verify_gallery(tmp_path / folder)


def test_nobody_to_publish_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="confirm identities first"):
        write_gallery(
            tmp_path, choose([], unit()[:0]), contract=CONTRACT, thresholds=THRESHOLDS, states=["confirmed"], inputs={}
        )


def test_the_example_of_the_page_asks_a_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    written(tmp_path / "galleries" / "0123456789abcdef")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/serving.md", "exec"), {})  # noqa: S102  # our own page
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(words[0], words[2]) for words in said] == [("ann", "match"), ("bob", "stranger")]
