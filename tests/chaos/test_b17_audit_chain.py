"""Bar B17: 1,000 random edits, deletes, reorders, insertions and truncations of an anchored audit log, 1,000 found."""

import os
import random
from hashlib import sha256
from pathlib import Path

import pytest
from tests.facestore.audit_world import PUBLIC, anchored_log, chained_anew, tampered
from tests.facestore.test_auditlog import found_of

import facestore.auditchain
from facestore.auditchain import check_chain
from facestore.errors import AuditBroken

CHANGES = 1_000 if os.environ.get("FACELOOP_LONG") else 30


def test_every_change_of_an_anchored_log_is_found(tmp_path: Path) -> None:
    assert found_of(tmp_path / "ledger.sqlite3", CHANGES, seed=17) == CHANGES


def test_entries_that_are_not_chained_let_changes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: the hash of an entry is that of the entry alone."""

    def unchained(previous_hash: str, said: str) -> str:
        return sha256(said.encode()).hexdigest()

    log, head = anchored_log(tmp_path / "ledger.sqlite3", 40)
    rows = list(log.entries())
    log.close()
    monkeypatch.setattr(facestore.auditchain, "entry_hash", unchained)
    rows = chained_anew(rows, unchained)
    chance, missed = random.Random(17), 0
    for _ in range(200):
        spoiled = tampered(rows, chance, unchained)
        try:
            found = check_chain(spoiled, [])
            missed += found.entries == len(rows) and found.entry_hash == rows[-1].entry_hash  # as its anchor says
        except AuditBroken:
            continue
    assert head.public_key == PUBLIC
    assert missed > 0
