"""The verdict: better, worse, not shown, or why nobody can say; kept in order, and the same twice is one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.evaluation.tables import SliceRow, save_rows
from faceloop.mining.measured import Measured, SliceNow
from faceloop.mining.request import Acceptance
from faceloop.mining.verdict import judge, newcombe
from faceloop.runner import Workspace
from facestore.ids import JsonValue
from facestore.publish import fresh_partial, publish, read_manifest, verify

from .mining_world import publish_world

SLICE = "yaw:30_to_45"
ACCEPT = Acceptance(slice=SLICE, gain=0.02)


def figure(tar: float | None, **changed: float | str | None) -> SliceNow:
    low, high = (None, None) if tar is None else (tar - 0.02, tar + 0.02)
    plain = {"tar": tar, "low": low, "high": high, "gain": None, "gain_low": None, "gain_high": None, "refused": None}
    return SliceNow(**{**plain, **changed})  # type: ignore[arg-type]


def measured(found: SliceNow | None, **changed: str | None) -> Measured:
    plain = {"evaluation": "e", "candidate": "c2", "current_contract": "k", "labelling_contract": "k", "gold": "g"}
    return Measured(**{**plain, **changed}, slice=found)


BEFORE = measured(figure(0.80), candidate="c1")


def gained(gain: float, low: float, high: float) -> Measured:
    return measured(figure(0.9, gain=gain, gain_low=low, gain_high=high))


@pytest.mark.parametrize(
    ("now", "word", "is_accepted"),
    [
        (gained(0.05, 0.01, 0.09), "improved", True),
        (gained(0.015, 0.01, 0.02), "improved", False),
        (gained(0.05, -0.01, 0.09), "not_shown", False),
        (gained(-0.05, -0.09, -0.01), "worse", False),
    ],
)
def test_over_the_labelling_model_the_range_of_the_gain_decides(now: Measured, word: str, is_accepted: bool) -> None:
    found = judge("s", "v", ACCEPT, BEFORE, now)
    assert (found.verdict, found.is_accepted, found.compared) == (word, is_accepted, "labelling_model")


@pytest.mark.parametrize(("tar", "word"), [(0.9, "improved"), (0.81, "not_shown"), (0.7, "worse")])
def test_once_another_model_labels_candidates_are_compared_on_equal_gold(tar: float, word: str) -> None:
    found = judge("s", "v", ACCEPT, BEFORE, measured(figure(tar), current_contract="other"))
    assert (found.verdict, found.compared) == (word, "candidate_then")


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (BEFORE, measured(None, evaluation=None), "nothing is evaluated"),
        (BEFORE, measured(figure(0.9), candidate="c1"), "train, then evaluate"),
        (BEFORE, measured(None), "no such slice"),
        (BEFORE, measured(figure(None, refused="3 people")), "refused the slice: 3 people"),
        (BEFORE, measured(figure(0.9), current_contract=None, gold="other"), "gold is not the same"),
        (BEFORE, measured(figure(0.9), current_contract=None, gold=None), "gold is not the same"),
        (measured(None, candidate="c1"), measured(figure(0.9), current_contract="x"), "not measured when"),
    ],
)
def test_where_nobody_can_say_the_verdict_says_why(before: Measured, now: Measured, why: str) -> None:
    found = judge("s", "v", ACCEPT, before, now)
    assert found.verdict == "cannot_say" and why in found.why and found.gain is None and not found.is_accepted


rates = st.tuples(*[st.floats(0, 1)] * 3).map(sorted)


@given(rates, rates)
def test_the_range_holds_the_gain_and_turns_round_with_it(one: list[float], other: list[float]) -> None:
    first, second = (figure(tar, low=low, high=high) for low, tar, high in (one, other))
    gain, low, high = newcombe(first, second)
    assert low <= gain <= high
    assert newcombe(second, first) == pytest.approx((-gain, -high, -low))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("verdicts")
    return publish_world(folder / "root", folder / "source")


def evaluate(work: Workspace, candidate: str, gain: float) -> None:
    """Publish a candidate and its evaluation, as far as the verdict reads it, with the table writer of the stage."""
    model = fresh_partial(work.path("candidate"), keep=False)
    (model / "weights").write_text(candidate, encoding="utf-8")
    publish(work.path("candidate"), stage="train", run_key=candidate, counts={}, inputs={})
    folder = fresh_partial(work.path("evaluation"), keep=False)
    (folder / "tables").mkdir()
    kind, _, band = SLICE.partition(":")
    row = SliceRow(
        gold="release", kind=kind, band=band, faces=90, people=20, pairs=300, tar=0.9, low=0.88, high=0.92,
        false_accepts=0.0, current_tar=0.9 - gain, gain=gain, gain_low=gain - 0.01, gain_high=gain + 0.01,
        verdict="better", floor=None, state="no_floor", refused=None,
    )  # fmt: skip
    save_rows(folder / "tables" / "slices.parquet", SliceRow, [row])
    inputs = {}
    for name in ("candidate", "embeddings"):
        manifest = read_manifest(work.path(name))
        assert manifest is not None
        inputs[name] = manifest.digest
    publish(work.path("evaluation"), stage="evaluate", run_key=candidate, counts={}, inputs=inputs)


def call(work: Workspace, *words: str) -> dict[str, JsonValue]:
    params = work.root.parent / "params.yaml"
    params.write_text(json.dumps(work.tree), encoding="utf-8")
    done = CliRunner().invoke(
        app, ["mine", *words, "--root", str(work.root), "--params", str(params)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    found: dict[str, JsonValue] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_set_remembers_what_was_measured_and_its_verdicts_are_kept_in_order(work: Workspace) -> None:
    evaluate(work, "first", 0.0)
    file = work.root.parent / "request.yaml"
    file.write_text(
        f"name: turned\nasked_by: gate team\ndue: 2020-01-01\naccept: {{slice: '{SLICE}'}}\n", encoding="utf-8"
    )
    mined = call(work, str(file))
    first = call(work, "verdict", "turned")
    assert first["verdict"] == "cannot_say" and "train, then evaluate" in str(first["why"])
    assert (first["due"], first["is_overdue"], first["before_tar"]) == ("2020-01-01", True, 0.9)
    evaluate(work, "second", 0.05)
    second = call(work, "verdict", "turned", str(mined["version"]))
    assert (second["verdict"], second["is_accepted"], second["is_overdue"]) == ("improved", True, False)
    assert call(work, "verdict", "turned") == second
    folder = work.root / str(mined["folder"])
    history = folder.parent / "verdicts" / f"{folder.name}.jsonl"
    lines = [json.loads(line)["verdict"] for line in history.read_text(encoding="utf-8").splitlines()]
    assert lines == ["cannot_say", "improved"]
    verify(folder)


def test_a_set_without_acceptance_or_that_is_not_there_gets_no_verdict(work: Workspace) -> None:
    call(work, "--request", '{"name": "plain"}')
    for words, message in ((["plain"], "mined without `accept`"), (["none"], "is not mined yet")):
        done = CliRunner().invoke(app, ["mine", "verdict", *words, "--root", str(work.root)])
        assert done.exit_code != 0 and message in str(done.exception)
