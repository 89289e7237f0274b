"""Make one file: paint its frames, encode them, and write down who is where in it."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faceloop.sample.encode import TICKS_PER_S, TimedFrame, reencode_still, write_clip, write_still
from faceloop.sample.geometry import Frame
from faceloop.sample.paint import Layout, Set, is_hard, lay_out, paint, tinted
from faceloop.sample.people import Cutout
from faceloop.sample.photos import Rgb, SourcePhoto
from faceloop.sample.publish import published
from faceloop.sample.scene import Clip, Copy, Shot, Still
from faceloop.sample.truth import Appearance, FaceBox, FileTruth, PersonTruth

BOX_EVERY_MS = 200.0
RESENT_QUALITY = 72
TAKEN_AT = "2025:06:14 10:30:00"
UNEVEN = (0.45, 1.7)  # least and most gap between frames of a variable-rate clip, in 1 / fps
STALL_EVERY, STALL_FRAMES = 37, 6.0  # now and then such a clip stalls, as screen and phone recorders do


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """What every file is made from; `backgrounds` pairs each source photo with its pixels (h, w, 3) RGB."""

    seed: int
    cutouts: tuple[Cutout, ...]
    backgrounds: tuple[tuple[SourcePhoto, Rgb], ...]

    def rng(self, path: str) -> np.random.Generator:
        """Random numbers of one file: they do not depend on which other files are made."""
        return np.random.default_rng([self.seed, zlib.crc32(path.encode())])

    def set_up(self, shot: Shot, frame: Frame, rng: np.random.Generator) -> Set:
        """Prepare a shot; each of its actors gets a light of their own."""
        known = {cutout.person: cutout for cutout in self.cutouts}
        return Set(
            shot=shot,
            frame=frame,
            background=dict(self.backgrounds)[shot.background],
            cutouts=tuple(tinted(known[actor.person], rng) for actor in shot.actors),
            phases=rng.uniform(0, 2 * math.pi, size=(3, 3)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One frame to come: its shot's number in the clip, its time in the file and what is where."""

    shot_index: int
    pts_ticks: int
    stage: Set
    layout: Layout

    @property
    def pts_ms(self) -> float:
        return round(self.pts_ticks * 1000 / TICKS_PER_S, 3)


def plan_clip(studio: Studio, clip: Clip) -> tuple[Moment, ...]:
    """Every frame of a clip in time order, before any pixel is painted."""
    rng = studio.rng(clip.path)
    frame = Frame(width=clip.width, height=clip.height)
    stages = [studio.set_up(shot, frame, rng) for shot in clip.shots]
    ends_s = np.cumsum([shot.duration_s for shot in clip.shots])
    moments = []
    for pts_ticks in _frame_times(clip, float(ends_s[-1]), rng):
        time_s = pts_ticks / TICKS_PER_S
        index = int(np.searchsorted(ends_s, time_s, side="right"))
        begin_s = float(ends_s[index - 1]) if index else 0.0
        moments.append(
            Moment(
                shot_index=index,
                pts_ticks=pts_ticks,
                stage=stages[index],
                layout=lay_out(stages[index], time_s - begin_s),
            )
        )
    return tuple(moments)


def make_clip(studio: Studio, clip: Clip, directory: Path) -> FileTruth:
    """Paint and encode one clip below `directory`; returns its truth."""
    moments = plan_clip(studio, clip)
    with published(directory / clip.path) as target:
        write_clip(target, clip, _painted(moments))
    return FileTruth(path=clip.path, kind="video", people=truth_of(moments))


def make_still(studio: Studio, still: Still, directory: Path) -> FileTruth:
    """Paint and encode one photo below `directory`; returns its truth."""
    frame = Frame(width=still.width, height=still.height)
    stage = studio.set_up(still.shot, frame, studio.rng(still.path))
    moment = Moment(shot_index=0, pts_ticks=0, stage=stage, layout=lay_out(stage, 0.0))
    with published(directory / still.path) as target:
        write_still(target, still, paint(stage, moment.layout), TAKEN_AT)
    return FileTruth(path=still.path, kind="image", people=truth_of((moment,)))


def make_copy(copy: Copy, files: list[FileTruth], directory: Path) -> FileTruth:
    """Write a second file from a finished photo; the same people stand at the same places."""
    source = next(file for file in files if file.path == copy.source)
    with published(directory / copy.path) as target:
        if copy.is_exact:
            target.write_bytes((directory / copy.source).read_bytes())
        else:
            reencode_still(directory / copy.source, target, RESENT_QUALITY)
    return FileTruth(path=copy.path, kind=source.kind, people=source.people)


def truth_of(moments: tuple[Moment, ...]) -> tuple[PersonTruth, ...]:
    """Stays of each person, sorted by name: a stay ends at a cut, out of view, or where `hard` changes."""
    people = sorted({face.person for moment in moments for face in moment.layout.faces})
    return tuple(PersonTruth(person=person, appearances=_stays(person, moments)) for person in people)


def _stays(person: str, moments: tuple[Moment, ...]) -> tuple[Appearance, ...]:
    runs: list[tuple[tuple[int, bool] | None, list[FaceBox]]] = []
    for moment in moments:
        face = next((face for face in moment.layout.faces if face.person == person), None)
        state = None if face is None else (moment.shot_index, is_hard(moment.layout, face))
        if not runs or runs[-1][0] != state:
            runs.append((state, []))
        if face is not None:
            x1, y1, x2, y2 = (round(float(edge), 1) for edge in face.box)
            runs[-1][1].append(FaceBox(pts_ms=moment.pts_ms, box=(x1, y1, x2, y2)))
    return tuple(
        Appearance(start_ms=boxes[0].pts_ms, end_ms=boxes[-1].pts_ms, hard=state[1], boxes=tuple(_thinned(boxes)))
        for state, boxes in runs
        if state is not None
    )


def _thinned(boxes: list[FaceBox]) -> Iterator[FaceBox]:
    kept_ms = -math.inf
    for known in boxes:
        if known.pts_ms - kept_ms >= BOX_EVERY_MS or known is boxes[-1]:
            kept_ms = known.pts_ms
            yield known


def _painted(moments: tuple[Moment, ...]) -> Iterator[TimedFrame]:
    for moment in moments:
        yield TimedFrame(pts_ticks=moment.pts_ticks, rgb=paint(moment.stage, moment.layout))


def _frame_times(clip: Clip, duration_s: float, rng: np.random.Generator) -> Iterator[int]:
    """Frame times in 1/90000 s, from 0 to below `duration_s`."""
    step = TICKS_PER_S / clip.fps
    pts, number = 0.0, 0
    while round(pts) < round(duration_s * TICKS_PER_S):
        yield round(pts)
        number += 1
        if not clip.has_variable_rate:
            pts = number * step
        else:
            pts += step * (STALL_FRAMES if number % STALL_EVERY == 0 else float(rng.uniform(*UNEVEN)))
