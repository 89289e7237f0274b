"""Bar B10: hostile media cost one file each: no crash of the worker, no hang, bounded memory, every file accounted for.

Short: 500 images and 12 videos. FACELOOP_LONG=1: 20,000 and 120.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.chaos.hostile_media import png

ROOT = Path(__file__).parents[2]
IS_LONG = os.environ.get("FACELOOP_LONG") == "1"
IMAGES, VIDEOS = (20_000, 120) if IS_LONG else (500, 12)
BOUND_MB = 512
REASONS = {
    "empty_file", "not_media", "corrupt_media", "truncated_media", "too_large", "too_long", "too_many_frames",
    "unknown_codec", "no_video_stream", "no_frame_decoded", "decoder_memory",
}  # fmt: skip
_UNLIMITED = """
import resource, sys
from pathlib import Path
from faceloop.footage.limits import DecoderLimits
from faceloop.footage.probe import CaptureSpec, probe
walls = DecoderLimits(is_apart=False)
probe(Path(sys.argv[1]), CaptureSpec(min_height_px=0, min_fps=0, max_pixels=10**12, decoder=walls))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

pytestmark = pytest.mark.integration


def _python(*arguments: str) -> str:
    ended = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return ended.stdout


def test_every_hostile_file_is_accounted_for_and_memory_stays_bounded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        found = json.loads(_python("-m", "tests.chaos.hostile_media", str(tmp_path), str(IMAGES), str(VIDEOS), address))
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()
    sys.stdout.write(f"{found}\n")
    assert sum(found["images"].values()) == IMAGES
    assert sum(found["videos"].values()) == VIDEOS
    assert set(found["images"]) | set(found["videos"]) <= REASONS | {"ok", "partial"}
    assert found["images"]["ok"] > 0
    assert found["largest_mb"] < BOUND_MB
    bombs = found["bombs"]
    assert bombs["png 30000"] == "too_large"
    assert bombs["png below the cap"] == "decoder_memory"
    assert bombs["1e9 s"] == "too_long"
    assert {bombs[name] for name in ("hls", "concat", "svg", "pdf")} == {"not_media"}
    assert bombs["hls behind a box"] in REASONS
    assert bombs["zip behind a bitmap"] in REASONS
    assert {bombs[f"{ending} frames"] for ending in ("GIF", "PNG", "WEBP")} == {"ok"}
    assert bombs["huge exif"] in REASONS | {"ok"}
    assert bombs["negative times"] in {"ok", "partial"}


def test_without_the_cap_and_the_walls_a_bomb_breaks_the_memory_bound(tmp_path: Path) -> None:
    """The mutant: the same look at a file of 0.7 MB, in a throw-away process."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(13_000, is_whole=True))
    assert int(_python("-c", _UNLIMITED, str(bomb))) > BOUND_MB
