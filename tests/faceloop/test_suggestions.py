"""Suggestions: what is filled in follows people's word and the present tables, and gives no answer away."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceloop.commands.serve_suggestions import serve_suggestions
from faceloop.runner import Workspace
from faceloop.suggest.fresh import doubt_below
from faceloop.suggest.likeness import SURE
from faceloop.suggest.published import Published, read_published
from faceloop.suggest.word import word_of
from faceloop.suggestions import WorkspaceSuggester
from facereview.answers.claims import BOX, LANDMARKS, MISSED_FACE
from facereview.kinds import (
    Attributes,
    Boxes,
    FaceBox,
    Landmarks,
    Member,
    OddOnesOut,
    Prediction,
    SamePerson,
    SamePersonAnswer,
    WhoIsThis,
    subject_of,
)
from facestore.decisions import Decision, decide
from facestore.errors import DataError
from facestore.questions import Question

from .runner_world import open_root, tree_of
from .suggest_world import (
    ANNA,
    BERT,
    CLUSTERS,
    NOON,
    grid,
    make_root,
    minute,
    pair,
    probe,
    publish_clusters,
    publish_labels,
    question,
    say,
    strip,
)


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return make_root(tmp_path / "root")


@pytest.fixture
def suggester(work: Workspace) -> WorkspaceSuggester:
    return WorkspaceSuggester(work, lambda _: None)


def _pair(suggester: WorkspaceSuggester, asked: Question) -> SamePerson:
    found = subject_of(suggester.suggest(asked).question)
    assert isinstance(found, SamePerson)
    return found


def _says(verb: str, first: str, second: str, at: int = 0, by: str = "ls/1") -> Decision:
    return decide(verb, face_id=first, other_face_id=second, annotator=by, decided_at=minute(at))  # type: ignore[arg-type]


def test_a_suggestion_follows_a_new_decision_and_its_retraction(work: Workspace, suggester: WorkspaceSuggester) -> None:
    asked = question(pair("a3", "d1"))
    before, version = _pair(suggester, asked), suggester.version()
    assert before.similarity == pytest.approx(0.3)
    same = _says("same", "d1", "a1")  # a3 is in Anna's other tracklet; that is the machine's opinion only
    say(work, same, _says("same", "a1", "a3"))
    after = suggester.suggest(asked)
    assert subject_of(after.question) == replace(before, chance=SURE)
    assert after.question.chance == SURE
    assert suggester.version() != version == after.question.model_version.replace(suggester.version(), version)
    say(work, decide("retract", retracts=same.decision_id, annotator="ls/1", decided_at=minute(5)))
    assert _pair(suggester, asked) == before


def test_people_overrule_what_the_machine_holds_together(work: Workspace, suggester: WorkspaceSuggester) -> None:
    asked = question(pair("a1", "a3"))
    assert _pair(suggester, asked).chance > 0.9
    say(work, _says("different", "a2", "a3"))  # a1 and a2 are one tracklet
    assert _pair(suggester, asked).chance == pytest.approx(1 - SURE)


def test_faces_of_one_tracklet_are_one_person_until_people_say_otherwise(
    work: Workspace, suggester: WorkspaceSuggester
) -> None:
    asked = question(pair("a1", "a2"))
    assert _pair(suggester, asked).chance == SURE
    say(work, _says("different", "a1", "a2"))
    assert _pair(suggester, asked).chance == pytest.approx(1 - SURE)


def test_faces_of_one_picture_are_two_persons(suggester: WorkspaceSuggester) -> None:
    assert _pair(suggester, question(pair("a1", "c1"))).chance == pytest.approx(1 - SURE)


def test_new_clusters_are_taken_in_without_a_restart(work: Workspace, suggester: WorkspaceSuggester) -> None:
    asked = question(pair("a1", "d1"))
    apart, version = _pair(suggester, asked), suggester.version()
    publish_labels(work, {**CLUSTERS, "tf": 0}, {"tf": 0.99})
    joined = _pair(suggester, asked)
    assert joined.chance > 0.99 > apart.chance
    assert suggester.version() != version


def test_tables_of_different_runs_are_never_mixed(work: Workspace, suggester: WorkspaceSuggester) -> None:
    asked = question(pair("a1", "d1"))
    before, version = _pair(suggester, asked), suggester.version()
    publish_clusters(work, {**CLUSTERS, "tf": 0})  # identify has not run yet
    assert (_pair(suggester, asked), suggester.version()) == (before, version)
    with pytest.raises(DataError, match="not of one run"):
        WorkspaceSuggester(work, lambda _: None).version()


def test_tables_that_are_replaced_while_they_are_read_are_read_again(
    work: Workspace, suggester: WorkspaceSuggester, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = question(pair("a1", "d1"))
    times: list[int] = []

    def interrupted(**folders: Path) -> Published:
        times.append(len(times))
        if len(times) > 1:
            return read_published(**folders)
        kept = folders["assignments"].rename(folders["assignments"].with_name("away"))
        found = read_published(**folders)  # as between two renames of a publication: no identities at all
        kept.rename(folders["assignments"])
        publish_labels(work, {**CLUSTERS, "tf": 0}, {"tf": 0.99})
        return found

    monkeypatch.setattr("faceloop.suggestions.read_published", interrupted)
    assert _pair(suggester, asked).chance > 0.99
    assert times == [0, 1]
    assert suggester.version() == WorkspaceSuggester(work, lambda _: None).version()


def test_a_root_without_labels_is_refused_when_the_service_starts(tmp_path: Path) -> None:
    work = open_root(tmp_path / "root", tree_of(tmp_path / "source"))
    with pytest.raises(DataError, match="run identify"):
        WorkspaceSuggester(work, lambda _: None).prepare()


def test_the_command_serves_the_root_that_it_is_given(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[object, str, int]] = []
    monkeypatch.setattr("facereview.services.serve.serve", lambda app, *, host, port: served.append((app, host, port)))
    serve_suggestions(password="word", root=work.root, port=9191)  # noqa: S106  # of a test
    ((app, host, port),) = served
    assert (host, port) == ("127.0.0.1", 9191)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://desk") as client:
            return await client.post("/setup", auth=("label-studio", "word"))

    assert asyncio.run(ask()).json() == {"model_version": WorkspaceSuggester(work, lambda _: None).version()}


def test_the_same_state_gives_the_same_suggestion_and_version(work: Workspace) -> None:
    asked = [question(pair("a3", "d1")), question(probe("d1", "a1", "b1")), question(grid("a1", {"a3": 0.9}))]
    first, second = WorkspaceSuggester(work, lambda _: None), WorkspaceSuggester(work, lambda _: None)
    assert [first.suggest(one) for one in asked] == [second.suggest(one) for one in asked]
    assert first.version() == second.version()


def test_a_honeypot_keeps_what_it_was_pushed_with(work: Workspace, suggester: WorkspaceSuggester) -> None:
    asked = question(pair("a3", "d1", chance=0.2), expected=SamePersonAnswer(verdict="same"))
    say(work, _says("same", "d1", "a3"))
    found = suggester.suggest(asked)
    assert found.nearest == ()
    assert found.question == replace(asked, model_version=suggester.version())


def test_an_answered_question_does_not_show_its_answer_to_the_next_annotator(
    work: Workspace, suggester: WorkspaceSuggester
) -> None:
    asked = question(pair("a3", "d1", chance=0.3))
    answer = decide(
        "same", face_id="a3", other_face_id="d1", annotator="ls/1", decided_at=NOON, question_id=asked.question_id
    )
    say(work, answer)
    assert _pair(suggester, asked).chance == 0.3
    assert _pair(suggester, question(pair("a2", "d1"))).chance > 0.3  # another question is told less, but something


def test_a_face_that_is_gone_leaves_the_question_as_it_was(suggester: WorkspaceSuggester) -> None:
    asked = question(pair("a1", "erased", chance=0.7))
    assert subject_of(suggester.suggest(asked).question) == subject_of(asked)


def test_nearest_identities_come_likeliest_first_and_without_those_that_people_ruled_out(
    work: Workspace, suggester: WorkspaceSuggester
) -> None:
    asked = question(probe("d1", "a1"))
    near = suggester.suggest(asked).nearest
    assert [(one.identity_id, one.best_face_id, round(one.similarity, 3)) for one in near] == [
        (ANNA, "a1", 0.3),
        (BERT, "b1", 0.0),
    ]
    assert near[0].chance > near[1].chance
    say(work, _says("different", "a1", "d1"))
    assert [one.identity_id for one in suggester.suggest(asked).nearest] == [BERT]


def test_of_several_candidates_at_most_one_is_the_probe(work: Workspace, suggester: WorkspaceSuggester) -> None:
    asked = question(probe("d1", "b1", "a1", "a3"))
    say(work, _says("same", "d1", "a1"), _says("same", "a1", "a3"))
    found = subject_of(suggester.suggest(asked).question)
    assert isinstance(found, WhoIsThis)
    assert [candidate.strip.face_ids[0] for candidate in found.candidates] == ["b1", "a1", "a3"]
    assert sum(candidate.chance for candidate in found.candidates) <= 1 + 1e-9
    assert found.candidates[0].chance < 0.01 < found.candidates[1].chance


def test_members_are_marked_by_word_cluster_and_present_confidence(
    work: Workspace, suggester: WorkspaceSuggester
) -> None:
    asked = question(grid("a1", {"a3": 0.95, "b1": 0.9}))

    def marks() -> list[bool]:
        found = subject_of(suggester.suggest(asked).question)
        assert isinstance(found, OddOnesOut)
        return [member.is_doubtful for member in found.members]

    assert marks() == [False, True]  # b1 is in another cluster by now
    publish_labels(work, {**CLUSTERS, "tc": 0}, {"tc": 0.999, "tb": 0.01})
    assert marks() == [True, False]
    say(work, _says("same", "a1", "a3"), decide("not_a_face", face_id="b1", annotator="ls/1", decided_at=NOON))
    assert marks() == [False, True]


@given(st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=12, unique=True), st.integers(0, 12))
def test_marks_that_follow_a_bound_are_found_again(chances: Sequence[float], marked: int) -> None:
    ranked = sorted(chances)
    members = tuple(
        Member(face_id=str(place), chance=chance, is_doubtful=place < marked) for place, chance in enumerate(ranked)
    )
    bound = doubt_below(members)
    assert [member.chance < bound for member in members] == [member.is_doubtful for member in members]


def test_attributes_that_people_said_replace_the_models(work: Workspace, suggester: WorkspaceSuggester) -> None:
    kept = Prediction(name="pose", value="left", score=0.8)
    asked = question(
        Attributes(strip=strip("a1"), predictions=(kept, Prediction(name="gaze", value="away", score=0.6)))
    )
    say(work, _attribute("a1", "gaze", "camera"), _attribute("a3", "pose", "up"))
    found = subject_of(suggester.suggest(asked).question)
    assert isinstance(found, Attributes)
    assert found.predictions == (kept, Prediction(name="gaze", value="camera", score=1.0))


def test_boxes_and_points_lie_where_people_put_them(work: Workspace, suggester: WorkspaceSuggester) -> None:
    boxes = tuple(FaceBox(face_id=name, bbox=(0.0, 0.0, 9.0, 9.0)) for name in ("a1", "b1", "c1"))
    frame = question(Boxes(footage_id="clip", pts_ms=0, width=640, height=480, boxes=boxes))
    here = {"footage_id": "clip", "pts_ms": 0, "bbox": [1, 2, 3, 4]}
    points = tuple(float(number) for number in range(10))
    mark = question(Landmarks(face_id="a1", footage_id="clip", pts_ms=0, view=(0, 0, 9, 9), points=(0.0,) * 10))
    say(
        work,
        decide("not_a_face", face_id="a1", annotator="ls/1", decided_at=NOON),
        _attribute("b1", BOX, "5.0,6.0,7.0,8.0"),
        _attribute("c1", BOX, "nan,6.0,7.0,8.0"),
        _attribute("new", MISSED_FACE, json.dumps(here)),
        _attribute("elsewhere", MISSED_FACE, json.dumps({**here, "pts_ms": 40})),
        _attribute("spoilt", MISSED_FACE, "[]"),
        _attribute("a1", LANDMARKS, ",".join(map(str, points))),
    )
    found = subject_of(suggester.suggest(frame).question)
    assert isinstance(found, Boxes)
    assert found.boxes == (
        FaceBox(face_id="b1", bbox=(5.0, 6.0, 7.0, 8.0)),
        boxes[2],
        FaceBox(face_id="new", bbox=(1.0, 2.0, 3.0, 4.0)),
    )
    marked = subject_of(suggester.suggest(mark).question)
    assert isinstance(marked, Landmarks)
    assert marked.points == points


_FACES = [f"{person}{shot}" for person in range(4) for shot in range(4)]


@given(
    st.lists(st.tuples(st.sampled_from(_FACES), st.sampled_from(_FACES)), max_size=20),
    st.lists(st.tuples(st.sampled_from(_FACES), st.integers(0, 3)), max_size=6),
    st.randoms(use_true_random=False),
)
def test_true_words_never_add_up_to_a_lie_and_order_is_no_matter(
    pairs: list[tuple[str, str]], names: list[tuple[str, int]], shuffle: "object"
) -> None:
    said = [_says("same" if one[0] == two[0] else "different", one, two) for one, two in pairs if one != two]
    said += [
        decide("is", face_id=face, identity_id=f"person-{face[0]}", annotator="ls/1", decided_at=minute(place))
        for place, (face, _) in enumerate(names)
    ]
    word = word_of(said, aliases={}, tracklet_of=lambda face: face)
    mixed = list(said)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    again = word_of(mixed, aliases={}, tracklet_of=lambda face: face)
    for one in _FACES:
        for two in _FACES:
            known = word.same(one, two)
            assert known is None or known == (one[0] == two[0])
            assert known == again.same(one, two) == word.same(two, one)
    for decision in said:
        if decision.other_face_id is not None:
            assert word.same(str(decision.face_id), decision.other_face_id) is (decision.verb == "same")


def _attribute(face: str, name: str, value: str) -> Decision:
    return decide(
        "attribute", face_id=face, name=name, value=value, annotator="ls/1", decided_at=NOON + timedelta(seconds=1)
    )
