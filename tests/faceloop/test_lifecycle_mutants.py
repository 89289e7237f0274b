"""Bar B8 has mutants: a product that breaks one of its promises to those who label is found by the histories."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from faceloop.clustering.constraints import Constraints
from faceloop.clustering.partition import partition
from faceloop.identity import lifecycle
from faceloop.identity.earlier import Earlier
from faceloop.identity.naming import identity_rows
from faceloop.identity.standing import standing_of
from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision, IdentityEvent
from facestore.identitylog import IdentityLog
from facestore.records import Identity

from . import lifecycle_world
from .test_lifecycle_machine import Lifecycle

Patch = Callable[[pytest.MonkeyPatch], None]
NOTHING_BEFORE = Earlier(identities={}, identity_of={}, former={}, events_seen=frozenset())


def _clusters_do_not_hear(patch: pytest.MonkeyPatch) -> None:
    none = Constraints(must_link=np.empty((0, 2), np.int64), cannot_link=np.empty((0, 2), np.int64))
    patch.setattr(lifecycle_world, "partition", lambda **named: partition(**{**named, "constraints": none}))


def _labels_do_not_hear(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lifecycle, "standing_of", lambda _, **named: standing_of([], **named))


def _a_word_taken_back_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    real = DecisionLog.append

    def append(log: DecisionLog, decisions: Sequence[Decision]) -> int:
        real(log, [said for said in decisions if said.verb != "retract"])
        return len(decisions)

    patch.setattr(DecisionLog, "append", append)


def _identities_are_named_anew(patch: pytest.MonkeyPatch) -> None:
    def rows(*words: Any) -> list[Identity]:
        sightings, labels, named, replayed, _, events = words
        return identity_rows(sightings, labels, named, replayed, NOTHING_BEFORE, events)

    patch.setattr(lifecycle, "identity_rows", rows)


def _an_event_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = IdentityLog.append

    def append(log: IdentityLog, events: Sequence[IdentityEvent], decisions: Sequence[Decision]) -> int:
        real(log, [replace(event, face_ids=()) for event in events], decisions)
        return len(events)

    patch.setattr(IdentityLog, "append", append)


@pytest.fixture
def clusters_afresh() -> Iterator[None]:
    """What a mutant clustered is nobody else's."""
    lifecycle_world.cluster_faces.cache_clear()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)
    lifecycle_world.cluster_faces.cache_clear()


@pytest.mark.usefixtures("clusters_afresh")
@pytest.mark.parametrize(
    ("mutant", "check"),
    [
        (_clusters_do_not_hear, "_check_constraints"),
        (_labels_do_not_hear, "_check_labels"),
        (_a_word_taken_back_is_not_kept, "no_decision_is_lost"),
        (_identities_are_named_anew, "_publish"),
        (_an_event_is_forgotten, "no_decision_is_lost"),
    ],
)
def test_a_promise_that_is_broken_is_found(
    mutant: Patch, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lifecycle, "empty_log", tmp_path / "empty.sqlite3", raising=False)
    IdentityLog(f"sqlite:///{Lifecycle.empty_log}").close()
    some = settings(
        max_examples=200,
        stateful_step_count=8,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    mutant(monkeypatch)
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(Lifecycle, settings=some)
    assert check in {step.name for step in caught.traceback}
