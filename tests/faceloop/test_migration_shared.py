"""A model switch on real photos, to a weaker recogniser and back, under a hundred decisions."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from faceloop.decision_tables import export_decisions, read_logs, with_decision_log
from faceloop.identity.impact import violated_decisions
from faceloop.identity.resolve import aliases_of
from faceloop.migration import finish, plan_switch
from faceloop.params import read_params
from faceloop.progress import SilentProgress
from faceloop.runner import Workspace, open_workspace, run_stage
from facestore.decisions import Decision, decide
from facestore.records import Assignment, Face, Footage
from facestore.tables import read_table

from .migration_world import identities, identity_of, label, recogniser_pack

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
DECISIONS = 100
START = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.integration,
    pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside the checkout"),
]


def _open(root: Path, pack: str) -> Workspace:
    overrides = [f"paths.source={DATA / 'faces_dev'}", "ingest.subset_from=source", f"embed.model.pack={pack}"]
    tree = read_params(ROOT / "params.yaml", overrides)
    return open_workspace(root, tree, threads=2, progress=SilentProgress())


def _person_of(work: Workspace) -> dict[str, str]:
    """Face → the folder that its photo lies in, of photos with one face whose folder tells the truth."""
    lies = set((DATA / "faces_dev_label_errors.txt").read_text(encoding="utf-8").split())
    uri_of = {row.footage_id: row.uri for row in read_table(work.path("footage"), "footage", Footage)}
    faces = [face for face in read_table(work.path("faces"), "faces", Face) if face.rejected is None]
    count: dict[str, int] = {}
    for face in faces:
        count[face.footage_id] = count.get(face.footage_id, 0) + 1
    return {
        face.face_id: uri_of[face.footage_id].split("/")[0]
        for face in faces
        if count[face.footage_id] == 1 and uri_of[face.footage_id] not in lies
    }


def _said(person_of: Mapping[str, str], named: Mapping[str, str | None]) -> list[Decision]:
    """Forty `same` and forty `different` of people drawn at random, and twenty `is` of right labels."""
    random = Random(6)
    faces = sorted(person_of)
    by_person: dict[str, list[str]] = {}
    for face in faces:
        by_person.setdefault(person_of[face], []).append(face)
    several = [people for people in by_person.values() if len(people) > 1]
    pairs = {tuple(sorted(random.sample(random.choice(several), 2))) for _ in range(200)}
    strangers = {tuple(sorted(random.sample(faces, 2))) for _ in range(200)}
    apart = [pair for pair in sorted(strangers) if person_of[pair[0]] != person_of[pair[1]]]
    by_label: dict[str, set[str]] = {}
    for face in faces:
        by_label.setdefault(str(named.get(face)), set()).add(person_of[face])
    labelled_people: dict[str, set[str]] = {}
    for name, people in by_label.items():
        for person in people:
            labelled_people.setdefault(person, set()).add(name)
    sure = [
        face
        for face in faces
        if named.get(face)
        and by_label[str(named[face])] == {person_of[face]}
        and len(labelled_people[person_of[face]]) == 1
    ]
    minutes = iter(range(1000))

    def at() -> datetime:
        return START + timedelta(minutes=next(minutes))

    said = [
        decide("same", face_id=one, other_face_id=other, annotator="ann", decided_at=at())
        for one, other in random.sample(sorted(pairs), 40)
    ]
    said += [
        decide("different", face_id=one, other_face_id=other, annotator="ann", decided_at=at())
        for one, other in random.sample(apart, 40)
    ]
    said += [
        decide("is", face_id=face, identity_id=named[face], annotator="ann", decided_at=at())
        for face in random.sample(sure, 20)
    ]
    return said


def _broken(work: Workspace) -> list[str]:
    effective = read_table(work.path("decisions"), "effective", Decision)
    labels = read_table(work.path("assignments"), "assignments", Assignment)
    return violated_decisions(effective, labels, aliases=aliases_of(read_logs(work).events))


def test_sface_to_mobilefacenet_and_back_keeps_every_decision_and_every_id(tmp_path: Path) -> None:
    root = tmp_path / "root"
    pack = recogniser_pack(
        tmp_path / "mobilefacenet",
        DATA / "weights" / "mobilefacenet_128.onnx",
        kind="arcface",
        colour="RGB",
        mean=127.5,
        std=128,
        dimension=128,
    )
    sface, mobile = _open(root, "builtin"), _open(root, pack)
    for name in ("ingest", "detect", "embed"):
        run_stage(sface, name)
    label(sface)
    said = _said(_person_of(sface), identity_of(sface))
    assert len(said) == DECISIONS
    with_decision_log(sface, lambda log: log.append(said))
    label(sface)
    first = identities(sface)
    named = {decision.face_id for decision in said if decision.verb == "is"}
    assert len(list(read_table(sface.path("decisions"), "effective", Decision))) == DECISIONS
    assert _broken(sface) == []
    for old, new, work in (("builtin", pack, mobile), (pack, "builtin", sface)):
        known = set(identities(work))
        switch = plan_switch(work, old, new)
        export_decisions(work)
        impact = finish(work, switch, abort_above=0.5, now=START)
        assert impact.moved_share < 0.05
        # A `same` ties two faces to each other: together they may move. Who was named stays who he is.
        assert not named & {move.face_id for move in impact.moves}
        assert impact.confirmed_moves <= 0.05 * impact.confirmed
        assert impact.violated == ()
        assert _broken(work) == []
        after = identities(work)
        assert known <= after.keys()  # every id ever given is an identity or a tombstone …
        held = set(identity_of(work).values())
        gone = [row for row in after.values() if not row.is_active]
        assert all(row.identity_id not in held for row in gone)
        assert all(row.successor is None or row.successor in after for row in gone)  # … that says who went on
    back = identities(sface)
    lost = [name for name, row in first.items() if row.is_active and not back[name].is_active]
    assert len(lost) <= 0.02 * len(first)
