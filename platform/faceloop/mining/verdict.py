"""The verdict on a hard set: did the slice that its request names become better since it was mined?

Best evidence is the gain of the new candidate over the model that labelled what was mined, on the same faces and the
same draws of people. Where another model labels by now, the candidate then and the candidate now are compared on equal
gold by their intervals (Newcombe 1998, method 10: square and add); both saw the same faces, so that range is too wide
rather than too narrow. A verdict says that it became better, not that the hard set is why.
"""

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from faceloop.mining.hardset import HARD_SETS, REQUEST
from faceloop.mining.measured import Measured, SliceNow, measured_now, read_before
from faceloop.mining.request import Acceptance, MiningRequest, read_request
from faceloop.runner import Workspace, hold
from facestore.errors import DataError, StageError
from facestore.ids import canonical_json
from facestore.publish import is_intact, read_manifest, sync_path

VERDICTS = "verdicts"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")  # as `MiningRequest.name`
Word = Literal["improved", "not_shown", "worse", "cannot_say"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One answer; the same evaluation gives the same one."""

    hard_set: str
    version: str
    slice: str
    far: float
    verdict: Word
    is_accepted: bool  # improved, by the gain that the request asks for
    gain: float | None
    gain_low: float | None
    gain_high: float | None
    compared: Literal["labelling_model", "candidate_then"] | None
    before_tar: float | None  # of the candidate when the set was mined
    now_tar: float | None
    evaluation: str | None  # digest of the one that says so
    why: str  # of cannot_say; else empty


def give_verdict(work: Workspace, name: str, version: str | None) -> tuple[Verdict, MiningRequest]:
    """Judge by the published evaluation, and append to `hard_sets/NAME/verdicts/VERSION.jsonl` unless the last line
    says the same. Raises DataError for a set that is not there or was mined without `accept`, or when `version` must
    be named."""
    with hold(work, f"mine/{name}") as lease:
        folder = _folder(work, name, version)
        request = read_request((folder / REQUEST).read_text(encoding="utf-8"), str(folder / REQUEST))
        before = read_before(folder)
        if request.accept is None:
            raise DataError(f"{folder} holds no acceptance; mine with `accept`")
        found = judge(name, folder.name, request.accept, before, measured_now(work, request.accept))
        place = work.root / HARD_SETS / name / VERDICTS / f"{folder.name}.jsonl"
        place.parent.mkdir(exist_ok=True)
        lines = place.read_text(encoding="utf-8").splitlines() if place.is_file() else []
        line = canonical_json(asdict(found))
        if lines[-1:] != [line]:
            waiting = place.with_suffix(".partial")
            waiting.write_text("".join(f"{one}\n" for one in (*lines, line)), encoding="utf-8")
            with lease.fenced():
                waiting.replace(place)
                sync_path(place.parent)
    return found, request


def judge(name: str, version: str, accept: Acceptance, before: Measured, now: Measured) -> Verdict:
    """What an evaluation then and one now say of a slice."""
    gain, low, high = None, None, None
    compared: Literal["labelling_model", "candidate_then"] | None = None
    why = _no_figure(before, now)
    if not why and now.slice is not None:
        paired = (now.slice.gain, now.slice.gain_low, now.slice.gain_high)
        is_same_model = now.current_contract is not None and now.current_contract == before.labelling_contract
        if is_same_model and None not in paired:
            compared, (gain, low, high) = "labelling_model", paired
        elif why := _not_comparable(before, now):
            pass
        elif before.slice is not None:
            compared, (gain, low, high) = "candidate_then", newcombe(before.slice, now.slice)
    word: Word = "cannot_say"
    if gain is not None and low is not None and high is not None:
        word = "improved" if low > 0 else "worse" if high < 0 else "not_shown"
    return Verdict(
        hard_set=name,
        version=version,
        slice=accept.slice,
        far=accept.far,
        verdict=word,
        is_accepted=word == "improved" and gain is not None and gain >= accept.gain,
        gain=_short(gain),
        gain_low=_short(low),
        gain_high=_short(high),
        compared=compared,
        before_tar=_short(before.slice.tar if before.slice else None),
        now_tar=_short(now.slice.tar if now.slice else None),
        evaluation=now.evaluation,
        why=why,
    )


def newcombe(before: SliceNow, now: SliceNow) -> tuple[float, float, float]:
    """Gain of one rate over another, with the range that their own ranges give. Raises DataError without ranges."""
    sides = (before.tar, before.low, before.high, now.tar, now.low, now.high)
    if any(side is None for side in sides):
        raise DataError("a rate without its range cannot be compared; evaluate again")
    then, then_low, then_high, rate, low, high = (float(side) for side in sides if side is not None)
    gain = rate - then
    return gain, gain - math.hypot(rate - low, then_high - then), gain + math.hypot(high - rate, then - then_low)


def _no_figure(before: Measured, now: Measured) -> str:
    if now.evaluation is None:
        return "nothing is evaluated; run evaluate"
    if now.candidate is None or now.candidate == before.candidate:
        return "the candidate is the one from before the set was mined; train, then evaluate"
    if now.slice is None:
        return "the evaluation has no such slice; no gold face lies in it"
    if now.slice.tar is None:
        return f"the evaluation refused the slice: {now.slice.refused}"
    return ""


def _not_comparable(before: Measured, now: Measured) -> str:
    if before.slice is None:
        return "another model labels by now, and the slice was not measured when the set was mined"
    if before.slice.tar is None:
        return f"another model labels by now, and the slice was refused then: {before.slice.refused}"
    if before.gold is None or now.gold is None or before.gold != now.gold:
        return "another model labels by now, and the gold is not the same as then"
    sides = (before.slice.low, before.slice.high, now.slice.low if now.slice else None)
    return "" if None not in sides else "a rate has no range; evaluate again"


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _folder(work: Workspace, name: str, version: str | None) -> Path:
    if _NAME.fullmatch(name) is None:
        raise DataError("this is no name of a hard set; they are small letters, digits and hyphens")
    place = work.root / HARD_SETS / name
    versions = sorted(path.name for path in place.glob("*") if read_manifest(path) is not None)
    if version is None and len(versions) == 1:
        version = versions[0]
    if version is None or version not in versions:
        raise DataError(
            f"hard set {name}: " + (f"versions are {', '.join(versions)}; name one" if versions else "is not mined yet")
        )
    manifest = read_manifest(place / version)
    if manifest is None or not is_intact(place / version, manifest):
        raise StageError(f"{place / version} is damaged; restore it, or remove it and mine again")
    return place / version
