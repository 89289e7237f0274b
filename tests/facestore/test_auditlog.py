"""The audit log: what it refuses to hold, and that no change of it stays unseen."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.facestore.audit_world import PUBLIC, SIGNER, anchored_log, chained_anew, changed, notes, overwrite, tampered

from facestore.auditanchors import put_anchor, read_anchors
from facestore.auditchain import AuditEntry, AuditHead, AuditNote, check_chain, head_from, head_text
from facestore.auditlog import AuditLog
from facestore.ciphers import Signer
from facestore.errors import AuditBroken, DataError, FaceloopError, StoreError


def test_what_was_appended_is_read_back_and_holds(tmp_path: Path) -> None:
    log, head = anchored_log(tmp_path / "ledger.sqlite3", 5)
    entry = log.append(who="uid:0", action="erase", purpose="data_subject_request", subject_ref="ab" * 32, what={})
    assert [one.seq for one in log.entries()] == [1, 2, 3, 4, 5, 6]
    assert list(log.entries(5)) == [entry]
    state = log.verify([head], public_keys=[PUBLIC])
    assert (state.entries, state.signed_entries) == (6, 5)
    log.close()


def test_an_unchanged_log_is_signed_once(tmp_path: Path) -> None:
    log, head = anchored_log(tmp_path / "ledger.sqlite3", 2)
    assert log.sign_head(SIGNER) == head
    assert put_anchor(str(tmp_path / "elsewhere"), head) == put_anchor(str(tmp_path / "elsewhere"), head)
    assert list(read_anchors(str(tmp_path / "elsewhere"))) == [head]
    assert head_from(head_text(head)) == head
    log.close()


def test_the_database_itself_refuses_to_change_an_entry(tmp_path: Path) -> None:
    import sqlite3

    anchored_log(tmp_path / "ledger.sqlite3", 2)[0].close()
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as raw:
        for statement in ("UPDATE audit_entry SET who = 'x'", "DELETE FROM audit_entry", "DELETE FROM audit_head"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statement)
    raw.close()


@given(st.integers(0, 1 << 62))
def test_any_tampering_before_an_anchor_is_found(seed: int) -> None:
    rows = chained_anew([*_ENTRIES])
    head = _signed(rows[-1].entry_hash, len(rows))
    assert check_chain(rows, [head], public_keys=[PUBLIC]).entries == len(rows)
    spoiled = tampered(rows, random.Random(seed))
    with pytest.raises(AuditBroken):
        check_chain(spoiled, [head], public_keys=[PUBLIC])


def test_without_an_anchor_a_chain_made_anew_passes(tmp_path: Path) -> None:
    """Why heads are kept elsewhere."""
    rows = chained_anew([*_ENTRIES])
    forged = chained_anew([changed(rows[0], who="uid:9"), *rows[1:]])
    assert check_chain(forged, []).signed_entries == 0
    with pytest.raises(AuditBroken):
        check_chain(forged, [_signed(rows[-1].entry_hash, len(rows))])


def test_a_head_that_another_signed_is_refused() -> None:
    rows = chained_anew([*_ENTRIES])
    forger = Signer(bytes(32))
    unsigned = _signed(rows[-1].entry_hash, len(rows))
    forged = _head(unsigned, public_key=forger.public_key().hex(), signature=forger.sign(unsigned.message()).hex())
    assert check_chain(rows, [forged]).heads == 1  # by its own key it is signed
    with pytest.raises(AuditBroken, match="unknown key"):
        check_chain(rows, [forged], public_keys=[PUBLIC])
    with pytest.raises(AuditBroken, match="not signed"):
        check_chain(rows, [_head(unsigned, entries=2)], public_keys=[PUBLIC])


@pytest.mark.parametrize(
    "what",
    [
        {"name": "Ada Lovelace"}, {"file": "/home/x/a.jpg"}, {"file": "a.jpg"}, {"text": "é"}, {"vector": [0.1] * 8},
        {"ids": list(range(100))}, {"Name": 1}, {"a": {"b": {"c": {"d": 1}}}}, {"x": float("nan")}, {"x": "A"},
    ],
)  # fmt: skip
def test_names_paths_and_vectors_stay_out(what: dict[str, object]) -> None:
    with pytest.raises(DataError):
        AuditNote(who="uid:0", action="erase", purpose="x", subject_ref=None, what=what)  # type: ignore[arg-type]


@given(st.text(min_size=1))
def test_no_text_with_a_capital_blank_or_slash_gets_in(text: str) -> None:
    spoiled = f"{text} /X"
    for values in ({"who": spoiled}, {"action": spoiled}, {"purpose": spoiled}, {"subject_ref": spoiled},
                   {"what": {"said": spoiled}}, {"what": {spoiled: 1}}):  # fmt: skip
        given: dict[str, object] = {"who": "uid:0", "action": "erase", "purpose": "x", "subject_ref": None, "what": {}}
        with pytest.raises(DataError):
            AuditNote(**{**given, **values})  # type: ignore[arg-type]


def found_of(path: Path, count: int, seed: int) -> int:
    """How many of `count` random changes in the database are found by a log that is opened on it."""
    log, head = anchored_log(path, 40)
    rows, chance, found = list(log.entries()), random.Random(seed), 0
    log.close()
    for _ in range(count):
        overwrite(path, tampered(rows, chance))
        again = AuditLog(f"sqlite:///{path}")
        try:
            again.verify([head], public_keys=[PUBLIC])
        except AuditBroken:
            found += 1
        finally:
            again.close()
    overwrite(path, rows)
    again = AuditLog(f"sqlite:///{path}")
    assert again.verify([head], public_keys=[PUBLIC]).entries == 40  # the check does not cry always
    again.close()
    return found


def test_changes_in_the_database_itself_are_found(tmp_path: Path) -> None:
    assert found_of(tmp_path / "ledger.sqlite3", 40, seed=1) == 40


@pytest.mark.integration
def test_a_log_in_postgresql_holds_too(postgres_url: str) -> None:
    log = AuditLog(postgres_url)
    log.append_all(notes(3))
    assert log.verify([log.sign_head(SIGNER)], public_keys=[PUBLIC]).signed_entries == 3
    log.close()


def test_an_audit_log_that_is_no_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("no database")
    with pytest.raises((StoreError, FaceloopError)):
        AuditLog(f"sqlite:///{tmp_path / 'x'}")


def _head(head: AuditHead, **values: object) -> AuditHead:
    return AuditHead(**{**{name: getattr(head, name) for name in AuditHead.__slots__}, **values})


def _signed(last: str, entries: int) -> AuditHead:
    unsigned = AuditHead(entries=entries, entry_hash=last, at=_ENTRIES[0].at, public_key=PUBLIC, signature="")
    return _head(unsigned, signature=SIGNER.sign(unsigned.message()).hex())


def _sample() -> list[AuditEntry]:
    log = AuditLog("sqlite://")
    made = [*log.append_all(notes(12))]
    log.close()
    return made


_ENTRIES = _sample()
