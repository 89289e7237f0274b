"""Where pairs come from: each source lists what it says, gold never, and what an old request names stays the same."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.clustering.knn import SearchParams
from faceloop.evaluation.tables import VerificationRow, WorstPair, save_rows
from faceloop.mining import hardset
from faceloop.mining.disagreement import SecondOpinion, disagreeing
from faceloop.mining.misjudged import error_faces, like_errors
from faceloop.mining.pairs import Place, in_turn
from faceloop.mining.positives import find_positives
from faceloop.mining.quarry import Narrowing, Quarry
from faceloop.mining.request import MiningRequest, read_request
from faceloop.mining.returned import ReturnedFace, returned_faces
from faceloop.mining.tracks import find_in_tracks
from faceloop.runner import Workspace
from facestore.errors import ConfigError, StageError
from facestore.ids import sha256_hex
from facestore.publish import fresh_partial, publish
from facestore.records import HardPair, ReleaseSample
from facestore.tables import read_table, write_table

from .mining_world import PERSON, axis, face_id, mined_face, publish_world, quarry_of, turned

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SEARCH = SearchParams(flat_rows_max=20_000, probes=4, block_rows=2048)


def _track(**of_poor: object) -> Quarry:
    """Two good faces of one tracklet with a poor one between them; of the person a face elsewhere, and a stranger."""
    plain: dict[str, object] = {"tracklet_id": "t", "pts_ms": 100, "quality": 0.2}
    faces = [
        (mined_face("a-good", "anna", tracklet_id="t", pts_ms=0), axis(0)),
        (mined_face("b-good", "anna", tracklet_id="t", pts_ms=200), axis(0) + 0.05 * axis(30)),
        (mined_face("c-poor", "anna", **{**plain, **of_poor}), turned(0, 20, 75)),
        (mined_face("d-else", "anna"), axis(0) + 0.05 * axis(31)),
        (mined_face("e-bert", "bert"), axis(1)),
    ]
    return quarry_of(faces)


def test_a_poor_face_between_good_ones_of_a_sure_tracklet_has_its_label_for_free() -> None:
    found = find_in_tracks(_track(), MiningRequest(name="x", sources=["tracks"]), SEARCH)
    (pair,) = found.trusted
    assert "c-poor" in pair.faces and pair.ground == "track" and pair.sigmas < pair.support_sigmas


@pytest.mark.parametrize(("of_poor", "reason"), [({"pts_ms": 300}, "faces_at_end_of_track"), ({"quality": 0.9}, None)])
def test_a_face_at_the_end_of_its_track_or_a_good_one_is_not_listed(
    of_poor: dict[str, object], reason: str | None
) -> None:
    found = find_in_tracks(_track(**of_poor), MiningRequest(name="x"), SEARCH)
    assert not found.trusted
    assert {name for name, count in found.left_out.items() if count} == ({reason} if reason else set())


def test_a_tracklet_that_nobody_vouches_for_gives_no_labels() -> None:
    quarry = _track()
    lonely = [face for face in quarry.faces if face.face_id != "d-else"]
    vectors = {
        face.face_id: vector.astype(np.float64) for face, vector in zip(quarry.faces, quarry.vectors, strict=True)
    }
    found = find_in_tracks(
        quarry_of([(face, vectors[face.face_id]) for face in lonely]), MiningRequest(name="x"), SEARCH
    )
    assert not found.trusted and found.left_out["tracklets_in_doubt"] == 1


def test_models_disagree_where_only_one_of_them_takes_two_faces_for_one_person() -> None:
    faces = [
        (mined_face(f"{who}{look}", f"p{who}"), axis(who) + 0.3 * axis(10 + who) * look + 0.1 * axis(40))
        for who in range(4)
        for look in range(3)
    ]
    quarry = quarry_of(faces)
    theirs = quarry.vectors.copy()
    theirs[0] = axis(50).astype(np.float32)  # the candidate does not know the first face of the first person
    is_embedded = np.ones(len(faces), np.bool_)
    wants = disagreeing(quarry, SecondOpinion(vectors=theirs, is_embedded=is_embedded), far=0.01, seed=1)
    first, second = np.array([0, 0, 1], np.int64), np.array([1, 5, 2], np.int64)
    assert wants(first, second).tolist() == [True, False, False]
    is_embedded[1] = False
    assert wants(first, second).tolist() == [False, False, False]


def test_faces_like_an_error_are_near_it_of_its_angle_and_never_gold() -> None:
    faces = [
        (mined_face("error", "gold", yaw=50.0), axis(0)),
        (mined_face("like", "anna", yaw=-45.0), turned(0, 9, 30)),
        (mined_face("frontal", "bert", yaw=0.0), turned(0, 10, 30)),
        (mined_face("other-gold", "gold", yaw=50.0), axis(0) + 0.01 * axis(11)),
    ]
    quarry = quarry_of(faces)
    barred = np.array([face.identity_id == "gold" for face in quarry.faces], np.bool_)
    left_out = Counter[str]()
    found = like_errors(quarry, ("error", "gone"), barred, SEARCH, left_out)
    assert [face.face_id for face, is_in in zip(quarry.faces, found, strict=True) if is_in] == ["like"]
    assert left_out["errors_without_label"] == 1


def test_errors_are_the_listed_pairs_on_the_wrong_side_of_the_threshold(tmp_path: Path) -> None:
    _publish_tables(tmp_path, threshold=0.5)
    assert error_faces(tmp_path, 0.01) == ("g0", "g1", "i0", "i1")
    _publish_tables(tmp_path, threshold=None)
    assert error_faces(tmp_path, 0.01) == ("g0", "g1", "g2", "g3", "i0", "i1")


def _publish_tables(folder: Path, *, threshold: float | None) -> None:
    (folder / "tables").mkdir(exist_ok=True)
    empty = dict.fromkeys(("tar", "low", "high", "gain", "gain_low", "gain_high", "verdict", "refused"))
    rates = [
        VerificationRow(
            gold="release", model="candidate", far=0.01, threshold=threshold, genuine_pairs=2, impostor_pairs=1,
            identities=2, **empty,
        )
    ]  # fmt: skip
    save_rows(folder / "tables" / "verification.parquet", VerificationRow, rates)
    pairs = [("genuine", 0, "g0", "g1", 0.1), ("genuine", 1, "g2", "g3", 0.7), ("impostor", 0, "i0", "i1", 0.6)]
    rows = [
        WorstPair(
            gold="release", model=model, kind=kind, rank=rank, first_face_id=one, second_face_id=two, similarity=at
        )
        for model, names in (("candidate", pairs), ("current", [("genuine", 0, "c0", "c1", 0.0)]))
        for kind, rank, one, two, at in names
    ]
    save_rows(folder / "tables" / "worst_pairs.parquet", WorstPair, rows)


def _event(photo: int, **changed: object) -> ReturnedFace:
    plain: dict[str, object] = {
        "event_id": f"e{photo}", "footage_id": sha256_hex(face_id(0, photo).encode()), "reason": "low_score",
        "box_px": (101.0, 101.0, 200.0, 219.0), "claim": None, "claimed_identity_id": None,
    }  # fmt: skip
    return ReturnedFace(**{**plain, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("sources")
    return publish_world(folder / "root", folder / "source")


def test_what_production_sent_back_is_hard_unless_its_claim_against_the_label_is_open(work: Workspace) -> None:
    quarry = quarry_of([(mined_face(face_id(0, photo), "anna"), axis(0)) for photo in range(5)])
    events = [
        _event(0),
        _event(1, reason="corrected", claim="is", claimed_identity_id="bert"),
        _event(2, reason="corrected", claim="is_not", claimed_identity_id="bert"),
        _event(3, reason="spot_check"),
        _event(4, box_px=(400.0, 0.0, 500.0, 100.0)),
    ]
    left_out = Counter[str]()
    found = returned_faces(quarry, events, work.path("faces"), left_out)
    back = {face.face_id for face, is_in in zip(quarry.faces, found, strict=True) if is_in}
    assert back == {face_id(0, 0), face_id(0, 2)}
    assert left_out == {"feedback_claim_open": 1, "feedback_without_label": 1}


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.lists(st.booleans(), min_size=6, max_size=6))
def test_a_narrowed_pair_holds_a_focus_face_and_no_barred_one(focus: list[bool], barred: list[bool]) -> None:
    quarry = quarry_of([(mined_face(f"f{n}", "anna"), axis(0) + 0.1 * axis(n + 1)) for n in range(6)])
    narrowing = Narrowing(source="angle_bands", is_focus=np.array(focus), is_barred=np.array(barred), wants=None)
    request = MiningRequest(name="x", per_identity=100, per_face=100)
    found = find_positives(replace(quarry, narrowing=narrowing), request)
    row = {face.face_id: number for number, face in enumerate(quarry.faces)}
    for pair in (*found.trusted, *found.doubtful):
        ends = [row[name] for name in pair.faces]
        assert any(focus[end] for end in ends) and not any(barred[end] for end in ends)
        assert pair.source == "angle_bands"


def test_sources_take_turns_and_each_pair_comes_once() -> None:
    quarry = quarry_of([(mined_face(f"f{n}", "anna"), axis(0) + 0.3 * axis(n + 1)) for n in range(5)])
    pairs = find_positives(quarry, MiningRequest(name="x", per_identity=100, per_face=100)).trusted
    place = Place(order="hardest", seed=1)
    ranked = sorted(pairs, key=place.of)
    easy = [replace(pair, source="angle_bands") for pair in ranked[2:]]
    merged = in_turn([pairs, easy], place)
    assert [pair.source for pair in merged[:4]] == ["look_alikes", "angle_bands", "look_alikes", "angle_bands"]
    assert sorted(pair.faces for pair in merged) == sorted(pair.faces for pair in pairs)


def test_a_request_from_before_there_were_sources_keeps_the_name_of_its_version() -> None:
    spelled = MiningRequest(name="x").spelled()
    assert not {"sources", "due", "asked_by", "minutes", "accept", "angle_deg", "track_quality"} & set(spelled)
    assert MiningRequest(name="x", sources=["feedback"]).spelled()["sources"] == ["feedback"]


def test_a_request_may_be_yaml_and_says_what_is_wrong_in_it() -> None:
    text = "name: profiles\ndue: 2026-02-01\nsources: [angle_bands]\naccept: {slice: 'yaw:30_to_45', gain: 0.02}\n"
    found = read_request(text, "request.yaml")
    assert found.due is not None and found.due.isoformat() == "2026-02-01" and found.accept is not None
    for wrong, message in (("name: [", "is no YAML"), ("name: x\nsources: [rumour]", "sources"), ("a", "request.yml")):
        with pytest.raises(ConfigError, match=message):
            read_request(wrong, "request.yml")


def test_gold_people_are_not_listed_by_a_request_with_sources_and_its_set_says_who_gave_what(work: Workspace) -> None:
    request = MiningRequest(name="x", sources=["look_alikes", "angle_bands"], angle_deg=(0.0, 10.0))
    with pytest.raises(StageError, match="run train first"):
        hardset.mine(work, MiningRequest(name="x", sources=["disagreement"]), now=NOW)
    before = hardset.mine(work, request, now=NOW)
    pairs = list(read_table(_folder(work.root, before), "pairs", HardPair))
    origins = pq.read_table(_folder(work.root, before) / "origins.parquet").to_pylist()
    assert len(origins) == len(pairs) and before.by_source == dict(Counter(row["source"] for row in origins))
    assert set(before.by_source) == {"look_alikes", "angle_bands"}
    gold = next(pair for pair in pairs if pair.kind == "hard_positive")
    staging = fresh_partial(work.path("release"), keep=False)
    sample = ReleaseSample(
        split="test", shard="s", row=0, face_id=gold.first_face_id, footage_id="f", identity_id=gold.first_identity_id,
        class_index=-1, confidence=0.9, quality=0.5, sha256="0",
    )  # fmt: skip
    write_table(staging / "samples.parquet", ReleaseSample, [sample])
    publish(work.path("release"), stage="pack", run_key="run", counts={}, inputs={})
    after = hardset.mine(work, request, now=NOW)
    assert after.version != before.version
    listed = list(read_table(_folder(work.root, after), "pairs", HardPair))
    people = {PERSON[pair.first_face_id] for pair in listed} | {PERSON[pair.second_face_id] for pair in listed}
    assert len(people) == 3 and PERSON[gold.first_face_id] not in people
    page = (_folder(work.root, after) / "pairs.html").read_text(encoding="utf-8")
    assert "turned aside" in page and "from all labels" in page


def _folder(root: Path, found: hardset.HardSet) -> Path:
    return root / hardset.HARD_SETS / found.name / found.version
