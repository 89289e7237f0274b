"""Bar B16, long form: withdrawals raced with publications by two processes; no publication follows a withdrawal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.facestore.consent_world import a_consent

from facestore.consents import Consents

LONG = os.environ.get("FACELOOP_LONG") == "1"
ROUNDS = 300 if LONG else 10

PACKER = """
import sys
from facestore.catalogue import open_catalogue, writing
from facestore.consentbasis import Material, prove, read_basis
from facestore.consents import epochs
from facestore.errors import ConsentChanged
url, rounds, is_proved = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "proved"
engine = open_catalogue(url, "packer")
print("ready", flush=True)
for number in range(rounds):
    name = sys.stdin.readline().strip()
    material = Material(consents={"f": (name,)}, batches={})
    with writing(engine, "begin") as session:
        basis = read_basis(session, ("training",), material, is_enforced=False)
    print("begun", flush=True)
    used = not basis.withheld.of("training")
    try:
        if not is_proved:
            sys.stdin.readline()  # the mutant looked before: whatever comes now goes unseen
        with writing(engine, "publish") as session:
            if is_proved:
                prove(session, basis)
            stands = epochs(session, [name]) == basis.epochs
            print("right" if stands or not used else "wrong", flush=True)
    except ConsentChanged:
        print("changed", flush=True)
"""


def _race(url: str, rounds: int, mode: str) -> list[str]:
    """What came of each round: the other process withdraws as soon as the packer has read that it may."""
    consents = Consents(url)
    consents.append([a_consent(f"c{number}") for number in range(rounds)])
    packer = subprocess.Popen(
        [sys.executable, "-c", PACKER, url, str(rounds), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert packer.stdin is not None and packer.stdout is not None
    assert packer.stdout.readline() == "ready\n"
    came = []
    for number in range(rounds):
        packer.stdin.write(f"c{number}\n")
        packer.stdin.flush()
        assert packer.stdout.readline() == "begun\n"
        consents.withdraw(consent_id=f"c{number}", reason="person_asked", by="desk")
        if mode != "proved":
            packer.stdin.write("go\n")
            packer.stdin.flush()
        came.append(packer.stdout.readline().strip())
    packer.stdin.close()
    packer.stdout.close()
    assert packer.wait(timeout=60) == 0
    consents.close()
    return came


@pytest.mark.integration
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_no_publication_follows_a_withdrawal_whoever_is_first(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/c.sqlite3" if database == "sqlite" else request.getfixturevalue("postgres_url")
    came = _race(url, ROUNDS, "proved")
    assert len(came) == ROUNDS
    assert set(came) <= {"changed", "right"}


@pytest.mark.integration
def test_the_mutant_that_does_not_look_in_the_transaction_is_caught(tmp_path: Path) -> None:
    assert _race(f"sqlite:///{tmp_path}/c.sqlite3", 3, "unproved") == ["wrong"] * 3
