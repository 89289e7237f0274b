"""What people fill in when they start a Dag by hand; Airflow checks it by these schemas before anything runs."""

from airflow.sdk import Param

_OVERRIDE = {"type": "string", "pattern": r"^(pack|train|evaluate|export)\.[a-z_.]+=.+$"}

_STATE = {"type": "string", "enum": ["proposed", "confirmed"]}


def _span(least: float, most: float, title: str) -> Param:
    items = {"type": "number", "minimum": least, "maximum": most}
    return Param([least, most], type="array", items=items, minItems=2, maxItems=2, title=title)


RELEASE: dict[str, Param] = {
    "force": Param(False, type="boolean", title="Though it is not due"),
    "parameter_set": Param(
        "default",
        type="string",
        pattern="^[a-z0-9_]{1,40}$",
        title="Parameter set",
        description="Of loop.parameter_sets",
    ),
    "overrides": Param(
        [],
        type="array",
        items=_OVERRIDE,
        title="More overrides",
        description="SECTION.KEY=VALUE of pack, train, evaluate or export, one a line",
    ),
    "code_revision": Param(
        None,
        type=["null", "string"],
        pattern="^[0-9a-f]{7,40}$",
        title="Code revision",
        description="Git sha; refused where another one runs",
    ),
    "ask_approval": Param(True, type="boolean", title="Ask for approval"),
}
SUBJECT: dict[str, Param] = {
    "subject": Param("", type="string", minLength=6, maxLength=80, title="Subject", description="Identity or face id"),
    "reason": Param("request", type="string", pattern="^[a-z_]{2,40}$", title="Reason code"),
}
_SOURCES = ["look_alikes", "angle_bands", "evaluation_errors", "feedback", "disagreement", "tracks"]
_ANGLE = {"type": "number", "minimum": 0.0, "maximum": 90.0}
_ACCEPT = {
    "slice": {"type": "string", "pattern": r"^(all|[a-z_]+:[^\s:]{1,64})$"},
    "metric": {"type": "string", "enum": ["tar"]},
    "far": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "gain": {"type": "number", "minimum": 0, "maximum": 1},
}
MINING: dict[str, Param] = {
    "name": Param("", type="string", pattern="^[a-z0-9][a-z0-9-]{0,47}$", title="Name of the hard set"),
    "purpose": Param("", type="string", maxLength=500, title="What it is for", description="No names of people."),
    "asked_by": Param(
        "", type="string", pattern="^[A-Za-z0-9 _./-]{0,64}$", title="Who asks", description="Team or role"
    ),
    "due": Param(None, type=["null", "string"], format="date", title="Verdict wanted by"),
    "sources": Param(
        ["look_alikes"], type="array", items={"type": "string", "enum": _SOURCES}, minItems=1, title="Sources"
    ),
    "angle_deg": Param(
        [30.0, 60.0], type="array", items=_ANGLE, minItems=2, maxItems=2, title="Source angle_bands, degrees"
    ),
    "track_quality": Param(0.5, type="number", minimum=0, maximum=1, title="Source tracks: poor is below"),
    "hard_positives": Param(100, type="integer", minimum=0, maximum=100_000, title="Pairs of one person, least alike"),
    "hard_negatives": Param(100, type="integer", minimum=0, maximum=100_000, title="Pairs of two people, most alike"),
    "subsets": Param(["*"], type="array", items={"type": "string"}, minItems=1, title="Patterns of subsets"),
    "quality": _span(0.0, 1.0, "Quality of a face"),
    "yaw_deg": _span(0.0, 90.0, "Turned aside, degrees"),
    "size_px": _span(0.0, 100_000.0, "Size of a face, pixels"),
    "states": Param(["proposed", "confirmed"], type="array", items=_STATE, minItems=1, title="States of the labels"),
    "identities": Param([], type="array", items={"type": "string"}, title="Only these identities"),
    "ends": Param("both", enum=["both", "either"], title="Filters hold for"),
    "similarity": _span(-1.0, 1.0, "Similarity of a pair"),
    "order": Param("hardest", enum=["hardest", "random"], title="Order"),
    "per_identity": Param(4, type="integer", minimum=1, maximum=10_000, title="Pairs of an identity at most"),
    "per_face": Param(2, type="integer", minimum=1, maximum=10_000, title="Pairs of a face at most"),
    "seed": Param(1, type="integer", minimum=0, title="Seed"),
    "ask": Param(False, type="boolean", title="Ask people about doubtful pairs"),
    "most_questions": Param(50, type="integer", minimum=0, maximum=10_000, title="Questions at most"),
    "minutes": Param(None, type=["null", "number"], title="Minutes of people at most"),
    "accept": Param(
        None, type=["null", "object"], properties=_ACCEPT, additionalProperties=False, title="What must get better"
    ),
}
