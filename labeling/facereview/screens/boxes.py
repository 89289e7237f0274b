"""Is every face of a frame in a box, and nothing else? The detector's boxes are drawn beforehand."""

from collections.abc import Mapping, Sequence

from facereview.kinds import Boxes, BoxesAnswer, FaceBox
from facereview.percent import Box, View, read_rectangle, rectangle_value, sizes
from facereview.pictures import FramePicture, Picture
from facereview.quality.drawn import overlap
from facereview.schema import AttributeSchema
from facereview.screens.markup import read_config, why_html
from facereview.screens.regions import read_regions, region
from facereview.server import PredictionDraft
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.questions import Question

MOVED_PX = 2.0  # an edge that moved by more, and by more than …
MOVED_SHARE = 0.02  # … this share of its box's side, was moved on purpose
SAME_FACE_IOU = 0.5  # a box drawn anew over one that was deleted is that face, moved
TWICE_IOU = 0.8  # two boxes that overlap so far are around one face
MIN_SIDE_PX = 4.0  # of a drawn box: less is a click that slipped


def label_config(_schema: AttributeSchema) -> str:
    return read_config("boxes.xml")


def task_data(
    question: Question, subject: Boxes, url_of: Mapping[Picture, str], _schema: AttributeSchema
) -> dict[str, JsonValue]:
    """`frame`: the address of the whole frame; `why`: HTML. Raises DataError for a frame without an address."""
    address = url_of.get(FramePicture(footage_id=subject.footage_id, pts_ms=subject.pts_ms))
    if address is None:
        raise DataError(f"the frame of question {question.question_id} has no picture; put it on the shelf first")
    shown = len(_shown(subject))
    return {"frame": address, "why": why_html(question, f"{shown} face{'' if shown == 1 else 's'}")}


def prediction(question: Question, subject: Boxes, _schema: AttributeSchema) -> PredictionDraft:
    """A region a detection, its id the place among the question's boxes; those outside of the frame are not drawn."""
    view = _view(subject)
    shown = _shown(subject)
    regions: list[JsonValue] = [
        region(region_id, "face", "frame", "rectangle", rectangle_value(shown[face_id], view), sizes(view))
        for region_id, face_id in _faces(subject).items()
        if face_id in shown
    ]
    return PredictionDraft(model_version=question.model_version, score=question.chance, result=tuple(regions))


def read_answer(
    _question: Question, subject: Boxes, result: Sequence[JsonValue], _schema: AttributeSchema
) -> BoxesAnswer:
    """A detection's region that is gone was wrong, a region that is new was missed, one whose edge lies elsewhere was
    moved; deleted and drawn anew over the same face is moved as well.

    Raises DataError for a region that is turned, empty, too small or outside of the frame, and for two around one face.
    """
    view = _view(subject)
    faces, detected = _faces(subject), _shown(subject)
    kept: dict[str, Box] = {}
    drawn: list[Box] = []
    for region_id, found in read_regions(result, "face", "frame", "rectangle").items():
        box = read_rectangle(found, view)
        if min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE_PX:
            raise DataError(f"a box of {box[2] - box[0]:.1f} × {box[3] - box[1]:.1f} px holds no face; delete it")
        face_id = faces.get(region_id)
        if face_id is not None and face_id in detected:
            kept[face_id] = box
        else:
            drawn.append(box)
    gone = {face_id: box for face_id, box in detected.items() if face_id not in kept}
    again = _redrawn(gone, drawn)
    kept |= {face_id: drawn[place] for face_id, place in again.items()}
    moved = {face_id: box for face_id, box in sorted(kept.items()) if is_moved(detected[face_id], box)}
    missed = sorted(box for place, box in enumerate(drawn) if place not in again.values())
    _refuse_doubles([*moved.values(), *missed], [detected[face_id] for face_id in kept if face_id not in moved])
    return BoxesAnswer(
        wrong=tuple(sorted(gone.keys() - again.keys())),
        moved=tuple(FaceBox(face_id=face_id, bbox=box) for face_id, box in moved.items()),
        missed=tuple(missed),
    )


def is_moved(before: Box, after: Box) -> bool:
    """Any edge by more than MOVED_PX and MOVED_SHARE of the side of `before` that it bounds. px of the frame."""
    width, height = before[2] - before[0], before[3] - before[1]
    tolerances_px = [max(MOVED_PX, MOVED_SHARE * side) for side in (width, height, width, height)]
    return any(abs(old - new) > allowed for old, new, allowed in zip(before, after, tolerances_px, strict=True))


def _view(subject: Boxes) -> View:
    return View(x1=0, y1=0, x2=subject.width, y2=subject.height)


def _shown(subject: Boxes) -> dict[str, Box]:
    """What is drawn beforehand: the part of each detection inside the frame, by face."""
    view = _view(subject)
    cut = {box.face_id: view.cut(box.bbox) for box in subject.boxes}
    return {face_id: box for face_id, box in cut.items() if box is not None}


def _faces(subject: Boxes) -> dict[str, str]:
    """Face ids by the ids of their regions."""
    return {f"box{place}": box.face_id for place, box in enumerate(subject.boxes)}


def _redrawn(gone: Mapping[str, Box], drawn: Sequence[Box]) -> dict[str, int]:
    """Deleted faces with the place of the new box over each, best overlap first."""
    pairs = sorted(
        (-overlap(old, new), face_id, new, place) for face_id, old in gone.items() for place, new in enumerate(drawn)
    )
    again: dict[str, int] = {}
    for negative, face_id, _, place in pairs:
        if -negative >= SAME_FACE_IOU and face_id not in again and place not in again.values():
            again[face_id] = place
    return again


def _refuse_doubles(changed: Sequence[Box], untouched: Sequence[Box]) -> None:
    """The detector may have boxed one face twice and nobody minded; people do not."""
    for place, box in enumerate(changed):
        if any(overlap(box, other) >= TWICE_IOU for other in [*untouched, *changed[:place]]):
            raise DataError("two boxes lie around one face; delete one of the two and submit again")
