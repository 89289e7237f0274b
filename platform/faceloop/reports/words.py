"""Codes, times and sizes in plain words."""

from datetime import datetime

from faceloop.reports.material import Shot
from facestore.records import Footage

_REASONS = {
    "empty_file": "the file has no bytes",
    "not_media": "not a video or a photo",
    "corrupt_media": "cannot be decoded",
    "truncated_media": "ends too early",
    "unreadable": "cannot be opened",
    "still_arriving": "is still arriving",
    "untargeted_scraping": "was scraped without aim, as its source says",
    "erased": "was erased and may not come in again",
    "consent_withdrawn": "its consent was taken back",
    "consent_expired": "its consent has run out",
    "consent_not_yet": "its consent begins later",
    "out_of_purpose": "its consent does not allow this",
    "without_basis": "no consent is recorded",
    "media_erased": "its media was erased with a person, and no faces of others are there",
    "media_changed": "the stored bytes changed after ingest",
    "no_frame_decoded": "no frame could be decoded",
    "fewer_frames_than_promised": "fewer frames than the container promises",
    "broken_packets": "some packets are broken",
    "too_small": "too few pixels on the face",
    "low_quality": "too poor to compare",
    "too_many_faces": "more faces in a frame than allowed",
    "invalid_embedding": "the recogniser gave no usable vector",
    "key_destroyed": "erased: its key was destroyed",
    "low_resolution": "below the capture spec's resolution",
    "low_frame_rate": "below the capture spec's frame rate",
    "variable_frame_rate": "frames come at uneven times",
    "rotated": "stored turned, shown upright",
    "unknown_codec": "no decoder knows its pictures",
    "extreme_pose": "turned too far away",
    "degenerate_landmarks": "eyes, nose and mouth on one point",
    "no_video_stream": "holds no video",
    "too_large": "promises more pixels than allowed",
    "too_long": "longer than allowed",
    "too_many_frames": "more frames than allowed",
    "decoder_crashed": "the decoder crashed on it",
    "decoder_timeout": "the decoder stood still on it",
    "decoder_memory": "needs more memory than a decoder has",
    "outside_picture": "lies mostly outside the picture",
    "near_duplicate": "nearly repeats another crop",
    "unknown_identity": "no identity yet",
    "not_a_face": "a person said that it is no face",
    "ignored": "a person wants it left out",
    "no_embedding": "no crop that can be compared",
    "incoherent": "part of a large cluster that does not hold together",
    "singleton": "resembles nobody else",
    "low_confidence": "not sure enough",
    "too_few_samples": "its identity has too few samples",
    "missing_duration": "the container states no duration",
    "answered_elsewhere": "people have said it already",
    "repeats_another": "nearly the same as another question",
    "over_budget": "beyond the minutes of people",
    "little_gain": "an answer would put too little right",
    "target_reached": "labels are good enough without it",
    "nothing_left": "nothing else is worth a question",
}


def words(code: str) -> str:
    """What a reason code means; an unknown code reads as itself."""
    return _REASONS.get(code, code.replace("_", " "))


def plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def clock(milliseconds: float) -> str:
    """Position in a clip: `0:07.4`, `1:02:03.0`."""
    tenths = round(milliseconds / 100)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest // 10:02d}.{rest % 10}"


def span(seconds: float) -> str:
    """A length of time: `0.4 s`, `12 s`, `2 min 46 s`, `3 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else ""


def sighting(record: Footage | None, shot: Shot) -> str:
    """Where and when a face was seen."""
    if record is None:
        return shot.footage_id[:12]
    return record.uri if record.kind == "image" else f"{record.uri} at {clock(shot.pts_ms)}"


def short_id(identity_id: str) -> str:
    """Enough of an id to tell it apart on a page."""
    head, dash, tail = identity_id.rpartition("-")
    return f"{head}{dash}{tail[:8]}" if dash else identity_id[:12]
