"""detect as a stage: readings say what was read; what was seen before a file broke is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from faceloop.footage.decode import Picture, Tally, read_video
from faceloop.footage.probe import CaptureSpec, probe
from faceloop.footage.sampling import SamplingParams
from faceloop.params import read_params, section
from faceloop.progress import SilentProgress
from faceloop.stage import Context, Report, Stopwatch
from faceloop.stages import detect
from facestore.crops import CropReader
from facestore.errors import MediaError
from facestore.ids import file_sha256, media_key
from facestore.objects import FolderStore
from facestore.records import Face, Footage, Reading
from facestore.tables import read_table, write_table

ROOT = Path(__file__).parents[2]
UInt8Array = npt.NDArray[np.uint8]
ClipMaker = Callable[..., Path]
SPEC = CaptureSpec(min_height_px=1, min_fps=1.0, max_pixels=10**8)


def _footage(path: Path, store: FolderStore) -> Footage:
    """Ingest one clip by hand."""
    facts = probe(path, SPEC)
    footage_id = file_sha256(path)
    store.put(media_key(footage_id), path)
    return Footage(
        footage_id=footage_id,
        batch="b000",
        uri=path.name,
        locations=(path.name,),
        size_bytes=path.stat().st_size,
        kind=facts.kind,
        width=facts.width,
        height=facts.height,
        rotation=facts.rotation,
        fps=facts.fps,
        duration_s=facts.duration_s,
        frames=facts.frames,
        codec=facts.codec,
        captured_at=None,
        source="s",
        subset="cam1",
        consent_id=None,
        keys=(),
        flags=facts.flags,
    )


def _detect(root: Path, records: list[Footage], *overrides: str) -> tuple[Report, list[Face], list[Reading]]:
    write_table(root / "footage" / "b000" / "footage.parquet", Footage, records)
    tree = read_params(ROOT / "params.yaml", ["detect.long_side_px=320", "detect.detail_long_side_px=320", *overrides])
    context = Context(
        objects=FolderStore(root / "objects"),
        progress=SilentProgress(),
        stopwatch=Stopwatch(),
        threads=2,
        run_key="k",
        previous={"faces": None, "crops": None},
    )
    report = detect.run(
        footage=root / "footage" / "b000",
        faces=root / "faces" / "b000",
        crops=root / "crops" / "b000",
        params=section(tree, "detect", detect.Params),
        context=context,
    )
    report.check("detect")
    faces = list(read_table(root / "faces", "faces", Face))
    assert len(faces) == report.items_in
    return report, faces, list(read_table(root / "faces", "readings", Reading))


@pytest.fixture(scope="module")
def head(astronaut_rgb: UInt8Array) -> UInt8Array:
    return np.ascontiguousarray(astronaut_rgb[0:256, 90:346])


def _walk(head: UInt8Array, count: int) -> list[UInt8Array]:
    return [np.ascontiguousarray(np.roll(head, 3 * (step % 20), axis=1)) for step in range(count)]


def test_a_face_that_walks_is_one_tracklet_with_a_few_best_shots(
    tmp_path: Path, head: UInt8Array, make_clip: ClipMaker
) -> None:
    store = FolderStore(tmp_path / "objects")
    clip = make_clip(tmp_path / "a.mp4", _walk(head, 20), pts=[100 * n for n in range(20)])
    report, faces, (reading,) = _detect(tmp_path, [_footage(clip, store)], "detect.best_shots=3")
    seen = [face for face in faces if face.rejected is None]
    assert len({face.tracklet_id for face in seen}) == 1
    assert sum(face.is_best_shot for face in faces) == 3 == report.figures["crops"]
    assert (reading.status, reading.frames_decoded, reading.faces) == ("read", 20, len(seen))
    assert {face.pts_ms for face in faces} <= {100 * n for n in range(20)}


def test_tracklets_end_at_a_cut(tmp_path: Path, head: UInt8Array, make_clip: ClipMaker) -> None:
    store = FolderStore(tmp_path / "objects")
    other = np.ascontiguousarray(255 - head[:, ::-1] // 3)
    other[40:200, 40:200] = head[40:200, 40:200][:, ::-1]
    clip = make_clip(tmp_path / "a.mp4", [*_walk(head, 8), *_walk(other, 8)], pts=[100 * n for n in range(16)])
    _, faces, (reading,) = _detect(tmp_path, [_footage(clip, store)], "detect.min_quality=0.0")
    assert reading.scene_cuts >= 1
    for tracklet in {face.tracklet_id for face in faces}:
        times = [face.pts_ms for face in faces if face.tracklet_id == tracklet]
        assert max(times) < 800 or min(times) >= 800


def test_a_truncated_clip_is_partial_and_keeps_its_faces(
    tmp_path: Path, head: UInt8Array, make_clip: ClipMaker
) -> None:
    clip = make_clip(tmp_path / "a.mp4", _walk(head, 30), options={"movflags": "faststart"})
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    _, faces, (reading,) = _detect(tmp_path, [_footage(clip, FolderStore(tmp_path / "objects"))])
    assert (reading.status, reading.reason, reading.frames_promised) == ("partial", "fewer_frames_than_promised", 30)
    assert 0 < reading.frames_decoded < 30
    assert faces


def test_a_clip_that_is_whole_is_not_partial_for_its_edit_list(
    tmp_path: Path, head: UInt8Array, make_clip: ClipMaker
) -> None:
    early = [40 * number - 400 for number in range(30)]
    clip = make_clip(tmp_path / "a.mp4", _walk(head, 30), pts=early, options={"avoid_negative_ts": "disabled"})
    _, _, (reading,) = _detect(tmp_path, [_footage(clip, FolderStore(tmp_path / "objects"))])
    assert (reading.status, reading.frames_decoded) == ("read", 20)


def test_faces_seen_before_a_clip_broke_are_kept(
    tmp_path: Path, head: UInt8Array, make_clip: ClipMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = read_video

    def breaking(
        path: Path, sampling: SamplingParams, rotation: int, tally: Tally, *, threads: int, max_frames: int
    ) -> Iterator[Picture]:
        for number, picture in enumerate(real(path, sampling, rotation, tally, threads=threads)):
            if number == 4:
                raise MediaError("corrupt_media", "the pixels cannot be converted")
            yield picture

    monkeypatch.setattr("faceloop.footage.apart.read_video", breaking)
    clip = make_clip(tmp_path / "a.mp4", _walk(head, 20), pts=[200 * n for n in range(20)])
    report, faces, (reading,) = _detect(
        tmp_path, [_footage(clip, FolderStore(tmp_path / "objects"))], "detect.decoder.is_apart=false"
    )
    assert (reading.status, reading.reason) == ("partial", "corrupt_media")
    assert len(faces) == report.items_in >= 4
    assert all(face.tracklet_id for face in faces)


def test_media_that_changed_in_the_store_is_rejected_and_the_rest_goes_on(
    tmp_path: Path, head: UInt8Array, make_clip: ClipMaker
) -> None:
    store = FolderStore(tmp_path / "objects")
    good = _footage(make_clip(tmp_path / "a.mp4", _walk(head, 5)), store)
    bad = _footage(make_clip(tmp_path / "b.mp4", _walk(head, 6)), store)
    (store.root / media_key(bad.footage_id)).write_bytes(b"other bytes")
    _, faces, readings = _detect(tmp_path, [bad, good])
    assert [(reading.status, reading.reason) for reading in readings] == [("rejected", "media_changed"), ("read", None)]
    assert {face.footage_id for face in faces} == {good.footage_id}


def test_an_empty_scene_has_a_reading_and_no_faces(tmp_path: Path, make_clip: ClipMaker) -> None:
    wall = np.full((240, 320, 3), 130, dtype=np.uint8)
    clip = make_clip(tmp_path / "a.mp4", [wall] * 30)
    report, faces, (reading,) = _detect(tmp_path, [_footage(clip, FolderStore(tmp_path / "objects"))])
    assert (faces, report.items_in, reading.status) == ([], 0, "read")
    assert CropReader(tmp_path / "crops")._stores == {}


def test_the_order_of_footage_changes_no_face(tmp_path: Path, head: UInt8Array, make_clip: ClipMaker) -> None:
    store = FolderStore(tmp_path / "objects")
    records = [_footage(make_clip(tmp_path / f"{n}.mp4", _walk(head, 4 + n)), store) for n in range(2)]
    _, first, _ = _detect(tmp_path, records)
    _, second, _ = _detect(tmp_path, records[::-1])
    assert sorted(first, key=lambda face: face.face_id) == sorted(second, key=lambda face: face.face_id)


def test_the_run_is_keyed_by_the_detectors_bytes() -> None:
    params = section(read_params(ROOT / "params.yaml"), "detect", detect.Params)
    pack = params.model.load()
    assert pack.detector is not None
    assert detect.fingerprint(params) == pack.detector.sha256 == file_sha256(pack.detector.model_path)
