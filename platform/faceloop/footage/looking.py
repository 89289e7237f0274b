"""One look at a file of the source: hashed, probed, put into the object store. `ingest` and `loop take` share it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict

import av
import PIL

from faceloop.footage.apart import probe_apart
from faceloop.footage.probe import CaptureSpec
from facestore.errors import MediaError, ObjectCorrupt
from facestore.findings import Finding, Refused, Taken
from facestore.ids import JsonValue, digest_of, file_sha256, media_key
from facestore.objects import ObjectStore
from facestore.sources import Location, Source

VERSION = 2  # of what `probe` and `look_at` say of the same bytes
_UNREADABLE = "unreadable"
_TRANSIENT = (_UNREADABLE, "decoder_timeout", "decoder_crashed")  # the machine may be the reason


def basis_of(spec: CaptureSpec) -> str:
    """Digest of all that a finding depends on besides the bytes: spec, our version, the decoders'."""
    decoders: JsonValue = {"av": av.__version__, "ffmpeg": av.ffmpeg_version_info, "pillow": PIL.__version__}
    return digest_of({"version": VERSION, "decoders": decoders, "spec": asdict(spec)})


def is_unreadable(finding: Finding) -> bool:
    """Whether the machine may be why the file was not read: not worth remembering, the next run looks again."""
    return isinstance(finding, Refused) and finding.reason in _TRANSIENT


def look_at(
    source: Source,
    location: Location,
    spec: CaptureSpec,
    objects: ObjectStore,
    *,
    known: Mapping[str, Taken],
    on: Callable[[str], AbstractContextManager[None]],
) -> Finding:
    """What the file is; footage lies in the store afterwards. `known` footage is neither probed nor stored again.

    `on` times `hash`, `probe` and `store`. Raises StoreError; a file that the system cannot read is Refused.
    """
    if location.size_bytes == 0:
        return Refused(reason="empty_file", detail="")
    try:
        with source.local(location) as path:
            with on("hash"):
                footage_id = file_sha256(path)
            if (twin := known.get(footage_id)) is not None:
                return twin
            with on("probe"):
                facts = probe_apart(path, spec)
            with on("store"):
                objects.put(media_key(footage_id), path)
    except MediaError as error:
        return Refused(reason=error.reason, detail=error.detail)
    except OSError as error:
        return Refused(reason=_UNREADABLE, detail=str(error.strerror))
    except ObjectCorrupt:  # what was stored is not what was hashed
        return Refused(reason=_UNREADABLE, detail="it changed while it was read")
    return Taken(footage_id=footage_id, **asdict(facts))
