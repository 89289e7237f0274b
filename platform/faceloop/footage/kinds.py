"""What a file is, by its first bytes and never by its name: an allow-list of containers and picture formats."""

from pathlib import Path
from typing import TYPE_CHECKING

from facestore.errors import MediaError

if TYPE_CHECKING:
    from facestore.records import FootageKind  # not at run time: it brings pyarrow into the decoder

HEAD_BYTES = 512
# What may decode it, by the names of Pillow and FFmpeg: the first bytes alone do not bind them to one format.
PICTURE_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF")
VIDEO_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,ogg,asf"
_TS_PACKET_BYTES = 188
_TS_SYNC = 0x47
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*")
_ASF = b"0&\xb2u\x8ef\xcf\x11"  # Windows Media
_VIDEOS = (b"\x1aE\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba", b"OggS", _ASF)  # Matroska/WebM, FLV, MPEG-PS, Ogg
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")
_ISO_PICTURES = (b"avif", b"avis", b"heic", b"heix", b"mif1")


def kind_of(path: Path) -> "FootageKind":
    """`video` or `image`. Playlists, documents and unknown bytes are not media.

    Raises MediaError `empty_file` or `not_media`.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    if not head:
        raise MediaError("empty_file")
    if head[:4] == b"RIFF":
        if head[8:12] == b"WEBP":
            return "image"
        if head[8:12] == b"AVI ":
            return "video"
    if head[4:8] in _ISO_BOXES:
        return "image" if head[8:12] in _ISO_PICTURES else "video"
    if head.startswith(_PICTURES):
        return "image"
    if head.startswith(_VIDEOS) or _is_transport_stream(head):
        return "video"
    raise MediaError("not_media", f"starts with {head[:8].hex()}")


def _is_transport_stream(head: bytes) -> bool:
    return len(head) > 2 * _TS_PACKET_BYTES and all(
        head[start] == _TS_SYNC for start in (0, _TS_PACKET_BYTES, 2 * _TS_PACKET_BYTES)
    )
