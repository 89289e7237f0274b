"""What must come out the same in every time zone and locale, and however the clock jumps: said as one line of JSON.

Run as a program, since a process has one zone, one locale and one clock: `time_core.py FOLDER [naive]`.
`time_core.py FOLDER take URL LEASE [own_clock]` says whether a lease of a catalogue could be taken.
"""

import ctypes
import hashlib
import json
import random
import sys
import time
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import facestore.leases
from facestore.catalogue import Moment
from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision, decide
from facestore.errors import LeaseHeld, LeaseLost
from facestore.ids import JsonValue, canonical_json, digest_of, face_id
from facestore.leases import Leases
from facestore.ledger import Ledger, StageRun
from facestore.sources import open_source
from facestore.tables import read_table, write_table

HOURS_36 = 36 * 3_600
# Local clocks jump by an hour: St John's in spring and in autumn, and a day on which Kolkata is a day ahead.
JUMPS = (datetime(2026, 3, 8, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 4, 30, tzinfo=UTC))
ZONES = (UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=2, minutes=30)))


def moments() -> Iterator[datetime]:
    """Around both jumps, a second apart and half an hour apart, in three zones."""
    for jump in JUMPS:
        for seconds in (-1_800, -1, 0, 1, 1_800, 3_599, 3_600):
            for zone in ZONES:
                yield (jump + timedelta(seconds=seconds, microseconds=250)).astimezone(zone)


def decisions_kept(folder: Path) -> object:
    """Ids, order and times of decisions, in the log and as a table of the store."""
    said = [
        decide("ignore", face_id=f"f{number}", annotator="Zoë", decided_at=moment)
        for number, moment in enumerate(moments())
    ]
    random.Random(3).shuffle(said)
    log = DecisionLog(f"sqlite:///{folder / 'core.sqlite3'}")
    log.append(said)
    log.append(said)
    found = list(log.all())
    log.close()
    (folder / "table").mkdir()
    write_table(folder / "table" / "decisions.parquet", Decision, found)
    again = list(read_table(folder / "table", "decisions", Decision))
    table = hashlib.sha256((folder / "table" / "decisions.parquet").read_bytes()).hexdigest()
    lines = [[each.decision_id, each.face_id, each.decided_at.isoformat()] for each in found]
    return {"log": lines, "table": table, "is_same": again == found}


def latest_run(folder: Path) -> object:
    """The newest run is the one that was published last, whatever a local clock said then."""
    ledger = Ledger(f"sqlite:///{folder / 'core.sqlite3'}")
    for number, moment in enumerate(sorted(moments())):
        ledger.record(
            StageRun(
                run_key=f"k{number:02d}", stage="detect", params={}, inputs={}, outputs={}, counts={}, timings={},
                published_at=moment, wall_s=0.5,
            )
        )  # fmt: skip
    newest = ledger.latest("detect")
    ledger.close()
    return newest and [newest.run_key, newest.published_at.isoformat()]


def names(folder: Path) -> object:
    """Twins in NFC and NFD are two files, and sort the same everywhere."""
    source = folder / "source"
    source.mkdir()
    for form in ("NFC", "NFD"):
        (source / f"{unicodedata.normalize(form, 'Zoë é')}.jpg").write_bytes(form.encode())
    for name in ("Ärger.jpg", "a.jpg", "B.jpg", "小.jpg", "ı.jpg", "I.jpg"):
        (source / name).touch()
    found = [each.path for each in open_source(str(source)).locations()]
    return {"paths": [path.encode().hex() for path in found], "digest": digest_of([*found])}


def ids() -> object:
    said: JsonValue = {"ß": 1.5, "a": [1e-7, 1234567.125, "ǆ"], "T": "İ".lower()}
    return [face_id("a" * 64, 1_250, "b" * 64, (1.0, 2.5, 3.25, 4.0)), canonical_json(said), "STRASSE".casefold()]


def leases(folder: Path) -> object:
    """A lease is held by one, however the clock jumps; who was taken for dead cannot publish."""
    url = f"sqlite:///{folder / 'leases.sqlite3'}"
    one, other = Leases(url, "elsewhere:1:1"), Leases(url, "elsewhere:2:2")
    said = []
    for jump_s in (0, -HOURS_36, HOURS_36):
        _set_clock(0)
        mine = one.take(f"work {jump_s}", 60)
        _set_clock(jump_s)
        took = _take(other, mine.name)
        try:
            with one.fenced(mine):
                holds = True
        except LeaseLost:
            holds = False
        said.append([took, holds])
    for jump in JUMPS:  # the local clock jumps by an hour while two seconds go by
        _set_clock(int(jump.timestamp() - _true_now() - 1))
        mine = one.take(f"around {jump.isoformat()}", 60)
        _set_clock(int(jump.timestamp() - _true_now() + 1))
        said.append([_take(other, mine.name), True])
    _set_clock(0)
    one.close()
    other.close()
    return said


def _take(by: Leases, name: str) -> bool:
    try:
        by.take(name, 60)
    except LeaseHeld:
        return False
    return True


def _set_clock(seconds: int) -> None:
    ctypes.CDLL(None).set_clock_shift(ctypes.c_long(seconds))


def _true_now() -> float:
    _set_clock(0)
    return time.time()


def _keep_local_times() -> None:
    """The mutant: times are kept as a local clock shows them."""
    Moment.process_bind_param = (  # type: ignore[method-assign]
        lambda self, value, dialect: None if value is None else value.astimezone().replace(tzinfo=None)
    )


def _ask_own_clock() -> None:
    """The mutant: leases run out by the clock of whoever asks."""
    setattr(facestore.leases, "database_now", lambda session: datetime.now(UTC))  # noqa: B010  # it is imported there


def main(folder: Path, *words: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if words[:1] == ("take",):
        if "own_clock" in words:
            _ask_own_clock()
        asking = Leases(words[1], "elsewhere:9:9")
        said: object = _take(asking, words[2])
        asking.close()
    else:
        if "naive" in words:
            _keep_local_times()
        said = {
            "ids": ids(),
            "decisions": decisions_kept(folder),
            "latest": latest_run(folder),
            "names": names(folder),
            "leases": leases(folder) if hasattr(ctypes.CDLL(None), "set_clock_shift") else None,
        }
    sys.stdout.write(json.dumps(said, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
