"""A fault at a point of a part, then run again to the end: what was lost, doubled, or left lying about."""

import functools
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text
from tests.chaos.accounting import Receipts, account
from tests.chaos.faults import CRASHED, DONE, Ended, Fault, Work, count_calls, run, run_with, spread
from tests.chaos.parts import PARTS, Part, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of one point. `wrong` is empty where all is well; `fired`: how many of its faults were reached."""

    part: str
    faults: tuple[Fault, ...]
    fired: int
    ends: tuple[int, ...]  # exit codes of the runs with a fault
    wrong: tuple[str, ...]


def points(names: Iterable[str], count: int) -> list[tuple[str, Fault]]:
    """So many points: half of them shared among the parts, half by the calls that a part makes; even within a part."""
    of_part = {name: faults_of(name) for name in sorted(names)}
    calls = sum(len(faults) for faults in of_part.values())
    chosen: list[tuple[str, Fault]] = []
    for name, faults in of_part.items():
        share = min(len(faults), math.ceil(count * (0.5 / len(of_part) + 0.5 * len(faults) / calls)))
        chosen += [(name, faults[number * len(faults) // share]) for number in range(share)]
    return chosen


@functools.cache
def faults_of(name: str) -> tuple[Fault, ...]:
    """Every point of a part."""
    part = PARTS[name]
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        with part(Path(folder, "first")) as world:
            world.work(Receipts())  # here: the children inherit what it imports
        with part(Path(folder, "counted")) as world:
            return tuple(spread(count_calls(world.work, Path(folder, "log")), 1 << 30))


def judge(name: str, part: Part, faults: Sequence[Fault]) -> Verdict:
    """Run with one fault after the other, each in a process of its own, then once without."""
    fired, ends, wrong = tried(part, [functools.partial(run_with, fault) for fault in faults])
    return Verdict(part=name, faults=tuple(faults), fired=fired, ends=ends, wrong=wrong)


def tried(part: Part, runs: Sequence[Callable[[Work, Path], Ended]]) -> tuple[int, tuple[int, ...], tuple[str, ...]]:
    """How many of these runs met their fault, how they ended, and what was wrong after any of them or at the end."""
    wrong: list[str] = []
    ends: list[int] = []
    fired = 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, part(Path(folder, "world")) as world:
        for faulty in runs:
            ended = faulty(world.work, Path(folder, "log"))
            fired += ended.is_fired
            ends.append(ended.code)
            if ended.code == CRASHED:
                wrong.append(f"no error of ours: {ended.error[-1500:]}")
            wrong += [f"at once: {one}" for one in _faults_in(world, ended.receipts, world.passing)]
        last = run(world.work)
        if last.code != DONE:
            wrong.append(f"the last run ended with {last.code}: {last.error[-1500:]}")
        wrong += [f"at the end: {one}" for one in [*_faults_in(world, world.wanted, ()), *world.left()]]
    return fired, tuple(ends), tuple(wrong)


def _faults_in(world: World, acknowledged: Iterable[str], passing: tuple[str, ...]) -> list[str]:
    try:
        found = world.found()
    except Exception as error:
        return [f"cannot be read: {error!r}", *world.wrong()]
    books = account(attempted=(*world.wanted, *passing), acknowledged=acknowledged, found=found)
    counts = {"lost": books.lost, "doubled": books.doubled, "unexpected": books.unexpected}
    return [f"{len(items)} {what}: {items[:3]}" for what, items in counts.items() if items] + world.wrong()


def figures(verdicts: Sequence[Verdict]) -> dict[str, dict[str, int]]:
    """Points fired by part, by effect, and by how the runs ended."""
    of_fired = [verdict for verdict in verdicts if verdict.fired]
    return {
        "part": dict(Counter(verdict.part for verdict in of_fired)),
        "effect": dict(Counter(fault.effect for verdict in of_fired for fault in verdict.faults)),
        "syscall": dict(Counter(fault.syscall for verdict in of_fired for fault in verdict.faults)),
        "end": dict(Counter(str(code) for verdict in of_fired for code in verdict.ends)),
    }


def without_a_unique_key(url: str) -> None:
    """For a mutant: a log of decisions that takes what it is given."""
    engine = create_engine(url)
    with engine.begin() as session:
        for statement in (
            "CREATE TABLE plain AS SELECT * FROM decision",
            "DROP TABLE decision",
            "ALTER TABLE plain RENAME TO decision",
        ):
            session.execute(text(statement))
    engine.dispose()
