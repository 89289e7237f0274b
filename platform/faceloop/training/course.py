"""One training as a value: everything that decides the weights, and where they go. Needs no torch."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from faceloop.training.launching import JOB, write_job
from faceloop.training.train_params import TrainParams
from facestore.records import ReleaseSample
from facestore.tables import read_columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """`folder` holds checkpoints and the live loss curve; `candidate` is filled at the end by rank 0."""

    release: Path
    candidate: Path
    folder: Path
    params: TrainParams
    threads: int

    def write(self) -> None:
        places = {name: str(getattr(self, name).resolve()) for name in ("release", "candidate", "folder")}
        write_job(self.folder, {**places, "threads": self.threads, "params": self.params.model_dump(mode="json")})

    @classmethod
    def read(cls, folder: Path) -> "Course":
        job = json.loads((folder / JOB).read_bytes())
        places = {name: Path(job[name]) for name in ("release", "candidate", "folder")}
        return cls(**places, threads=job["threads"], params=TrainParams.model_validate(job["params"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSplit:
    """Who is in the train split: `identity_ids` in the order of their class index."""

    release_version: str
    identity_ids: tuple[str, ...]
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a training came to, for the report of the stage."""

    steps: int
    first_loss: float
    last_loss: float
    classes_kept: int
    classes_new: int
    classes_gone: int

    def write(self, folder: Path) -> None:
        (folder / "fitted.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Fitted":
        return cls(**json.loads((folder / "fitted.json").read_bytes()))


def train_split(release: Path) -> TrainSplit:
    """Read from the release's table, no crop is touched."""
    columns = read_columns(release, "samples", ReleaseSample, ("split", "identity_id", "class_index"))
    rows = [row for row in columns.to_pylist() if row["split"] == "train"]
    names = {row["class_index"]: row["identity_id"] for row in rows}
    version = json.loads((release / "manifest.json").read_bytes())["release"]
    return TrainSplit(
        release_version=version, identity_ids=tuple(names[index] for index in sorted(names)), samples=len(rows)
    )
