"""The consent gate under the runner: footage of a withdrawn consent leaves the artifacts, also while a stage works."""

import json
from collections.abc import Iterator
from functools import wraps
from pathlib import Path

import pytest
from PIL import Image
from tests.facestore.consent_world import a_consent
from typer.testing import CliRunner

from faceloop.catalogue_rebuild import rebuild
from faceloop.cli import app
from faceloop.consent_gate import erased_among
from faceloop.decision_tables import export_decisions
from faceloop.runner import Workspace, run_stage
from faceloop.stage import Report
from faceloop.stages import embed
from facestore.consents import Consents
from facestore.erasures import Erasures
from facestore.errors import ConfigError, ConsentRefused
from facestore.ids import file_sha256, media_key
from facestore.ledger import Ledger, StageRun
from facestore.objects import open_store
from facestore.records import FaceEmbedding, Footage
from facestore.refs import PEPPER_FILE, read_pepper, subject_ref
from facestore.tables import read_columns, read_table

from .runner_world import open_root, tree_of


@pytest.fixture
def consented(work: Workspace, face_source: Path) -> Iterator[tuple[Workspace, Consents, str]]:
    """A root with vectors, of which one footage with a face names consent c-1; the source manifest says so."""
    vectors = read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("footage_id",))["footage_id"].to_pylist()
    theirs = min(vectors)
    place = next(row.uri for row in read_table(work.path("footage"), "footage", Footage) if row.footage_id == theirs)
    source = work.root / "own-source"
    source.mkdir()
    for path in face_source.rglob("*"):
        if path.is_file():
            target = source / path.relative_to(face_source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (source / "sources.csv").write_text(f"path,consent_id\n{place},c-1\n")
    own = open_root(work.root, tree_of(source))
    for stage in ("ingest", "detect", "embed"):
        run_stage(own, stage)
    consents = Consents(own.ledger_url())
    yield own, consents, theirs
    consents.close()


def _embedded(work: Workspace) -> list[str]:
    table = read_columns(work.path("embeddings"), "faces", FaceEmbedding, ("footage_id",))
    names: list[str] = table["footage_id"].to_pylist()
    return names


def test_a_withdrawn_consent_takes_its_footage_out_of_the_vectors_and_giving_it_anew_brings_it_back(
    consented: tuple[Workspace, Consents, str],
) -> None:
    work, consents, theirs = consented
    before, others = _embedded(work), [name for name in _embedded(work) if name != theirs]
    consents.append([a_consent("c-1")])
    assert run_stage(work, "embed").was_published_before  # an allowed purpose changes nothing
    consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
    done = run_stage(work, "embed")
    assert _embedded(work) == others
    assert done.report.rejected["consent_withdrawn"] == len(before) - len(others)
    assert run_stage(work, "embed").was_published_before
    consents.append([a_consent("c-1", said_at=consents.now())])
    run_stage(work, "embed")
    assert _embedded(work) == before


def test_a_consent_for_other_purposes_keeps_footage_out_of_recognition(
    consented: tuple[Workspace, Consents, str],
) -> None:
    work, consents, theirs = consented
    consents.append([a_consent("c-1", ("detect_only",))])
    done = run_stage(work, "embed")
    assert done.report.rejected["out_of_purpose"] > 0
    assert theirs not in _embedded(work)


def test_under_the_strict_policy_footage_without_a_consent_is_only_detected(
    consented: tuple[Workspace, Consents, str], face_source: Path
) -> None:
    work, consents, theirs = consented
    consents.append([a_consent("c-1")])
    strict = open_root(work.root, tree_of(work.root / "own-source", "consent.policy=enforce"))
    done = run_stage(strict, "embed")
    assert set(_embedded(strict)) == {theirs}
    assert done.report.rejected["without_basis"] > 0
    assert run_stage(strict, "detect").was_published_before


def test_a_withdrawal_while_a_stage_works_is_not_published(
    consented: tuple[Workspace, Consents, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run finds out as it publishes, and runs again without the footage."""
    work, consents, theirs = consented
    consents.append([a_consent("c-1")])
    calls = _withdrawing(consents, monkeypatch)
    run_stage(work, "embed", again=True)
    assert len(calls) > 1
    assert theirs not in _embedded(work)


def test_a_runner_that_does_not_prove_its_basis_is_caught(
    consented: tuple[Workspace, Consents, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mutant: without the look inside the publishing transaction the withdrawn footage is published."""
    work, consents, theirs = consented
    consents.append([a_consent("c-1")])
    _withdrawing(consents, monkeypatch)
    monkeypatch.setattr("faceloop.runner.prove", lambda session, basis: None)
    run_stage(work, "embed", again=True)
    assert theirs in _embedded(work)


def _withdrawing(consents: Consents, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the consent withdrawn at the end of the first batch that is embedded."""
    real = embed.finish
    calls: list[str] = []

    @wraps(real)
    def finish(**arguments: object) -> Report:
        if not calls:
            consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
        calls.append("finish")
        report: Report = real(**arguments)  # type: ignore[arg-type]
        return report

    monkeypatch.setattr(embed, "finish", finish)
    return calls


def test_cluster_refuses_vectors_that_may_not_be_used_any_more(consented: tuple[Workspace, Consents, str]) -> None:
    work, consents, _ = consented
    consents.append([a_consent("c-1")])
    export_decisions(work)
    consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
    with pytest.raises(ConsentRefused, match="run embed"):
        run_stage(work, "cluster")
    run_stage(work, "embed")
    assert run_stage(work, "cluster").is_published


def test_scraped_and_erased_files_are_refused_at_the_door_with_their_reason(
    consented: tuple[Workspace, Consents, str],
) -> None:
    work, _, theirs = consented
    manifest = work.root / "own-source" / "sources.csv"
    rows = list(read_table(work.path("footage"), "footage", Footage))
    scraped = next(row for row in rows if row.footage_id != theirs)
    manifest.write_text(f"path,acquisition\n{scraped.uri},web_scrape_untargeted\n")
    erasures = Erasures(work.ledger_url())
    erasures.bury(footage_refs=[subject_ref(read_pepper(work.root), theirs)], face_refs=[])
    erasures.close()
    done = run_stage(work, "ingest")
    assert done.report.rejected["untargeted_scraping"] == 1
    assert done.report.rejected["erased"] >= 1
    assert theirs not in {row.footage_id for row in read_table(work.path("footage"), "footage", Footage)}
    assert not open_store(work.external("objects"), may_link=False).has(media_key(theirs))


def test_a_root_that_lost_its_pepper_takes_nothing_in_after_an_erasure(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    assert erased_among(url, tmp_path, {"f" * 64}) == set()
    erasures = Erasures(url)
    erasures.bury(footage_refs=[subject_ref(read_pepper(tmp_path), "f" * 64)], face_refs=[])
    erasures.close()
    assert erased_among(url, tmp_path, {"e" * 64, "f" * 64}) == {"f" * 64}
    (tmp_path / PEPPER_FILE).unlink()
    with pytest.raises(ConfigError, match="put it back"):
        erased_among(url, tmp_path, {"f" * 64})


def test_a_second_copy_of_a_file_brings_the_consents_that_it_names(consented: tuple[Workspace, Consents, str]) -> None:
    work, consents, theirs = consented
    source = work.root / "own-source"
    place = next(r.uri for r in read_table(work.path("footage"), "footage", Footage) if r.footage_id == theirs)
    (source / "zz-copy").write_bytes((source / place).read_bytes())
    (source / "sources.csv").write_text(f"path,consent_id\n{place},c-2\nzz-copy,c-1; c-2\n")
    consents.append([a_consent("c-1"), a_consent("c-2")])
    consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
    run_stage(work, "ingest")
    (found,) = [row for row in read_table(work.path("footage"), "footage", Footage) if row.footage_id == theirs]
    assert found.consent_id == "c-1;c-2"
    run_stage(work, "detect")
    assert run_stage(work, "embed").report.rejected["consent_withdrawn"] > 0


def test_nothing_of_a_scraped_file_lies_in_the_object_store(consented: tuple[Workspace, Consents, str]) -> None:
    work, _, _ = consented
    source = work.root / "own-source"
    fresh = source / "scraped.png"
    Image.new("RGB", (64, 48), (3, 5, 7)).save(fresh)
    (source / "sources.csv").write_text("path,acquisition\nscraped.png,web_scrape_untargeted\n")
    assert run_stage(work, "ingest").report.rejected["untargeted_scraping"] == 1
    assert not open_store(work.external("objects"), may_link=False).has(media_key(file_sha256(fresh)))


def test_a_source_that_was_scraped_is_refused_whole_and_what_is_stated_of_it_is_counted(
    consented: tuple[Workspace, Consents, str],
) -> None:
    work, _, _ = consented
    before = run_stage(work, "ingest")
    scraped = open_root(work.root, tree_of(work.root / "own-source", "consent.acquisition=web_scrape_untargeted"))
    done = run_stage(scraped, "ingest")
    assert done.report.published == 0 and not list(read_table(work.path("footage"), "footage", Footage))
    assert done.report.rejected["untargeted_scraping"] == before.report.items_in > 0
    stated = open_root(work.root, tree_of(work.root / "own-source", "consent.acquisition=own_recording"))
    found = run_stage(stated, "ingest").report
    assert found.figures["acquired_own_recording"] == found.published == before.report.published
    assert run_stage(work, "ingest").run_key == before.run_key


def test_a_lost_catalogue_gets_back_a_run_that_left_withheld_footage_out(
    consented: tuple[Workspace, Consents, str],
) -> None:
    work, consents, _ = consented
    consents.append([a_consent("c-1")])
    consents.withdraw(consent_id="c-1", reason="person_asked", by="desk")
    key = run_stage(work, "embed").run_key
    before = _recorded(work, key)
    assert before is not None and isinstance(before.inputs, dict) and "consent" in before.inputs
    consents.close()
    for path in work.root.glob("ledger*"):
        path.unlink()
    assert rebuild(work).guessed == 0
    after = _recorded(work, key)
    assert after is not None
    assert (after.params, after.inputs, after.outputs) == (before.params, before.inputs, before.outputs)


def _recorded(work: Workspace, run_key: str) -> StageRun | None:
    ledger = Ledger(work.ledger_url())
    found = ledger.find(run_key)
    ledger.close()
    return found


def test_the_commands_record_show_check_and_withdraw(
    consented: tuple[Workspace, Consents, str], tmp_path: Path
) -> None:
    work, _, _ = consented
    (tmp_path / "notice.txt").write_text("what we do")
    rows = "consent_id,subject,controller,jurisdiction,purposes,data_categories,notice_version,notice_sha256,"
    rows += "evidence_sha256,method,given_at\n"
    rows += f"c-1,Ann Example,Example,DE,recognition;training,face_template,1,{'a' * 64},{'b' * 64},signed_form,"
    rows += "2020-01-01\n"
    (tmp_path / "consents.csv").write_text(rows)
    options = ["--root", str(work.root), "--set", f"paths.source={work.root / 'own-source'}"]

    def call(*words: str) -> list[dict[str, object]]:
        done = CliRunner().invoke(app, [*words, *options], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert "Ann" not in done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    assert call("consent", "import", str(tmp_path / "consents.csv"))[0]["new"] == 1
    assert call("consent", "check")[0]["vectors"] == 0
    notice = str(tmp_path / "notice.txt")
    call(
        "consent", "add", "c-2", "--subject", "Ann Example", "--controller", "Example", "--jurisdiction", "DE",
        "--purpose", "training", "--category", "face_picture", "--notice", notice, "--notice-version", "1",
        "--evidence", notice, "--method", "signed_form",
    )  # fmt: skip
    assert call("consent", "withdraw", "--subject", "Ann Example")[0]["withdrawn"] == ["c-1", "c-2"]
    assert [line["state"] for line in call("consent", "list")] == ["withdrawn", "withdrawn"]
    assert [line["kind"] for line in call("consent", "show", "c-1")] == ["given", "withdrawn"]
    assert call("consent", "check")[0]["vectors"] != 0
    assert call("retention", "sweep", "--dry-run")[-1]["due"] == 2  # what was taken back is due at once
    assert call("consent", "enforce")[0]["samples"] == 0
    record = CliRunner().invoke(app, ["processing-records", "--format", "json", *options], catch_exceptions=False)
    assert json.loads(record.stdout)["consents"] == {"given": 0, "withdrawn": 2}
