"""What a stage is. How one runs is in `runner.py`.

A stage is a module of `faceloop.stages` with a `Params` class, a `VERSION`, and one function
`run(*, NAME: In, …, NAME: Out, …, params: Params, context: Context) -> Report`. Argument names are artifact names;
`params.yaml: paths` says where each lives. A `BATCHED` stage is called once a batch, with its folders narrowed to it;
where it has `finish(*, OUTS, params, context)`, that runs once over the staged whole.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Annotated, get_type_hints

from faceloop.params import StageParams
from faceloop.progress import ProgressReporter
from facestore.consentbasis import Withheld
from facestore.errors import StageError
from facestore.findings import Findings, NoFindings
from facestore.ids import JsonValue
from facestore.objects import ObjectStore

In = Annotated[Path, "in"]
Out = Annotated[Path, "out"]
External = Annotated[str, "external"]  # a folder or bucket that people fill: the source

FLOW = ("ingest", "detect", "embed", "cluster", "identify", "select", "pack")  # footage to a release
STAGES = (*FLOW, "train", "evaluate", "export", "train_attributes")  # and on to models


@dataclass(slots=True)
class Report:
    """What a run did, in counts. `items_in = published + rejected + pending` is checked before publication."""

    items_in: int = 0
    published: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    pending: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)  # whole numbers worth showing, summed over batches

    def add(self, other: "Report") -> None:
        self.items_in += other.items_in
        self.published += other.published
        self.rejected.update(other.rejected)
        self.pending.update(other.pending)
        self.figures.update(other.figures)

    def check(self, stage: str) -> None:
        """Raises StageError when an item was lost or doubled."""
        out = self.published + self.rejected.total() + self.pending.total()
        if out != self.items_in:
            raise StageError(
                f"{stage}: {self.items_in} items came in, {self.published} published + {self.rejected.total()} "
                f"rejected + {self.pending.total()} pending = {out}; nothing was published, please report this"
            )

    def counts(self) -> dict[str, JsonValue]:
        return {
            "in": self.items_in,
            "published": self.published,
            "rejected": dict(sorted(self.rejected.items())),
            "pending": dict(sorted(self.pending.items())),
            **{name: int(self.figures[name]) for name in sorted(self.figures)},
        }

    @classmethod
    def from_counts(cls, counts: Mapping[str, JsonValue]) -> "Report":
        known = {"in", "published", "rejected", "pending"}
        figures = {name: value for name, value in counts.items() if name not in known and isinstance(value, int)}
        rejected, pending = counts["rejected"], counts["pending"]
        return cls(
            items_in=_whole(counts["in"]),
            published=_whole(counts["published"]),
            rejected=Counter({k: _whole(v) for k, v in rejected.items()} if isinstance(rejected, dict) else {}),
            pending=Counter({k: _whole(v) for k, v in pending.items()} if isinstance(pending, dict) else {}),
            figures=Counter(figures),
        )


def _whole(value: JsonValue) -> int:
    if not isinstance(value, int):
        raise StageError(f"a count must be a whole number, found {value!r}; remove the artifact and run again")
    return value


class Stopwatch:
    """Wall seconds by what they were spent on. Goes to the ledger and the report, never into a table."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] += time.perf_counter() - start  # type: ignore[assignment]  # Counter takes floats


def _none(_: Collection[str]) -> set[str]:
    return set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the world lends to a stage."""

    objects: ObjectStore
    progress: ProgressReporter
    stopwatch: Stopwatch
    threads: int
    run_key: str
    previous: Mapping[str, Path | None]  # this stage's outputs as published before, if any
    findings: Findings = field(default_factory=NoFindings)  # about files of the source, from earlier runs
    erased: Callable[[Collection[str]], set[str]] = _none  # footage that was erased and must not come in again
    withheld: Withheld = field(default_factory=Withheld)  # footage that its consents keep from this stage's purpose
    acquisition: str = "unstated"  # how the source was come by, where a file does not say it of itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    name: str
    version: int
    is_batched: bool
    params: type[StageParams]
    run: Callable[..., Report]
    finish: Callable[..., Report] | None  # of a batched stage: a last step over all its batches together
    fingerprint: Callable[[StageParams], str]  # what the params only point at, such as a model file
    externals: tuple[str, ...]
    ins: tuple[str, ...]
    outs: tuple[str, ...]


def _no_fingerprint(_: StageParams) -> str:
    return ""


def load_stage(name: str) -> Stage:
    """Read a stage from its module's signature. Raises StageError for an unknown name."""
    if name not in STAGES:
        raise StageError(f"no stage {name!r}; stages are {', '.join(STAGES)}")
    module = import_module(f"faceloop.stages.{name}")
    hints = get_type_hints(module.run, include_extras=True)
    kinds = {
        argument: hints[argument].__metadata__[0]
        for argument in signature(module.run).parameters
        if hasattr(hints[argument], "__metadata__")
    }

    def of_kind(kind: str) -> tuple[str, ...]:
        return tuple(argument for argument, found in kinds.items() if found == kind)

    return Stage(
        name=name,
        version=module.VERSION,
        is_batched=getattr(module, "BATCHED", False),
        params=module.Params,
        run=module.run,
        finish=getattr(module, "finish", None),
        fingerprint=getattr(module, "fingerprint", _no_fingerprint),
        externals=of_kind("external"),
        ins=of_kind("in"),
        outs=of_kind("out"),
    )
