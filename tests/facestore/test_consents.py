"""Consents and the gate (bar B16): nothing is used outside its purpose or after a withdrawal, also one that races."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facestore.catalogue import open_catalogue, reading, writing
from facestore.consentbasis import Material, prove, read_basis
from facestore.consenting import PURPOSES, Purpose, consents_named
from facestore.consents import Consents, epochs, may
from facestore.errors import ConsentChanged, DataError, StoreError

from .consent_world import LONG_AGO, World, a_consent

LONG = os.environ.get("FACELOOP_LONG") == "1"
JOBS = 1_000 if LONG else 60
_scopes = count()
Say = tuple[str, tuple[str, ...], bool]

consent_ids = st.sampled_from([f"c{number}" for number in range(4)])
says = st.tuples(consent_ids, st.lists(st.sampled_from(PURPOSES), unique=True, max_size=6).map(tuple), st.booleans())
footages = st.dictionaries(
    st.sampled_from([f"f{number}" for number in range(5)]),
    st.lists(st.sampled_from(["c0", "c1", "c2", "c3", "unheard_of"]), unique=True, max_size=2).map(tuple),
    min_size=1,
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/catalogue.sqlite3"
    else:
        server = request.getfixturevalue("postgres_url")
        scope = f"consents_{os.getpid()}_{next(_scopes)}"
        engine = open_catalogue(server, "scopes")
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {scope}")
        engine.dispose()
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{scope}"


def _all(world: World, said: list[Say]) -> None:
    for consent_id, purposes, has_expired in said:
        world.say(consent_id, purposes, has_expired=has_expired and bool(purposes))


@settings(max_examples=JOBS, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    before=st.lists(says, max_size=6), meanwhile=st.lists(says, max_size=2), late=st.lists(says, max_size=2),
    footage=footages, purpose=st.sampled_from(PURPOSES), is_enforced=st.booleans(),
)  # fmt: skip
def test_no_job_uses_footage_outside_its_purpose_whatever_is_said_before_and_while_it_works(
    before: list[Say], meanwhile: list[Say], late: list[Say], footage: dict[str, tuple[str, ...]], purpose: Purpose,
    is_enforced: bool,
) -> None:  # fmt: skip
    world = World()
    try:
        _all(world, before)
        world.job(
            footage,
            purpose,
            meanwhile=lambda: _all(world, meanwhile),
            late=lambda: _all(world, late),
            is_enforced=is_enforced,
        )
        assert world.wrongly_used == []
        # Undisturbed it is published, and of what is allowed nothing is left out.
        done = world.job(footage, purpose, meanwhile=_nothing, late=_nothing, is_enforced=is_enforced)
        assert done and world.wrongly_used == []
    finally:
        world.close()


def _nothing() -> None:
    pass


def test_a_gate_that_looks_before_the_transaction_is_caught() -> None:
    """The mutant: it looks, then somebody withdraws, then it publishes."""
    world = World()
    world.say("c0", PURPOSES)
    done = world.job(
        {"f0": ("c0",)}, "training", meanwhile=_nothing, late=lambda: world.say("c0", ()), is_enforced=False,
        is_proved_outside=True,
    )  # fmt: skip
    assert done
    assert world.wrongly_used == [("f0", "training")]
    world.close()


def test_the_same_withdrawal_stops_the_gate_inside_the_transaction() -> None:
    world = World()
    world.say("c0", PURPOSES)
    done = world.job(
        {"f0": ("c0",)}, "training", meanwhile=_nothing, late=lambda: world.say("c0", ()), is_enforced=False
    )
    assert not done
    assert (world.published, world.wrongly_used) == (0, [])
    world.close()


@pytest.mark.integration
def test_a_withdrawal_that_was_taken_back_in_time_still_stops_the_run_that_read_before_it(url: str) -> None:
    consents, material = Consents(url), Material(consents={"f": ("c",)}, batches={})
    first = a_consent("c")
    consents.append([first])
    engine = open_catalogue(url, "runs")
    with writing(engine, "begin") as session:
        basis = read_basis(session, ("training",), material, is_enforced=False)
    assert consents.withdraw(consent_id="c", reason="person_asked", by="desk") == ("c",)
    consents.append([a_consent("c", said_at=consents.now())])
    with writing(engine, "publish") as session, pytest.raises(ConsentChanged, match="run it again"):
        prove(session, basis)
    with reading(engine, "look") as session:
        assert may(session, ["c", "d"], "training", datetime.now(UTC)) == {"c"}
        assert epochs(session, ["c"])["c"] > basis.epochs["c"]
    engine.dispose()
    consents.close()


@pytest.mark.integration
def test_what_was_said_twice_is_written_once_and_rows_cannot_be_changed(url: str) -> None:
    consents, event = Consents(url), a_consent("c", ("training",))
    assert consents.append([event, event]) == 1
    assert consents.append([event]) == 0
    engine = open_catalogue(url, "consents")
    for statement in ("UPDATE consent_event SET kind = 'given'", "DELETE FROM consent_purpose"):
        with pytest.raises(StoreError, match="append-only"), writing(engine, "change") as session:
            session.connection().exec_driver_sql(statement)
    engine.dispose()
    assert [said.kind for said in consents.history("c")] == ["given"]
    consents.close()


def test_a_consent_allows_its_purposes_between_its_two_times_and_no_others(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/c.sqlite3"
    consents = Consents(url)
    start, end = LONG_AGO, LONG_AGO + timedelta(days=10)
    consents.append([a_consent("c", ("training",), said_at=start, expires_at=end)])
    engine = open_catalogue(url, "consents")
    with reading(engine, "look") as session:
        assert may(session, ["c"], "training", start - timedelta(microseconds=1)) == set()
        assert may(session, ["c"], "training", start) == {"c"}
        assert may(session, ["c"], "annotation", start) == set()
        assert may(session, ["c"], "training", end) == set()
    engine.dispose()
    consents.close()


def test_a_list_that_is_imported_again_under_another_account_brings_back_nothing_that_was_withdrawn(
    tmp_path: Path,
) -> None:
    consents = Consents(f"sqlite:///{tmp_path}/c.sqlite3")
    listed = a_consent("c")
    consents.append([listed])
    consents.withdraw(consent_id="c", reason="person_asked", by="desk")
    assert consents.append([a_consent("c", said_at=listed.said_at, said_by="somebody else")]) == 0
    assert consents.standings()["c"].last.kind == "withdrawn"
    assert consents.append([a_consent("c", said_at=consents.now())]) == 1, "given anew, it counts"
    assert consents.standings()["c"].last.kind == "given"
    consents.close()


def test_a_consent_that_was_narrowed_is_not_widened_by_the_list_of_before(tmp_path: Path) -> None:
    consents = Consents(f"sqlite:///{tmp_path}/c.sqlite3")
    wide = a_consent("c")
    consents.append([wide, a_consent("c", ("detect_only",))])
    assert consents.append([a_consent("c", said_at=wide.said_at, said_by="somebody else")]) == 0
    assert consents.standings()["c"].last.purposes == ("detect_only",)
    consents.close()


def test_a_consent_of_another_subject_under_a_known_id_is_refused(tmp_path: Path) -> None:
    consents = Consents(f"sqlite:///{tmp_path}/c.sqlite3")
    consents.append([a_consent("c")])
    with pytest.raises(DataError, match="another subject"):
        consents.append([a_consent("c", subject_ref="f" * 64)])
    with pytest.raises(DataError, match="does not match its id"):
        consents.append([replace(a_consent("d"), controller="Somebody else")])
    with pytest.raises(DataError, match="no such consent"):
        consents.withdraw(consent_id="nobody", reason="person_asked", by="desk")
    consents.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("consent_id", "Ann Example"), ("subject_ref", "ann"), ("purposes", ("anything",)), ("purposes", ()),
        ("data_categories", ()), ("notice_sha256", "a"), ("jurisdiction", "Germany"), ("method", "Signed form"),
        ("said_at", datetime(2020, 1, 1)), ("expires_at", LONG_AGO - timedelta(days=1)), ("controller", ""),  # noqa: DTZ001
    ],
)  # fmt: skip
def test_a_consent_that_could_not_be_shown_to_anybody_is_refused(field: str, value: object) -> None:
    with pytest.raises(DataError, match="must be"):
        a_consent(**{"consent_id": "c", field: value})  # type: ignore[arg-type]


def test_footage_of_several_people_names_all_their_consents() -> None:
    assert consents_named(" b; a;;b ") == ("a", "b")
    assert consents_named(None) == ()
