"""The promise, tried on thousands of histories: no decision is lost, none is violated, an undo is exact."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from faceloop.identity.earlier import Earlier
from faceloop.identity.edits import Author, Known, LabelledFace, Plan, plan_merge, plan_split, plan_undo
from faceloop.identity.lifecycle import Identified, Rules, identify_faces
from faceloop.identity.naming import minted
from faceloop.identity.replay import ReplayedLabels, replay
from faceloop.identity.resolve import Resolution, aliases_of, resolve
from facestore.decisionlog import DecisionLog
from facestore.decisions import Decision, IdentityEvent, Verb, decide
from facestore.errors import DataError
from facestore.identitylog import IdentityLog

from .lifecycle_world import Clustering, Recogniser, cluster_faces, detect, sights

SEQUENCES, STEPS = 1_000, 8
START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = Rules(min_faces_alone=3, min_confidence=0.2, accept_threshold=0.999)
numbers = st.integers(0, 30)
annotators = st.sampled_from(["ann", "bob"])


class Lifecycle(RuleBasedStateMachine):
    """One history. `empty_log` is a database with its tables made."""

    empty_log: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        shutil.copyfile(self.empty_log, Path(self.folder.name) / "log.sqlite3")
        url = f"sqlite:///{self.folder.name}/log.sqlite3"
        self.decision_log, self.identity_log = DecisionLog(url), IdentityLog(url)
        self.said: list[Decision] = []
        self.told: list[IdentityEvent] = []
        self.unread = True
        self.clock = count()
        self.version = 0
        self.ever_held: dict[str, set[str]] = {}  # identity → faces that it was ever given
        self.earlier = Earlier(identities={}, identity_of={}, former={}, events_seen=frozenset())

    def teardown(self) -> None:
        self.decision_log.close()
        self.identity_log.close()
        self.folder.cleanup()

    @initialize(seed=st.integers(0, 40))
    def begin(self, seed: int) -> None:
        self.recogniser = Recogniser(seed=seed, dim=8)
        self.faces = detect(0, set(), [])
        self.cluster()

    # What people and machines do.

    @rule()
    def cluster(self) -> None:
        found = self._cluster()
        self._check_constraints(found)
        self._publish(
            identify_faces(
                found.sightings,
                effective=self._resolution().effective,
                events=self.told,
                earlier=self.earlier,
                group_of_face={},
                rules=RULES,
            )
        )
        self._check_labels()

    @rule(verb=st.sampled_from(["same", "different"]), one=numbers, other=numbers, who=annotators)
    def say_pair(self, verb: Verb, one: int, other: int, who: str) -> None:
        first, second = self._face(one), self._face(other)
        if first != second:
            self._say(decide(verb, face_id=first, other_face_id=second, annotator=who, decided_at=self._now()))

    @rule(face=numbers, identity=numbers, who=annotators)
    def say_is(self, face: int, identity: int, who: str) -> None:
        if names := sorted(self.earlier.identities):
            name = names[identity % len(names)]
            self._say(decide("is", face_id=self._face(face), identity_id=name, annotator=who, decided_at=self._now()))

    @rule(verb=st.sampled_from(["not_a_face", "ignore"]), face=numbers, who=annotators)
    def say_out(self, verb: Verb, face: int, who: str) -> None:
        self._say(decide(verb, face_id=self._face(face), annotator=who, decided_at=self._now()))

    @precondition(lambda self: self.said)
    @rule(number=numbers, who=annotators)
    def retract(self, number: int, who: str) -> None:
        target = self.said[number % len(self.said)].decision_id
        self._say(decide("retract", retracts=target, annotator=who, decided_at=self._now()))

    @rule(one=numbers, other=numbers, who=annotators)
    def merge(self, one: int, other: int, who: str) -> None:
        if len(names := self._living()) > 1:
            survivor, absorbed = names[one % len(names)], names[(one + 1 + other % (len(names) - 1)) % len(names)]
            self._edit(lambda: plan_merge(self._known(), survivor, absorbed, author=self._author(who)))

    @rule(identity=numbers, face=numbers, whole=st.booleans(), who=annotators)
    def split(self, identity: int, face: int, whole: bool, who: str) -> None:
        if names := self._living():
            name = names[identity % len(names)]
            members = self._known().members(name)
            chosen = [members[face % len(members)].face_id]
            author = self._author(who)
            self._edit(lambda: plan_split(self._known(), name, chosen, author=author, whole_tracklets=whole))

    @precondition(lambda self: self.told)
    @rule(number=numbers, who=annotators)
    def undo(self, number: int, who: str) -> None:
        event = self.told[number % len(self.told)].event_id
        self._edit(lambda: self._plan_undo(event, who))

    @rule(seed=st.integers(0, 40), dim=st.sampled_from([6, 8, 16]))
    def embed_again(self, seed: int, dim: int) -> None:
        self.recogniser = Recogniser(seed=seed, dim=dim)
        self.cluster()

    @rule(hidden=st.sets(st.integers(0, len(sights()) - 1), max_size=4))
    def detect_again(self, hidden: set[int]) -> None:
        self.version += 1
        kept = {face.sight: face.seen.face_id for face, _ in self.faces}
        self.faces = detect(self.version, hidden, self.faces)
        assert all(kept.get(face.sight, face.seen.face_id) == face.seen.face_id for face, _ in self.faces)
        self.cluster()

    @rule(one=numbers, other=numbers, is_merge=st.booleans(), runs_between=st.booleans())
    def edit_and_undo(self, one: int, other: int, is_merge: bool, runs_between: bool) -> None:
        """Where nothing else happens in between, labels, states and ids are what they were, clustered again too. After
        a run in between the faces of the event are back; ids of others are matched by overlap as ever."""
        self.cluster()
        before, labels, told = self._view().identity_of, self.assignments, len(self.told)
        if is_merge:
            self.merge(one, other, "ann")
        else:
            self.split(one, other, True, "ann")
        if len(self.told) == told:
            return  # refused, or nobody to edit
        event = self.told[-1]
        if runs_between:
            self.cluster()
        assert self._edit(lambda: self._plan_undo(event.event_id, "bob"))
        now = self._view().identity_of
        assert {face: now[face] for face in event.face_ids if face in now}.items() <= before.items()
        if not runs_between:
            assert now == before
            self.cluster()
            assert self._view().identity_of == before
            assert self.assignments == labels

    # What always holds.

    @invariant()
    def no_decision_is_lost(self) -> None:
        if self.unread:  # the log is a real database: it is read when something was written
            in_order = sorted(self.said, key=lambda said: (said.decided_at, said.decision_id))
            assert list(self.decision_log.all()) == in_order
            assert list(self.identity_log.all()) == self.told
            self.unread = False

    @invariant()
    def every_face_is_in_one_living_identity_or_unknown(self) -> None:
        view = self._view()
        assert set(view.identity_of) <= {face.seen.face_id for face, _ in self.faces}
        assert set(view.identity_of.values()) <= minted(self.earlier, self.told)
        assert not set(view.identity_of.values()) & view.successor_of.keys()

    def _check_constraints(self, found: Clustering) -> None:
        labels, constraints = found.result.labels, found.evidence.constraints
        assert (labels[constraints.must_link[:, 0]] == labels[constraints.must_link[:, 1]]).all()
        assert (labels[constraints.cannot_link[:, 0]] != labels[constraints.cannot_link[:, 1]]).all()

    def _check_labels(self) -> None:
        """No standing decision is violated, except where a face is gone."""
        assert sorted(self.assignments) == sorted(face.seen.face_id for face, _ in self.faces)
        aliases = aliases_of(self.told)
        for said in self._resolution().effective:
            label = self.assignments.get(said.face_id or "")
            other = self.assignments.get(said.other_face_id or "")
            match said.verb:
                case "is" if label:
                    assert label.identity_id == aliases.get(said.identity_id or "", said.identity_id)
                    assert label.state == "confirmed"
                case "same" if label and other:
                    assert label.identity_id == other.identity_id
                case "different" if label and other:
                    assert label.identity_id is None or label.identity_id != other.identity_id
                case "not_a_face" if label:
                    assert (label.state, label.identity_id) == ("rejected", None)
                case "ignore" if label:
                    assert label.identity_id is None
                    assert label.state in {"ignored", "rejected"}, "another may have said that it is no face at all"

    # How the machine does it.

    def _cluster(self) -> Clustering:
        faces = tuple(face for face, _ in self.faces)
        return cluster_faces(faces, self.recogniser, self._resolution().effective, tuple(aliases_of(self.told).items()))

    def _publish(self, found: Identified) -> None:
        gone = found.standing.without_face  # a tie by way of a face that is gone holds for labels only
        assert gone or found.labelling.kept_apart == 0, "the clusters themselves keep people's word"
        known = minted(self.earlier, self.told)
        assert not set(found.named.matching.seed_of) & known, "an id is minted once"
        assert known <= {identity.identity_id for identity in found.identities}, "an id never disappears"
        self._remember(self._view().identity_of)
        named = {tie.identity_id for tie in found.standing.ties()}
        held: dict[str, set[str]] = {}
        for row in found.labelling.assignments:
            if row.identity_id is not None:
                held.setdefault(row.identity_id, set()).add(row.face_id)
        for name, faces in held.items():
            assert name not in self.ever_held or name in named or faces & self.ever_held[name], "an id is never reused"
        assert {identity.identity_id for identity in found.identities if identity.is_active} == set(held)
        self.assignments = {row.face_id: row for row in found.labelling.assignments}
        assert len(self.assignments) == len(found.labelling.assignments)
        self.earlier = Earlier(
            identities={identity.identity_id: identity for identity in found.identities},
            identity_of={row.face_id: row.identity_id for row in found.labelling.assignments if row.identity_id},
            former={row.face_id: row.identity_id for row in found.former if row.identity_id},
            events_seen=frozenset(event.event_id for event in self.told),
        )
        self._remember(self.earlier.identity_of)

    def _remember(self, identity_of: dict[str, str]) -> None:
        for face, name in identity_of.items():
            self.ever_held.setdefault(name, set()).add(face)

    def _view(self) -> ReplayedLabels:
        return replay(self.earlier.identity_of, self.told, seen=self.earlier.events_seen, former=self.earlier.former)

    def _resolution(self) -> Resolution:
        return resolve(self.said, aliases=aliases_of(self.told), policy="latest")

    def _known(self) -> Known:
        view = self._view().identity_of
        return Known(
            faces=tuple(
                LabelledFace(
                    face_id=face.seen.face_id,
                    identity_id=view.get(face.seen.face_id),
                    tracklet_id=face.seen.tracklet_id,
                    moment=(face.seen.footage_id, face.seen.pts_ms),
                    quality=face.seen.quality,
                )
                for face, _ in self.faces
            ),
            effective=self._resolution().effective,
            aliases=aliases_of(self.told),
            former=self.earlier.former,
            taken=minted(self.earlier, self.told),
        )

    def _living(self) -> list[str]:
        return sorted(set(self._view().identity_of.values()))

    def _face(self, number: int) -> str:
        return self.faces[number % len(self.faces)][0].seen.face_id

    def _now(self) -> datetime:
        return START + timedelta(minutes=next(self.clock))

    def _author(self, who: str) -> Author:
        return Author(annotator=who, at=self._now())

    def _say(self, *decisions: Decision) -> None:
        assert self.decision_log.append(decisions) == len(decisions)
        self.said += decisions
        self.unread = True

    def _plan_undo(self, event: str, who: str) -> Plan:
        return plan_undo(self._known(), event, events=self.told, decisions=self.said, author=self._author(who))

    def _edit(self, make_plan: Callable[[], Plan]) -> bool:
        """Write a plan, unless it is refused; what moves is what the plan says."""
        before = self._view().identity_of
        try:
            plan = make_plan()
        except DataError as error:
            assert "nothing was written" in str(error) or "undone already" in str(error) or "split of" in str(error)
            return False
        assert self.identity_log.append([plan.event], plan.decisions) == 1
        self.told.append(plan.event)
        self.said += plan.decisions
        self.unread = True
        after = self._view().identity_of
        moved = {move.face_id: (move.before, move.after) for move in plan.moves}
        assert moved == {face: (before[face], after[face]) for face in before if before[face] != after[face]}
        assert tuple(sorted(moved)) == plan.event.face_ids
        assert not self._resolution().contradictions or plan.event.kind == "undo" or self._agreed(plan)
        return True

    def _agreed(self, plan: Plan) -> bool:
        """None of the plan's own decisions is set aside."""
        aside = {name for found in self._resolution().contradictions for name in found.set_aside}
        return not aside & set(plan.event.decision_ids)


def test_a_thousand_histories_keep_every_promise(tmp_path: Path) -> None:
    Lifecycle.empty_log = tmp_path / "empty.sqlite3"
    IdentityLog(f"sqlite:///{Lifecycle.empty_log}").close()
    many = settings(
        max_examples=SEQUENCES,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # a dozen vectors are searched faster by one
    try:
        run_state_machine_as_test(Lifecycle, settings=many)
    finally:
        faiss.omp_set_num_threads(threads)
