"""What a file is comes from its first bytes: names lie."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from faceloop.footage.kinds import kind_of
from facestore.errors import MediaError

NOT_MEDIA = {
    "playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "text": b"This is a text about a photo.\n" * 30,
    "page": b"<!DOCTYPE html><script>alert(1)</script>",
    "vector picture": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "archive": b"PK\x03\x04" + bytes(60),
    "sound": b"RIFF\x00\x00\x00\x00WAVEfmt ",
    "one byte": b"\xff",
    "zeros": bytes(600),
    "session description": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
}


@pytest.mark.parametrize("name", sorted(NOT_MEDIA))
@pytest.mark.parametrize("suffix", ["mp4", "jpg"])
def test_what_is_not_media_is_refused_by_its_bytes(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip.{suffix}"
    path.write_bytes(NOT_MEDIA[name])
    with pytest.raises(MediaError) as caught:
        kind_of(path)
    assert caught.value.reason == "not_media"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image"),
        (b"\x00\x00\x00\x20ftypavif", "image"),
        (b"\x00\x00\x00\x20ftypisom", "video"),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", "video"),
        (b"\x1aE\xdf\xa3", "video"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video"),
        (b"0&\xb2u\x8ef\xcf\x11", "video"),
        (b"G" + bytes(187) + b"G" + bytes(187) + b"G" + bytes(187), "video"),
    ],
)
def test_media_is_known_by_its_first_bytes(head: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "named.txt"
    path.write_bytes(head)
    assert kind_of(path) == kind


def test_an_empty_file_has_a_reason_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(MediaError) as caught:
        kind_of(tmp_path / "a.mp4")
    assert caught.value.reason == "empty_file"


@given(head=st.binary(max_size=600))
@example(head=b"G" * 377)
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_kind_or_a_media_error(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(head)
    try:
        assert kind_of(path) in {"video", "image"}
    except MediaError as error:
        assert error.reason == ("not_media" if head else "empty_file")
