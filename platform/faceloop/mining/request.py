"""What an engineer asks of mining: one object, checked whole before any work. Forms are made from its schema."""

from typing import Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from faceloop.params import StageParams
from facestore.errors import ConfigError
from facestore.ids import JsonValue

Range = tuple[float, float]


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


class MiningRequest(StageParams):
    """One request for a hard set. Every field but the name has a default, so that a form can be sent as it is."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="Of the hard set: small letters, digits, hyphens."
    )
    purpose: str = Field(default="", max_length=500, description="What the set is for. No names of people.")
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
    sure: Sureness = Field(default=Sureness())

    @model_validator(mode="after")
    def _ranges_hold(self) -> "MiningRequest":
        bounds = {"quality": (0.0, 1.0), "yaw_deg": (0.0, 90.0), "size_px": (0.0, 1e6), "similarity": (-1.0, 1.0)}
        for name, (lowest, highest) in bounds.items():
            low, high = getattr(self, name)
            if not lowest <= low <= high <= highest:
                raise ValueError(f"{name} = [{low:g}, {high:g}]: must rise within [{lowest:g}, {highest:g}]")
        if self.hard_positives + self.hard_negatives == 0:
            raise ValueError("hard_positives and hard_negatives are both 0: nothing is asked for")
        return self


def read_request(text: str, name: str) -> MiningRequest:
    """The request that a JSON text spells. Raises ConfigError naming each wrong key, its value and the rule it breaks;
    `name` says where the text is from."""
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
