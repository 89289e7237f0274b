"""What an engineer asks of mining: one object, checked whole before any work. Forms are made from its schema."""

import json
from datetime import date
from typing import Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from faceloop.params import StageParams
from facestore.errors import ConfigError
from facestore.ids import JsonValue

Range = tuple[float, float]
# look_alikes: all labelled faces. angle_bands: turned aside. evaluation_errors: like gold that a candidate got wrong.
# feedback: what production sent back. disagreement: candidate and labelling model decide differently. tracks: poor
# faces of tracklets whose other faces are beyond doubt.
Source = Literal["look_alikes", "angle_bands", "evaluation_errors", "feedback", "disagreement", "tracks"]
SOURCES: tuple[Source, ...] = get_args(Source)


class Sureness(StageParams):
    """What tells hard from wrong, in standard deviations above strangers."""

    witness_sigmas: float = Field(
        default=4.5, ge=0, le=40, description="Two faces are one person if a third one resembles both at least so much."
    )
    gap_sigmas: float = Field(
        default=2.0, ge=0, le=40, description="A face must resemble its own identity by so much more than the other's."
    )
    twin_sigmas: float = Field(
        default=2.6, ge=-20, le=40, description="Identities that resemble each other so much may be one person."
    )


class Acceptance(StageParams):
    """What has to become better, so that a verdict can be given."""

    slice: str = Field(
        default="all",
        pattern=r"^(all|[a-z_]+:[^\s:]{1,64})$",
        description="`all`, or a slice of the evaluation, such as yaw:30_to_45.",
    )
    metric: Literal["tar"] = Field(default="tar", description="Share of pairs of one person that are accepted.")
    far: float = Field(
        default=0.001, gt=0, lt=1, description="Whose threshold counts; of a slice: evaluate.slices.far."
    )
    gain: float = Field(default=0.0, ge=0, le=1, description="Least gain, once one is shown.")


class MiningRequest(StageParams):
    """One request for a hard set. Every field but the name has a default, so that a form can be sent as it is."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="Of the hard set: small letters, digits, hyphens."
    )
    purpose: str = Field(default="", max_length=500, description="What the set is for. No names of people.")
    asked_by: str = Field(
        default="", pattern=r"^[A-Za-z0-9 _./-]{0,64}$", description="Team or role; no name of a person."
    )
    due: date | None = Field(default=None, description="Day by which the verdict should stand, YYYY-MM-DD.")
    sources: list[Source] = Field(
        default=["look_alikes"], min_length=1, description="Where pairs are looked for; each gives its share in turn."
    )
    angle_deg: Range = Field(default=(30.0, 60.0), description="Of angle_bands: turned aside, at least, at most.")
    track_quality: float = Field(default=0.5, ge=0, le=1, description="Of tracks: a face below is a poor one.")
    hard_positives: int = Field(default=100, ge=0, le=100_000, description="Pairs of one person that look least alike.")
    hard_negatives: int = Field(default=100, ge=0, le=100_000, description="Pairs of two people that look most alike.")
    subsets: list[str] = Field(default=["*"], min_length=1, description="Patterns of subsets, as in a shell.")
    quality: Range = Field(default=(0.0, 1.0), description="Of a face: at least, at most; within [0, 1].")
    yaw_deg: Range = Field(default=(0.0, 90.0), description="Turned aside, either way: at least, at most; in [0, 90].")
    size_px: Range = Field(default=(0.0, 100_000.0), description="√(width × height) of a face: at least, at most.")
    states: list[Literal["proposed", "confirmed"]] = Field(
        default=["proposed", "confirmed"], min_length=1, description="How sure the identity of a face is."
    )
    identities: list[str] = Field(default=[], description="Only these identity ids; empty: all.")
    ends: Literal["both", "either"] = Field(
        default="both", description="Which faces of a pair the filters above must hold for."
    )
    similarity: Range = Field(default=(-1.0, 1.0), description="Cosine of a pair: at least, at most; within [-1, 1].")
    order: Literal["hardest", "random"] = Field(
        default="hardest", description="Hardest first, or drawn by the seed within the range of similarity."
    )
    per_identity: int = Field(default=4, ge=1, le=10_000, description="Pairs of a kind that an identity is in at most.")
    per_face: int = Field(default=2, ge=1, le=10_000, description="Pairs of a kind that a face is in at most.")
    seed: int = Field(default=1, ge=0, description="Of all that is drawn.")
    ask: bool = Field(default=False, description="Send the doubtful pairs to people, as questions.")
    most_questions: int = Field(default=50, ge=0, le=10_000, description="Of this request.")
    minutes: float | None = Field(
        default=None, ge=0, le=100_000, description="Of people, for its questions; by select.seconds."
    )
    accept: Acceptance | None = Field(default=None, description="What has to become better.")
    sure: Sureness = Field(default=Sureness())

    @model_validator(mode="after")
    def _ranges_hold(self) -> "MiningRequest":
        bounds = {
            "quality": (0.0, 1.0),
            "yaw_deg": (0.0, 90.0),
            "angle_deg": (0.0, 90.0),
            "size_px": (0.0, 1e6),
            "similarity": (-1.0, 1.0),
        }
        for name, (lowest, highest) in bounds.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise ValueError(f"{name} = [{low:g}, {high:g}]: must rise within [{lowest:g}, {highest:g}]")
        if self.hard_positives + self.hard_negatives == 0:
            raise ValueError("hard_positives and hard_negatives are both 0: nothing is asked for")
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("sources names one twice")
        return self

    @property
    def has_sources(self) -> bool:
        """Whether it asks for more than mining gave before there were sources."""
        return self.sources != ["look_alikes"]

    def spelled(self) -> dict[str, JsonValue]:
        """What names a version. Keys that came later are in it only where they say something, so that a request from
        before them keeps its version."""
        said: dict[str, JsonValue] = self.model_dump(mode="json")
        plain = MiningRequest(name=self.name).model_dump(mode="json")
        return {key: value for key, value in said.items() if key not in _LATER or value != plain[key]}


_LATER = ("asked_by", "due", "sources", "angle_deg", "track_quality", "minutes", "accept")


def read_request(text: str, name: str) -> MiningRequest:
    """The request that a text spells: JSON, or YAML where `name`, which says where the text is from, ends so. Raises
    ConfigError naming each wrong key, its value and the rule it breaks."""
    if name.endswith((".yaml", ".yml")):
        try:
            text = json.dumps(yaml.safe_load(text), default=str)  # a date as it is written
        except (yaml.YAMLError, TypeError) as error:
            raise ConfigError(f"{name} is no YAML ({error}); correct it") from error
    try:
        return MiningRequest.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{name}: " + "; ".join(_explained(problem) for problem in error.errors())) from error


def request_schema() -> dict[str, JsonValue]:
    """JSON schema of a request, for forms."""
    return MiningRequest.model_json_schema()


def _explained(problem: ErrorDetails) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "missing":
            return f"{key} is missing; it has no default"
        case "extra_forbidden":
            return f"{key} = {problem['input']!r}: unknown key; keys are {', '.join(MiningRequest.model_fields)}"
        case _:
            message = problem["msg"].removeprefix("Value error, ")
            return f"{key} = {problem['input']!r}: {message}" if key else message
