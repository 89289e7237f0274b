"""What production sends back: one event a line, about one recognition that was unsure or that somebody corrected.

An event carries its picture by reference, beside the lines or below them. What production thought is a machine's
opinion and stays one; what a person there said is a claim, for a feed cannot prove who said it. Neither is a label.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError, model_validator

from faceloop.params import StageParams
from facestore.ids import JsonValue, digest_of

Reason = Literal["low_score", "stranger", "corrected", "disputed", "spot_check"]
Score = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Pixel = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
IdentityId = Annotated[str, Field(pattern=r"^person-[0-9a-f]{16}$")]
_SHA256 = r"^[0-9a-f]{64}$"


class _Strict(StageParams):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Media(_Strict):
    """The picture or clip, as production recorded it: with surroundings, never an aligned crop."""

    path: str = Field(min_length=1, max_length=500, description="Relative to the file of events; no `..`.")
    sha256: str = Field(pattern=_SHA256)
    box_px: tuple[Pixel, Pixel, Pixel, Pixel] | None = Field(
        default=None, description="x1, y1, x2, y2 of the face that is meant; may be left out where there is only one."
    )

    @model_validator(mode="after")
    def _is_inside(self) -> "Media":
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or "\\" in self.path or "\0" in self.path:
            raise ValueError("path must be relative and stay below the file of events")
        if self.box_px is not None and not (self.box_px[0] < self.box_px[2] and self.box_px[1] < self.box_px[3]):
            raise ValueError("box_px must be x1 < x2 and y1 < y2")
        return self


class Candidate(_Strict):
    """Somebody whom production thought of."""

    identity_id: IdentityId
    score: Score = Field(description="Cosine, under the gallery's contract.")


class Correction(_Strict):
    """What a person at the device said."""

    verdict: Literal["is", "is_not", "unknown_person"]
    identity_id: IdentityId | None = Field(default=None, description="Of `is` and `is_not`.")
    said_by: str = Field(pattern=r"^[A-Za-z0-9_.:/-]{1,64}$", description="An opaque id of who said it; never a name.")
    said_at: AwareDatetime

    @model_validator(mode="after")
    def _names_whom(self) -> "Correction":
        if (self.identity_id is None) != (self.verdict == "unknown_person"):
            raise ValueError("`is` and `is_not` name an identity_id, `unknown_person` names none")
        return self


class Consent(_Strict):
    """On what ground the picture may be kept and used."""

    basis: Literal["consent", "contract", "legal_obligation", "legitimate_interest"]
    consent_id: str | None = Field(default=None, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")

    @model_validator(mode="after")
    def _has_its_paper(self) -> "Consent":
        if self.basis == "consent" and self.consent_id is None:
            raise ValueError("basis `consent` needs the consent_id it rests on")
        return self


class FeedbackEvent(_Strict):
    """One recognition that came back."""

    schema_version: Literal[1]
    event_id: str = Field(pattern=r"^[A-Za-z0-9_-]{8,64}$", description="Made once, kept on every retry.")
    observed_at: AwareDatetime
    device: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$", description="Camera or site: small letters, digits, -.")
    reason: Reason
    media: Media
    gallery: str = Field(pattern=r"^[0-9a-f]{16}$", description="Folder of the gallery that was asked.")
    contract_id: str = Field(pattern=r"^[0-9a-f]{16}$", description="Of the embedding, as the server gave it.")
    candidates: tuple[Candidate, ...] = Field(max_length=50, description="Best first; none for a stranger.")
    correction: Correction | None = None
    consent: Consent

    @model_validator(mode="after")
    def _agrees(self) -> "FeedbackEvent":
        scores = [candidate.score for candidate in self.candidates]
        if scores != sorted(scores, reverse=True):
            raise ValueError("candidates must be in order of their scores, best first")
        if len({candidate.identity_id for candidate in self.candidates}) < len(scores):
            raise ValueError("an identity stands among the candidates twice")
        if (self.correction is None) == (self.reason == "corrected"):
            raise ValueError("reason `corrected` comes with a correction, and any other without")
        return self

    def digest(self) -> str:
        """sha256 of the content: the same event sent again has the same one."""
        return digest_of(self.model_dump(mode="json"))


def event_schema() -> dict[str, JsonValue]:
    """JSON schema of a line, for the producers."""
    return FeedbackEvent.model_json_schema()


def read_event(line: str) -> FeedbackEvent | str:
    """The event of a line, or why it is none: keys and rules, never the values that broke them."""
    try:
        return FeedbackEvent.model_validate_json(line)
    except ValidationError as error:
        parts = (
            f"{'.'.join(map(str, one['loc'])) or 'line'}: {one['msg']}" for one in error.errors(include_input=False)
        )
        return "; ".join(parts)[:500]
