"""Are the five points of a face right? They are placed beforehand; whoever looks drags those that are off."""

from collections.abc import Mapping, Sequence

from facereview.kinds import Landmarks, LandmarksAnswer
from facereview.percent import Point, View, keypoint_value, read_keypoint, sizes
from facereview.pictures import FramePicture, Picture
from facereview.schema import AttributeSchema
from facereview.screens.choices import read_choices
from facereview.screens.markup import read_config, why_html
from facereview.screens.regions import read_regions, region
from facereview.server import PredictionDraft
from facestore.errors import DataError
from facestore.ids import JsonValue
from facestore.questions import Question

POINT_NAMES = ("left eye", "right eye", "nose", "mouth left", "mouth right")  # sides of the picture, in order
_DOT_PERCENT = 0.8  # of the picture's width


def label_config(_schema: AttributeSchema) -> str:
    return read_config("landmarks.xml")


def task_data(
    question: Question, subject: Landmarks, url_of: Mapping[Picture, str], _schema: AttributeSchema
) -> dict[str, JsonValue]:
    """`face`: the address of the cut-out; `why`: HTML. Raises DataError for a cut-out without an address."""
    picture = FramePicture(footage_id=subject.footage_id, pts_ms=subject.pts_ms, view=subject.view)
    address = url_of.get(picture)
    if address is None:
        raise DataError(f"face {subject.face_id} has no picture of its view; put it on the shelf before the question")
    return {"face": address, "why": why_html(question, "points are right")}


def prediction(question: Question, subject: Landmarks, _schema: AttributeSchema) -> PredictionDraft:
    """Five key points, each where the detector put it or at the nearest place that the picture shows.

    Raises DataError for a question with another number of points.
    """
    view = _view(subject)
    if len(subject.points) != 2 * len(POINT_NAMES):
        raise DataError(f"{len(subject.points) / 2:g} points of face {subject.face_id}; ask with five")
    regions: list[JsonValue] = []
    for place, name in enumerate(POINT_NAMES):
        point = view.nearest((subject.points[2 * place], subject.points[2 * place + 1]))
        value: dict[str, JsonValue] = {**keypoint_value(point, view, width=_DOT_PERCENT), "keypointlabels": [name]}
        regions.append(region(f"point{place}", "point", "face", "keypointlabels", value, sizes(view)))
    return PredictionDraft(model_version=question.model_version, score=question.chance, result=tuple(regions))


def read_answer(
    _question: Question, subject: Landmarks, result: Sequence[JsonValue], _schema: AttributeSchema
) -> LandmarksAnswer:
    """Each point by its label, wherever it was dragged or set anew. An unusable face needs none.

    Raises DataError for a point that is not there or comes twice, and one outside of the picture.
    """
    verdicts = [entry for entry in result if isinstance(entry, dict) and entry.get("from_name") == "verdict"]
    if read_choices(verdicts, {"verdict": {"unusable"}}).get("verdict"):
        return LandmarksAnswer(verdict="unusable")
    others = [entry for entry in result if entry not in verdicts]
    points: dict[str, Point] = {}
    for found in read_regions(others, "point", "face", "keypointlabels").values():
        name = _name(found)
        if name in points:
            raise DataError(f"{name} is marked twice; delete one of the two and submit again")
        points[name] = read_keypoint(found, _view(subject))
    if missing := [name for name in POINT_NAMES if name not in points]:
        raise DataError(f"{', '.join(missing)} is not marked; mark all five, or tick unusable")
    return LandmarksAnswer(verdict="placed", points=tuple(place for name in POINT_NAMES for place in points[name]))


def _view(subject: Landmarks) -> View:
    x1, y1, x2, y2 = subject.view
    return View(x1=x1, y1=y1, x2=x2, y2=y2)


def _name(found: Mapping[str, JsonValue]) -> str:
    value = found.get("value")
    labels = value.get("keypointlabels") if isinstance(value, dict) else None
    if not isinstance(labels, list) or len(labels) != 1 or labels[0] not in POINT_NAMES:
        raise DataError(f"a point is labelled {labels!r}; each is one of {', '.join(POINT_NAMES)}")
    return str(labels[0])
