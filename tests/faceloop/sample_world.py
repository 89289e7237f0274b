"""The sample footage at a third of its size, for tests that have no time for the whole."""

from dataclasses import replace

from faceloop.sample.script import SAMPLE, Script

THIRD = Script(
    clips=tuple(replace(clip, width=clip.width // 3 // 2 * 2, height=clip.height // 3) for clip in SAMPLE.clips),
    stills=tuple(replace(still, width=still.width // 3, height=still.height // 3) for still in SAMPLE.stills),
    copies=SAMPLE.copies,
)


def with_last_clips(count: int) -> Script:
    """The small film with only its last clips."""
    return Script(clips=THIRD.clips[-count:], stills=THIRD.stills, copies=THIRD.copies)
