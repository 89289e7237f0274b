"""An audit log, and what somebody who owns its database may do to it."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

from facestore.auditchain import START, AuditEntry, AuditHead, entry_hash, said_of
from facestore.auditlog import AuditLog, AuditNote
from facestore.ciphers import Signer
from facestore.ids import canonical_json

SIGNER = Signer(bytes(range(32)))
PUBLIC = SIGNER.public_key().hex()

Rows = list[AuditEntry]


def notes(count: int) -> list[AuditNote]:
    return [
        AuditNote(
            who=f"uid:{number % 3}",
            action="review push",
            purpose="labelling",
            subject_ref=None,
            what={"crops": number, "state": "ended"},
        )
        for number in range(count)
    ]


def anchored_log(path: Path, entries: int) -> tuple[AuditLog, AuditHead]:
    log = AuditLog(f"sqlite:///{path}")
    log.append_all(notes(entries))
    return log, log.sign_head(SIGNER)


def changed(entry: AuditEntry, **values: object) -> AuditEntry:
    return AuditEntry(**{**{name: getattr(entry, name) for name in AuditEntry.__slots__}, **values})


def chained_anew(rows: Rows, hash_of: Callable[[str, str], str] = entry_hash) -> Rows:
    """The rows with numbers and hashes that fit one another: what an owner of the database can always make."""
    last, made = START, []
    for seq, row in enumerate(rows, start=1):
        said = said_of(seq=seq, at=row.at, who=row.who, action=row.action, purpose=row.purpose,
                       subject_ref=row.subject_ref, what=dict(row.what))  # fmt: skip
        made.append(changed(row, seq=seq, previous_hash=last, entry_hash=hash_of(last, said)))
        last = made[-1].entry_hash
    return made


def tampered(rows: Rows, chance: random.Random, hash_of: Callable[[str, str], str] = entry_hash) -> Rows:
    """One random edit, delete, reorder, insertion or truncation; half of the time the chain is made anew behind it."""
    rows, place = list(rows), chance.randrange(len(rows))
    match chance.randrange(5):
        case 0:
            field, value = chance.choice(
                [
                    ("who", "uid:9"),
                    ("action", "gallery show"),
                    ("purpose", "training"),
                    ("subject_ref", "a" * 64),
                    ("what", {"crops": -1}),
                    ("at", rows[place].at.replace(year=1999)),
                ]
            )
            rows[place] = changed(rows[place], **{field: value})
        case 1:
            del rows[place]
        case 2:
            other = chance.choice([number for number in range(len(rows)) if number != place])
            rows[place], rows[other] = rows[other], rows[place]
        case 3:
            rows.insert(place, changed(rows[place], who="uid:9"))
        case _:
            rows = rows[:place]
    return chained_anew(rows, hash_of) if chance.random() < 0.5 else rows


def overwrite(path: Path, rows: Rows) -> None:
    """Put rows into a SQLite file as its owner can: the guards go first."""
    with sqlite3.connect(path) as raw:
        for guard in ("no_update", "no_delete", "no_replace"):
            raw.execute(f"DROP TRIGGER IF EXISTS audit_entry_{guard}")
        raw.execute("DELETE FROM audit_entry")
        taken, before = set[str](), set[str]()  # both columns are unique
        for number, row in enumerate(rows, start=1):  # as a list: the number says the place
            own = row.entry_hash if row.entry_hash not in taken else f"{number:064x}"
            taken.add(row.entry_hash)
            raw.execute(
                "INSERT INTO audit_entry (seq, entry_hash, previous_hash, at, who, action, purpose, subject_ref, what) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    own,
                    row.previous_hash if row.previous_hash not in before else f"{number:064x}",
                    row.at.replace(tzinfo=None).isoformat(" ", "microseconds"),
                    row.who,
                    row.action,
                    row.purpose,
                    row.subject_ref,
                    canonical_json(dict(row.what)),
                ),
            )
            before.add(row.previous_hash)
    raw.close()
