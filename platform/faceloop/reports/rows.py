"""Tables of the page: what was set aside, subsets, splits, footage, and the one sentence on top."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from faceloop.release.splits import balance, counts_of
from faceloop.reports.material import Material
from faceloop.reports.page import Flag, FootageRow, Quarantined, SplitRow, SubsetRow
from faceloop.reports.words import plural, span, words
from facestore.records import Rejection


@dataclass(slots=True)
class _Sums:
    footage: int = 0
    seconds: float = 0.0
    faces: int = 0


def sentence(material: Material) -> str:
    """What happened, for somebody who knows nothing of the stages."""
    videos = [record for record in material.footage if record.kind == "video"]
    photos = len(material.footage) - len(videos)
    parts = []
    if videos:
        seconds = sum(record.duration_s or 0.0 for record in videos)
        parts.append(f"{plural(len(videos), 'video')} ({span(seconds)})")
    if photos:
        parts.append(plural(photos, "photo"))
    seen = " and ".join(parts) or "no footage"
    faces = plural(int(material.measures.is_kept.sum()), "face")
    tracklets = len({shot.tracklet_id for shot in material.shots})
    identities = len(material.faces_of_identity)
    text = f"In {seen} we accepted {faces} in {plural(tracklets, 'tracklet')}, from which came "
    text += plural(identities, "identity", "identities")
    if material.unknown_faces:
        text += f"; {plural(material.unknown_faces, 'face stays', 'faces stay')} unknown"
    if bad := len(set_aside(material)):
        text += f"; {plural(bad, 'file needs', 'files need')} a look"
    return text + "."


def set_aside(material: Material) -> list[Quarantined]:
    """Every input that ingest refused and every footage that detect could not read, or only in part."""
    found = [_refused(rejection) for rejection in material.rejections]
    for record in material.footage:
        reading = material.readings.get(record.footage_id)
        if reading is not None and reading.status != "read":
            reason = reading.reason or reading.status
            promised = "an unknown number of" if reading.frames_promised is None else f"{reading.frames_promised:,}"
            found.append(
                Quarantined(
                    name=record.uri,
                    stage="detect",
                    reason=reason,
                    meaning=words(reason),
                    detail=f"{reading.frames_decoded:,} of {promised} frames decoded",
                    is_partial=reading.status == "partial",
                )
            )
    return sorted(found, key=lambda item: (item.is_partial, item.name, item.reason))


def _refused(rejection: Rejection) -> Quarantined:
    return Quarantined(
        name=rejection.item,
        stage=rejection.stage,
        reason=rejection.reason,
        meaning=words(rejection.reason),
        detail=rejection.detail,
        is_partial=False,
    )


def flags(material: Material) -> tuple[Flag, ...]:
    """How much footage carries each flag, most first."""
    counts = Counter(flag for record in material.footage for flag in record.flags)
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Flag(flag=flag, meaning=words(flag), footage=count) for flag, count in ordered)


def subset_rows(material: Material) -> tuple[SubsetRow, ...]:
    """What each camera, album or session gave, by name."""
    sums: dict[str, _Sums] = defaultdict(_Sums)
    for record in material.footage:
        reading = material.readings.get(record.footage_id)
        sums[record.subset].footage += 1
        sums[record.subset].seconds += record.duration_s or 0.0
        sums[record.subset].faces += reading.faces if reading else 0
    tracklets: dict[str, set[str]] = defaultdict(set)
    known: dict[str, set[str]] = defaultdict(set)
    identities: dict[str, set[str]] = defaultdict(set)
    for shot in material.shots:
        tracklets[shot.subset].add(shot.tracklet_id)
        if shot.identity_id is not None:
            known[shot.subset].add(shot.tracklet_id)
            identities[shot.subset].add(shot.identity_id)
    return tuple(
        SubsetRow(
            name=name,
            footage=found.footage,
            seconds=found.seconds,
            faces=found.faces,
            tracklets=len(tracklets[name]),
            identities=len(identities[name]),
            unknown_tracklets=len(tracklets[name] - known[name]),
        )
        for name, found in sorted(sums.items())
    )


def split_rows(material: Material, balance_ratio: float) -> tuple[SplitRow, ...]:
    """Samples, identities, shards and balance of each split of the release."""
    identities: dict[str, list[str]] = defaultdict(list)
    shards: dict[str, set[str]] = defaultdict(set)
    for sample in material.release:
        identities[sample.split].append(sample.identity_id)
        shards[sample.split].add(sample.shard)
    return tuple(
        SplitRow(split=name, shards=len(shards[name]), balance=balance(counts_of(identities[name]), balance_ratio))
        for name in ("train", "val", "test")
        if name in identities
    )


def footage_rows(material: Material) -> Sequence[FootageRow]:
    return [FootageRow(footage=record, reading=material.readings.get(record.footage_id)) for record in material.footage]
