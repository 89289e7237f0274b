"""The whole sample footage as one value.

Three cameras, one folder each: `gate` and `lobby` film, `album` holds photos. Each person is seen by at
least two of them and has at least one clean passage.
"""

from dataclasses import dataclass

from faceloop.sample.album import COPIES, STILLS
from faceloop.sample.clips import CLIPS
from faceloop.sample.scene import Clip, Copy, Still


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Every file to make; the files that are broken on purpose come on top."""

    clips: tuple[Clip, ...]
    stills: tuple[Still, ...]
    copies: tuple[Copy, ...]


SAMPLE = Script(clips=CLIPS, stills=STILLS, copies=COPIES)
