"""The audit log's chain as values: what an entry says, its hash over all before it, signed heads, and the check.

h(i) = SHA-256(h(i-1) ‖ canonical JSON of entry i), after Schneier and Kelsey, "Secure Audit Logs to Support Computer
Forensics" (1999). A bare chain can be made anew by whoever owns the database: so its head is signed and put elsewhere.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from facestore.errors import AuditBroken, DataError
from facestore.ids import JsonValue, canonical_json

START = "0" * 64  # what stands before the first entry
_CODE = re.compile(r"[a-z][a-z0-9_]{0,39}(?:[ .:-][a-z0-9_]{1,40}){0,3}")
_WORD = re.compile(r"[a-z][a-z0-9_]{0,39}(?:[:-][a-z0-9_]{1,40})?")  # no blank, no dot: no sentence, no file name
_WHO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,79}")
_ID = re.compile(r"(?:[a-z]{1,16}-)?[0-9a-f]{8,64}|[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.+-]{5,24}Z?)?")
_REF = re.compile(r"[0-9a-f]{64}")
_MOST = 64  # things in a group: a list of more numbers may be a vector
_DEEPEST = 3
_VECTOR = 8  # so many fractions in a row are one


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditNote:
    """Who did what for which purpose, before it stands in the log.

    `action` and `purpose` are codes (`review push`, `labelling`), `subject_ref` a keyed hash of whom it is about.
    `what` holds codes, ids, times and numbers. Raises DataError for anything else: names, paths and vectors stay out.
    """

    who: str
    action: str
    purpose: str
    subject_ref: str | None
    what: Mapping[str, JsonValue]

    def __post_init__(self) -> None:
        if not _WHO.fullmatch(self.who):
            raise DataError("who of an audit entry must be an account's id without blanks; set FACELOOP_WHO")
        for word in (self.action, self.purpose):
            if not _CODE.fullmatch(word):
                raise DataError("action and purpose of an audit entry are codes in lower case; nothing was recorded")
        if self.subject_ref is not None and not _REF.fullmatch(self.subject_ref):
            raise DataError("an audit entry names a subject by its keyed hash only; use refs.subject_ref")
        _refuse_content(dict(self.what), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An entry of the log: number (from 1), time, what was noted, and the hashes that chain it."""

    seq: int
    at: datetime  # UTC, the database's clock
    who: str
    action: str
    purpose: str
    subject_ref: str | None
    what: Mapping[str, JsonValue]
    previous_hash: str
    entry_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """A signed statement: the log had so many entries, and the last one this hash."""

    entries: int
    entry_hash: str
    at: datetime  # UTC
    public_key: str  # hex
    signature: str  # hex

    def message(self) -> bytes:
        """The bytes that are signed."""
        said: JsonValue = {"entries": self.entries, "entry_hash": self.entry_hash, "at": spelled(self.at)}
        return b"faceloop audit head\n" + canonical_json(said).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """What a check found to hold."""

    entries: int
    entry_hash: str
    signed_entries: int  # up to the last head that was checked; what came after could still be made anew
    heads: int


def spelled(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def entry_hash(previous_hash: str, said: str) -> str:
    """The hash of an entry (see `said_of`) behind those before it."""
    return sha256(bytes.fromhex(previous_hash) + said.encode()).hexdigest()


def said_of(
    *, seq: int, at: datetime, who: str, action: str, purpose: str, subject_ref: str | None, what: JsonValue
) -> str:
    """Canonical JSON of an entry: all it says, but not its hashes."""
    return canonical_json(
        {
            "seq": seq,
            "at": spelled(at),
            "who": who,
            "action": action,
            "purpose": purpose,
            "subject_ref": subject_ref,
            "what": what,
        }
    )


def check_chain(
    entries: Iterable[AuditEntry], heads: Iterable[AuditHead], *, public_keys: Collection[str] = ()
) -> ChainState:
    """Compare a log with itself and with heads that were signed earlier, the more elsewhere they were kept the better.

    `public_keys` (hex): who may have signed; none given: any, which a forger can do too. Raises AuditBroken at the
    first entry that was changed, removed, put in or moved, at a cut end, and at a head that is not signed.
    """
    expected: dict[int, list[AuditHead]] = {}
    signed, count = 0, 0
    for head in heads:
        _check_head(head, public_keys)
        expected.setdefault(head.entries, []).append(head)
        signed, count = max(signed, head.entries), count + 1
    seq, last = 0, START
    _compare(expected.pop(0, []), last)
    for entry in entries:
        seq += 1
        if entry.seq != seq:
            raise AuditBroken(f"entry {seq} of the audit log is missing or was moved; restore the log, look at who")
        said = said_of(
            seq=entry.seq,
            at=entry.at,
            who=entry.who,
            action=entry.action,
            purpose=entry.purpose,
            subject_ref=entry.subject_ref,
            what=dict(entry.what),
        )
        if entry.previous_hash != last or entry.entry_hash != entry_hash(last, said):
            raise AuditBroken(f"entry {seq} of the audit log is not what was written; restore the log, look at who")
        last = entry.entry_hash
        _compare(expected.pop(seq, []), last)
    if expected:
        raise AuditBroken(
            f"the audit log ends at entry {seq} and {max(expected)} entries were signed; restore the log, look at who"
        )
    return ChainState(entries=seq, entry_hash=last, signed_entries=signed, heads=count)


def _check_head(head: AuditHead, public_keys: Collection[str]) -> None:
    from facestore.ciphers import is_signed, key_name

    try:
        public, signature = bytes.fromhex(head.public_key), bytes.fromhex(head.signature)
    except ValueError:
        raise AuditBroken(f"the head at {head.entries} entries is not hexadecimal; fetch the anchors again") from None
    if public_keys and head.public_key not in public_keys:
        raise AuditBroken(f"the head at {head.entries} entries is signed by an unknown key {key_name(public)}")
    if not is_signed(public, head.message(), signature):
        raise AuditBroken(f"the head at {head.entries} entries is not signed by its key; it was changed")


def _compare(heads: Iterable[AuditHead], last: str) -> None:
    for head in heads:
        if head.entry_hash != last:
            raise AuditBroken(
                f"up to entry {head.entries} the audit log is another than the one that was signed; restore the log"
            )


def head_text(head: AuditHead) -> str:
    """One line of JSON, for a file elsewhere."""
    said: JsonValue = {
        "version": 1,
        "entries": head.entries,
        "entry_hash": head.entry_hash,
        "at": spelled(head.at),
        "public_key": head.public_key,
        "signature": head.signature,
    }
    return canonical_json(said) + "\n"


def head_from(text: str) -> AuditHead:
    """Raises AuditBroken for a text that `head_text` did not write."""
    try:
        said = json.loads(text)
        if said.pop("version") != 1:
            raise ValueError("another version")
        return AuditHead(**{**said, "at": datetime.fromisoformat(said["at"]), "entries": int(said["entries"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AuditBroken("an anchor is not what was written; fetch the anchors again") from error


def _refuse_content(value: JsonValue, depth: int) -> None:
    match value:
        case None | bool() | int():
            return
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise DataError("an audit entry holds finite numbers only; nothing was recorded")
        case str():
            if not (_ID.fullmatch(value) or _WORD.fullmatch(value)):
                raise DataError("an audit entry holds codes, ids and numbers, no other text; nothing was recorded")
        case list():
            if len(value) > _MOST or depth >= _DEEPEST or sum(isinstance(one, float) for one in value) >= _VECTOR:
                raise DataError("an audit entry holds no long lists and no vectors; count them instead")
            for one in value:
                _refuse_content(one, depth + 1)
        case dict():
            if len(value) > _MOST or depth >= _DEEPEST:
                raise DataError("an audit entry holds few figures; count instead")
            for name, one in value.items():
                if not _WORD.fullmatch(name):
                    raise DataError("what an audit entry says is named by codes; nothing was recorded")
                _refuse_content(one, depth + 1)
