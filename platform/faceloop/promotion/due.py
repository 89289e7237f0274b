"""due: whether enough has come since the last release that another is worth making."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from faceloop.loop_params import DueParams
from faceloop.runner import Workspace
from facestore.promotions import Mark, Promotions, Stock
from facestore.publish import read_manifest
from facestore.records import Face
from facestore.tables import read_columns

Why = Literal["forced", "faces", "decisions", "days"]
_FIRST = ""  # mark of when anybody first asked, from where days count until there is a release
_NOTHING = Stock(faces=0, decisions=0, labels_digest="")
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Whether a release is due, and what came since the last one."""

    due: bool
    why: tuple[Why, ...]
    faces: int
    decisions: int
    days: float


def stock_of(work: Workspace) -> Stock:
    """What the published labels are made from: faces with a crop, decisions, the labels themselves."""
    faces = decisions = 0
    if read_manifest(work.path("faces")) is not None:
        table = read_columns(work.path("faces"), "faces", Face, ("crop_key",))
        faces = len(table) - table["crop_key"].null_count
    said = read_manifest(work.path("decisions"))
    if said is not None and isinstance(count := said.counts.get("decisions"), int):
        decisions = count
    labels = read_manifest(work.path("assignments"))
    return Stock(faces=faces, decisions=decisions, labels_digest=labels.digest if labels is not None else "")


def is_due(stock: Stock, mark: Mark, now: datetime, params: DueParams, *, is_forced: bool) -> Due:
    """Compare with the last mark. Days alone make nothing due while the labels are what they were."""
    faces = stock.faces - mark.stock.faces
    decisions = stock.decisions - mark.stock.decisions
    days = max(0.0, (now - mark.at).total_seconds() / _DAY_S)
    why: list[Why] = ["forced"] if is_forced else []
    why += ["faces"] if abs(faces) >= params.faces else []  # that went, count as well
    why += ["decisions"] if decisions >= params.decisions else []
    why += ["days"] if days >= params.days and stock.labels_digest != mark.stock.labels_digest else []
    has_labels = bool(stock.labels_digest)
    return Due(
        due=has_labels and bool(why),
        why=tuple(why) if has_labels else (),
        faces=faces,
        decisions=decisions,
        days=round(days, 3),
    )


def ask_due(work: Workspace, promotions: Promotions, params: DueParams, *, run_id: str | None, is_forced: bool) -> Due:
    """Whether a release is due since the last promotion, or since a run was last told so.

    A run that was told yes is told the same when it asks again: its task may have been killed in between.
    """
    if run_id and (told := promotions.marked(run_id)) is not None and isinstance(told.answer, dict):
        return _due_from(told.answer)
    mark = promotions.last_mark() or promotions.mark(_FIRST, _NOTHING, None)
    stock = stock_of(work)
    found = is_due(stock, mark, promotions.now(), params, is_forced=is_forced)
    if found.due and run_id:
        answer = {name: getattr(found, name) for name in Due.__slots__} | {"why": list(found.why)}
        told = promotions.mark(run_id, stock, answer)
        return _due_from(told.answer) if isinstance(told.answer, dict) else found
    return found


def _due_from(answer: Mapping[str, object]) -> Due:
    fields = {name: answer[name] for name in Due.__slots__}
    return Due(**fields | {"why": tuple(fields["why"])})  # type: ignore[arg-type]  # written by ask_due
