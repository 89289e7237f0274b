"""What a similarity means under one embedding contract: how strangers resemble each other, measured without labels.

Thresholds are written as multiples of the impostor distribution's standard deviation above its mean, so that one
setting serves every recogniser; a `Calibration` turns them into cosines. The same idea normalises scores in speaker
verification (z-norm: Auckenthaler et al. 2000), there per speaker, here per recogniser.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from facestore.errors import ConfigError, NotCalibrated

SHIPPED = "calibrations.json"
BUILTIN_CONTRACT = "ec1cdc4793d86c6e"  # embed.model of pack builtin, precision f32


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The impostor distribution of one embedding contract; for information, the genuine side too."""

    contract_id: str
    impostor_mean: float  # cosine of two strangers: median of the pairs
    impostor_sd: float  # spread of the pairs below it, > 0
    impostor_pairs: int
    people: int  # provisional people that the pairs were drawn from, one tracklet each
    same_picture_mean: float | None  # faces of one picture: surely strangers, in one light
    same_picture_pairs: int
    genuine_mean: float | None  # faces of one tracklet: surely one person, in one light
    genuine_pairs: int
    method: str
    source: str  # what it was measured on

    def __post_init__(self) -> None:
        if not -1 < self.impostor_mean < 1 or not 0 < self.impostor_sd < 1:
            raise ConfigError(
                f"calibration of {self.contract_id}: impostor mean {self.impostor_mean} and sd {self.impostor_sd} "
                "are no cosines with a spread; measure it anew with `faceloop calibrate`"
            )

    def cosine(self, sigmas: float) -> float:
        """The cosine that lies so many standard deviations above strangers, at most 1 and at least -1."""
        return min(1.0, max(-1.0, self.impostor_mean + sigmas * self.impostor_sd))

    def difference(self, sigmas: float) -> float:
        """A difference of two cosines that is worth so many standard deviations."""
        return sigmas * self.impostor_sd

    def sigmas(self, cosine: float) -> float:
        """How many standard deviations a cosine lies above strangers."""
        return (cosine - self.impostor_mean) / self.impostor_sd


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """Too few people for a trustworthy measurement."""

    people: int
    needed: int

    def __str__(self) -> str:
        return f"about {self.people} people found, {self.needed} are needed"


def load_calibration(
    contract_id: str, *, file: Path | None, measure: Callable[[], Calibration | Shortage]
) -> Calibration:
    """The calibration to use: of the file that params name, else the shipped one, else what `measure` finds.

    Raises NotCalibrated when none of them knows the contract, or the named file does not.
    """
    if file is not None:
        named = read_calibrations(calibration_text(file), str(file))
        if contract_id not in named:
            raise NotCalibrated(
                f"{file} has no calibration of embedding contract {contract_id} (it has {', '.join(sorted(named))}); "
                "write one with `faceloop calibrate --out FILE`, or set cluster.calibration to null"
            )
        return named[contract_id]
    if (shipped := shipped_calibration(contract_id)) is not None:
        return shipped
    measured = measure()
    if isinstance(measured, Calibration):
        return measured
    raise NotCalibrated(
        f"embedding contract {contract_id} has no calibration: none is shipped, and it cannot be measured here "
        f"({measured}); run `faceloop calibrate --out FILE` on a root with the same embed.model and more people, and "
        "name the file in cluster.calibration"
    )


def shipped_calibration(contract_id: str) -> Calibration | None:
    """The calibration that comes with the package, if the contract is known there."""
    return read_calibrations(calibration_text(None), SHIPPED).get(contract_id)


def calibration_text(file: Path | None) -> str:
    """The JSON of the named file, or of the shipped one: what a run that uses it depends on. Raises ConfigError."""
    if file is None:
        return files("faceloop.clustering").joinpath(SHIPPED).read_text(encoding="utf-8")
    if not file.is_file():
        raise ConfigError(f"no calibration file {file}; write one with `faceloop calibrate --out FILE`")
    return file.read_text(encoding="utf-8")


def builtin_calibration() -> Calibration:
    """That of the built-in recogniser at full precision."""
    found = shipped_calibration(BUILTIN_CONTRACT)
    if found is None:
        raise ConfigError(f"the package lacks {SHIPPED}; install it again")
    return found


def read_calibrations(text: str, name: str) -> dict[str, Calibration]:
    """Calibrations by contract from the JSON that `as_json` writes. Raises ConfigError naming the file."""
    try:
        found = TypeAdapter(list[Calibration]).validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{name} is no list of calibrations ({error.errors()[0]['msg']}); write it anew") from error
    return {calibration.contract_id: calibration for calibration in found}


def as_json(calibrations: list[Calibration]) -> str:
    """JSON text of calibrations, sorted by contract, cosines to four digits."""
    rows = [asdict(calibration) for calibration in sorted(calibrations, key=lambda one: one.contract_id)]
    rounded = [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    return json.dumps(rounded, indent=2) + "\n"
