"""embed as a stage: unit vectors, templates that weigh by quality, and batches of any size giving the same."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceloop.params import read_params, section
from faceloop.progress import SilentProgress
from faceloop.stage import Context, Report, Stopwatch
from faceloop.stages import embed
from faceloop.stages.embed import _Crop, template_of
from faceloop.vision.packs import load_pack
from facestore.crops import CropWriter
from facestore.errors import ConfigError, ShardCorrupt
from facestore.objects import FolderStore
from facestore.records import Face, FaceEmbedding, NearDuplicate, TrackletTemplate
from facestore.tables import read_table, write_table

ROOT = Path(__file__).parents[2]
UInt8Array = npt.NDArray[np.uint8]


def _face(name: str, tracklet: str, *, quality: float = 0.5, subset: str = "s", has_crop: bool = True) -> Face:
    return Face(
        face_id=name,
        footage_id="f",
        subset=subset,
        pts_ms=0,
        bbox=(0.0, 0.0, 10.0, 10.0),
        landmarks=(0.0,) * 10,
        det_score=0.9,
        tracklet_id=tracklet,
        is_best_shot=has_crop,
        size_px=10.0,
        sharpness=0.5,
        brightness=0.5,
        contrast=0.2,
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        occlusion=0.0,
        quality=quality,
        crop_key=f"b000/{name}" if has_crop else None,
        detector="d",
        rejected=None,
    )


def _crop_of(name: str) -> UInt8Array:
    """A crop that its name alone decides."""
    small = np.random.default_rng(sum(name.encode())).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, 16, axis=0), 16, axis=1)


def _store(root: Path, faces: list[Face], crop_names: dict[str, str] | None = None) -> None:
    write_table(root / "faces" / "b000" / "faces.parquet", Face, faces)
    with CropWriter(root / "crops" / "b000") as writer:
        for face in faces:
            if face.crop_key:
                writer.put("aligned", face.face_id, _crop_of((crop_names or {}).get(face.face_id, face.face_id)))


def _embed(
    root: Path, *overrides: str
) -> tuple[Report, list[FaceEmbedding], list[TrackletTemplate], list[NearDuplicate]]:
    tree = read_params(ROOT / "params.yaml", ["embed.model.pack=builtin", "embed.model.engine=onnxruntime", *overrides])
    params = section(tree, "embed", embed.Params)
    context = Context(
        objects=FolderStore(root),
        progress=SilentProgress(),
        stopwatch=Stopwatch(),
        threads=2,
        run_key="k",
        previous={"embeddings": None},
    )
    out = root / "embeddings"
    report = embed.run(
        faces=root / "faces" / "b000",
        crops=root / "crops" / "b000",
        embeddings=out / "b000",
        params=params,
        context=context,
    )
    report.check("embed")
    embed.finish(embeddings=out, params=params, context=context)
    return (
        report,
        list(read_table(out, "faces", FaceEmbedding)),
        list(read_table(out, "templates", TrackletTemplate)),
        list(read_table(out, "near_duplicates", NearDuplicate)),
    )


def test_every_crop_becomes_a_unit_vector_of_one_contract(tmp_path: Path) -> None:
    _store(tmp_path, [_face("a", "t1"), _face("b", "t2"), _face("c", "t1"), _face("d", "t1", has_crop=False)])
    report, embeddings, templates, _ = _embed(tmp_path)
    assert (report.items_in, report.published) == (3, 3)
    assert {embedding.face_id for embedding in embeddings} == {"a", "b", "c"}
    assert len({embedding.contract_id for embedding in embeddings} | {t.contract_id for t in templates}) == 1
    for vector in (*(found.embedding for found in embeddings), *(found.embedding for found in templates)):
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert {template.tracklet_id: template.faces for template in templates} == {"t1": 2, "t2": 1}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_size_of_a_batch_changes_no_vector(engine: str, tmp_path: Path) -> None:
    _store(tmp_path, [_face(name, name) for name in "abcde"])
    one = _embed(tmp_path, f"embed.model.engine={engine}", "embed.batch_size=1")[1]
    many = _embed(tmp_path, f"embed.model.engine={engine}", "embed.batch_size=4")[1]
    assert [record.face_id for record in one] == [record.face_id for record in many]
    for first, second in zip(one, many, strict=True):
        assert float(np.dot(first.embedding, second.embedding)) > 0.99999


def test_crops_that_repeat_are_marked_within_their_subset(tmp_path: Path) -> None:
    faces = [_face("a", "t1"), _face("b", "t2"), _face("c", "t3", subset="other"), _face("z", "t4")]
    _store(tmp_path, faces, {"a": "same", "b": "same", "c": "same"})
    _, _, _, marks = _embed(tmp_path)
    assert [{mark.face_id, mark.duplicate_of} for mark in marks] == [{"a", "b"}]
    assert marks[0].similarity == pytest.approx(1, abs=1e-4)


def test_a_batch_without_crops_gives_empty_tables(tmp_path: Path) -> None:
    _store(tmp_path, [_face("d", "t1", has_crop=False)])
    report, embeddings, templates, marks = _embed(tmp_path)
    assert (report.items_in, embeddings, templates, marks) == (0, [], [], [])


def test_a_missing_crop_stops_the_stage_and_is_named(tmp_path: Path) -> None:
    _store(tmp_path, [_face("a", "t1")])
    write_table(tmp_path / "faces" / "b000" / "faces.parquet", Face, [_face("a", "t1"), _face("lost", "t2")])
    with pytest.raises(ShardCorrupt, match="lost"):
        _embed(tmp_path)


def _second_pack(folder: Path) -> str:
    """The built-in recogniser under another name: another contract, and the same vectors. As an override."""
    recogniser = load_pack("builtin", accept_licence=None, insightface_root=None).recogniser
    assert recogniser is not None
    folder.mkdir()
    (folder / "r.onnx").write_bytes(recogniser.model_path.read_bytes())
    task = {
        "file": "r.onnx",
        "sha256": recogniser.sha256,
        "kind": "sface",
        "preprocessing": {"colour": "RGB", "mean": 0, "std": 1},
        "input_size": 112,
        "embedding_dimension": 128,
    }
    manifest = {"manifest_version": 1, "pack_id": "second", "licence": "test", "tasks": {"recognition": task}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    member = {
        "pack": str(folder),
        "accept_licence": None,
        "engine": "onnxruntime",
        "precision": "f32",
        "provider": "cpu",
    }
    return f"embed.committee={json.dumps([member])}"


def test_a_committee_gives_templates_of_its_own_and_changes_none_of_the_first(tmp_path: Path) -> None:
    faces = [_face("a", "t1"), _face("b", "t2"), _face("c", "t1")]
    for name in ("alone", "together"):
        _store(tmp_path / name, faces)
    _, vectors, templates, _ = _embed(tmp_path / "alone")
    report, same_vectors, same_templates, _ = _embed(tmp_path / "together", _second_pack(tmp_path / "second"))
    assert (vectors, templates) == (same_vectors, same_templates)
    assert list(read_table(tmp_path / "alone" / "embeddings", "committee", TrackletTemplate)) == []
    opinions = list(read_table(tmp_path / "together" / "embeddings", "committee", TrackletTemplate))
    assert report.figures["committee_templates"] == 2
    assert {one.tracklet_id for one in opinions} == {"t1", "t2"}
    assert {one.contract_id for one in opinions}.isdisjoint({one.contract_id for one in templates})
    for opinion, template in zip(opinions, templates, strict=True):
        np.testing.assert_allclose(opinion.embedding, template.embedding, atol=1e-5)
    spelled = json.loads((tmp_path / "together" / "embeddings" / "contract.json").read_text(encoding="utf-8"))
    assert [one["contract_id"] for one in spelled["committee"]] == [opinions[0].contract_id]
    assert spelled["contract_id"] == templates[0].contract_id


def test_the_run_key_covers_the_committee_and_no_recogniser_sits_in_it_twice(tmp_path: Path) -> None:
    def fingerprint(*overrides: str) -> str:
        tree = read_params(ROOT / "params.yaml", ["embed.model.pack=builtin", *overrides])
        return embed.fingerprint(section(tree, "embed", embed.Params))

    second = _second_pack(tmp_path / "second")
    assert fingerprint() != fingerprint(second)
    member = json.loads(second.partition("=")[2])
    with pytest.raises(ConfigError, match="names a recogniser twice"):
        fingerprint(f"embed.committee={json.dumps(member * 2)}")


def _members(vectors: npt.NDArray[np.float64], qualities: list[float]) -> list[tuple[_Crop, npt.NDArray[np.float32]]]:
    return [
        (
            _Crop(face_id=f"f{n}", tracklet_id="t", footage_id="f", subset="s", crop_key=f"b/f{n}", quality=quality),
            (vector / np.linalg.norm(vector)).astype(np.float32),
        )
        for n, (vector, quality) in enumerate(zip(vectors, qualities, strict=True))
    ]


def test_a_template_leans_to_the_better_face() -> None:
    template = template_of(_members(np.eye(4)[:2], [0.9, 0.3]), "c")
    np.testing.assert_allclose(template.embedding, np.array([3, 1, 0, 0]) / np.sqrt(10), atol=1e-6)
    assert (template.best_face_id, template.faces) == ("f0", 2)
    assert template.weight == pytest.approx(1.2)
    assert template.coherence == pytest.approx(1 / np.sqrt(10))


@given(seed=st.integers(0, 2**32 - 1), qualities=st.lists(st.floats(0.01, 1), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_a_template_is_a_unit_vector_that_no_member_is_further_from_than_told(
    seed: int, qualities: list[float]
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(qualities), 16))
    members = _members(vectors, qualities)
    template = template_of(members, "c")
    assert np.linalg.norm(template.embedding) == pytest.approx(1, abs=1e-5)
    cosines = [float(vector @ np.array(template.embedding, dtype=np.float32)) for _, vector in members]
    assert template.coherence == pytest.approx(min(cosines), abs=1e-5)
    assert template.quality == pytest.approx(max(qualities), abs=1e-6)
