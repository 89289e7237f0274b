"""Verify finds every damage, repair puts back only what is right, and sweep takes only what nobody uses."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.chaos.bitflips import Flip, drawn_flips, flip_bit, flipped
from typer.testing import CliRunner

from faceloop.cli import app
from faceloop.runner import Workspace, hold
from faceloop.upkeep.repairing import Repair, repair
from faceloop.upkeep.scope import Scope, checks_of
from faceloop.upkeep.sweeping import sweep
from faceloop.upkeep.verifying import JOURNAL, Verified, verify
from facestore.checks import Check, look, name_of
from facestore.copies import FolderCopies, open_copies
from facestore.errors import ConfigError, DataError, StageError
from facestore.ids import file_sha256, media_key, sha256_hex
from facestore.publish import MANIFEST, fresh_partial, publish
from facestore.publish import verify as verify_artifact

from .runner_world import open_root, tree_of
from .upkeep_world import make_root, published_files, stored_files

DAY_S = 86_400.0
NOW_S = 4e9  # later than anything made by these tests


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return make_root(tmp_path / "root", tmp_path / "source")


def _verify(work: Workspace, scope: Scope | None = None, *, is_anew: bool = True) -> Verified:
    return verify(work, scope or Scope(), jobs=2, now_s=0.0, is_anew=is_anew)


def _names(found: Verified) -> list[tuple[str, str]]:
    return [(damage.reason, name_of(damage.check)) for damage in found.damages]


def test_a_sound_root_is_sound_and_leaves_no_journal(work: Workspace) -> None:
    found = _verify(work)
    assert (found.damages, found.files, found.objects, found.known) == ((), 4, 6, 0)
    assert not (work.root / JOURNAL).exists()
    assert _verify(work, Scope(artifact="crops")).files == 2
    assert _verify(work, Scope(release=work.path("crops"))).files == 2
    assert _verify(work, Scope(is_store=True)).objects == 6
    batch = _verify(work, Scope(batch="b001"))
    assert (batch.files, batch.objects) == (2, 3)


def test_each_kind_of_damage_has_its_reason(work: Workspace) -> None:
    gone, short, spoiled, lost = (stored_files(work)[0], *published_files(work)[-2:], stored_files(work)[1])
    assert MANIFEST not in (short.name, spoiled.name)
    flip_bit(gone, 99)
    short.write_bytes(short.read_bytes()[:-1])
    lost.unlink()
    flip_bit(spoiled, 99)
    flip_bit(work.path("footage") / MANIFEST, 99)
    found = dict((name, reason) for reason, name in _names(_verify(work)))  # noqa: C402
    assert found == {
        f"objects/media/{gone.parent.name}/{gone.name}": "hash_differs",
        f"objects/media/{lost.parent.name}/{lost.name}": "missing",
        short.relative_to(work.root).as_posix(): "size_differs",
        spoiled.relative_to(work.root).as_posix(): "hash_differs",
        "footage/_manifest.json": "manifest_differs",
    }


def test_two_hundred_flipped_bits_are_two_hundred_damages(work: Workspace) -> None:
    """Bar B9: objects, tables, crops, manifests."""
    flips = drawn_flips([*published_files(work), *stored_files(work)], 200, seed=9)
    assert _missed(work, flips) == []
    assert _verify(work).damages == ()


def test_the_control_that_does_not_hash_misses_most_of_them(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {path: file_sha256(path) for path in [*published_files(work), *stored_files(work)]}
    flips = drawn_flips([*published_files(work), *stored_files(work)], 200, seed=9)
    for module in ("checks", "objectkeys", "lmdbfile"):
        monkeypatch.setattr(f"facestore.{module}.file_sha256", known.__getitem__)
    assert len(_missed(work, flips)) > 100


def _missed(work: Workspace, flips: Sequence[Flip]) -> list[Flip]:
    checks, missed = {work.root / name_of(check): check for check in _every_check(work)}, []
    for flip in flips:
        with flipped(flip):
            if flip.path.name == MANIFEST:
                is_found = bool(_verify(work, Scope(release=flip.path.parent)).damages)
            else:
                is_found = look(checks[flip.path]) is not None
        missed += [] if is_found else [flip]
    return missed


def _every_check(work: Workspace) -> list[Check]:
    return checks_of(work, Scope())


def test_a_record_that_was_written_badly_is_found_behind_a_good_file_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("facestore.seal.hashlib", SimpleNamespace(sha256=lambda _: _Digest()))
        work = make_root(tmp_path / "root", tmp_path / "source")
    assert {reason for reason, _ in _names(_verify(work, Scope(artifact="crops")))} == {"record_differs"}


class _Digest:
    def digest(self) -> bytes:
        return bytes(32)


def test_a_check_that_was_cut_short_goes_on_where_it_was(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Check] = []

    def cut_short(check: Check) -> None:
        if len(looked) == 7:
            raise KeyboardInterrupt
        looked.append(check)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("facestore.checks.look", cut_short)
        verify(work, Scope(), jobs=1, now_s=0.0, is_anew=False)
    with (work.root / JOURNAL).open("a") as journal:
        journal.write("0123")  # and a line of it was cut, too
    with monkeypatch.context() as patch:
        patch.setattr("facestore.checks.look", lambda check: looked.append(check))
        found = _verify(work, is_anew=False)
    assert (found.known, len(looked)) == (7, 10)
    assert len({name_of(check) for check in looked}) == 10
    assert not (work.root / JOURNAL).exists()


def test_what_was_good_two_days_ago_is_looked_at_again(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("facestore.checks.look", _interrupt)
        _verify(work)
    assert verify(work, Scope(), jobs=1, now_s=NOW_S, is_anew=False).known == 0


def _interrupt(check: Check) -> None:
    raise KeyboardInterrupt


def test_repair_takes_good_copies_by_content_wherever_they_lie(work: Workspace, tmp_path: Path) -> None:
    backup, cache = tmp_path / "backup", tmp_path / "cache"
    shutil.copytree(work.root / "crops", backup / "crops")
    shutil.copytree(work.root / "footage", backup / "footage")
    for number, path in enumerate(stored_files(work)):  # a cache that names its files otherwise
        (cache / "files").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, cache / "files" / f"{number:02x}")
    before = {path: path.read_bytes() for path in [*published_files(work), *stored_files(work)]}
    flip_bit(backup / "crops" / "b001" / "crops.lmdb", 1)  # one copy is damaged itself, and the only one
    for path in before:
        if path.parent.name != "b000":
            flip_bit(path, 77)
    done = _repaired(work, backup, cache)
    left = {name_of(each.damage.check) for each in done if not each.is_done}
    assert left == {"crops/b001/crops.lmdb"}
    assert "faceloop run detect --again" in next(each.advice for each in done if not each.is_done)
    assert {path for path, payload in before.items() if path.read_bytes() != payload} == {
        work.root / "crops" / "b001" / "crops.lmdb"
    }
    verify_artifact(work.path("footage"))


def _repaired(work: Workspace, *places: Path) -> list[Repair]:
    copies = [open_copies(str(place)) for place in places]
    done: dict[str, Repair] = {}
    for _ in range(3):
        done |= {name_of(each.damage.check): each for each in repair(work, _verify(work).damages, copies)}
    return list(done.values())


def test_a_copy_that_is_not_what_it_should_be_is_never_put_in_place(work: Workspace, tmp_path: Path) -> None:
    damaged = stored_files(work)[0]
    flip_bit(damaged, 5)
    as_found = damaged.read_bytes()
    liar = tmp_path / "liar"
    (liar / damaged.name).mkdir(parents=True)
    (liar / damaged.name / damaged.name).write_bytes(b"x" * len(as_found))
    (done,) = repair(work, _verify(work).damages, [FolderCopies(liar)])
    assert not done.is_done
    assert damaged.read_bytes() == as_found


def test_the_manifest_of_another_version_is_not_taken(work: Workspace, tmp_path: Path) -> None:
    other = make_root(tmp_path / "other", tmp_path / "source2", files=3)
    shutil.rmtree(other.root / "crops")
    flip_bit(work.path("footage") / MANIFEST, 40)
    spoiled = (work.path("footage") / MANIFEST).read_bytes()
    done = repair(work, _verify(work, Scope(artifact="footage")).damages, [FolderCopies(other.root)])
    assert [each.is_done for each in done] == [False]
    assert (work.path("footage") / MANIFEST).read_bytes() == spoiled


def test_repair_waits_for_nobody_and_says_who_holds_the_artifact(work: Workspace, tmp_path: Path) -> None:
    flip_bit(published_files(work)[1], 3)
    with hold(work, "ingest"):
        (done,) = repair(work, _verify(work).damages, [FolderCopies(tmp_path)])
    assert not done.is_done
    assert "ingest is already running" in done.advice


@pytest.fixture
def littered(work: Workspace) -> Iterator[Workspace]:
    """A root with a leftover of each kind, and what looks like one and is not."""
    root = work.root
    (root / ".crops.t4.detect").mkdir()
    (root / ".crops.t4.detect" / "half").write_bytes(b"x" * 100)
    (root / "crops.old").mkdir()
    (root / "footage" / "b000" / "footage.parquet.77-1.partial").write_bytes(b"torn")
    (root / "faces.partial" / "b000").mkdir(parents=True)
    (root / "faces.partial" / "b000" / "_batch.json").write_text("{}")
    stray = root / "stray"
    stray.write_bytes(b"footage whose file left the source")
    key = media_key(sha256_hex(stray.read_bytes()))
    (root / "objects" / key).parent.mkdir(parents=True, exist_ok=True)
    stray.rename(root / "objects" / key)
    anchor = root / "objects" / "audit" / "000000000007" / sha256_hex(b"a head")
    anchor.parent.mkdir(parents=True)
    anchor.write_bytes(b"a head")
    with hold(work, "embed") as lease:
        (root / f".embeddings.t{lease.lease.token}.embed").mkdir()
        yield work


def _kinds(leftovers: Sequence[object]) -> list[str]:
    return sorted(str(getattr(each, "kind", "")) for each in leftovers)


def test_sweep_lists_first_and_takes_only_what_nobody_uses(littered: Workspace) -> None:
    everything = sorted(littered.root.rglob("*"))
    found, removed = sweep(littered, now_s=NOW_S, older_than_s=DAY_S, is_dry=True)
    assert _kinds(found) == ["dead_work_area", "old_version", "orphan_object", "partial_file"]
    assert removed == []
    assert [path for path in sorted(littered.root.rglob("*")) if "ledger" not in path.name] == [
        path for path in everything if "ledger" not in path.name
    ]
    again, removed = sweep(littered, now_s=NOW_S, older_than_s=DAY_S, is_dry=False)
    assert _kinds(removed) == _kinds(again) == _kinds(found)
    assert sweep(littered, now_s=NOW_S, older_than_s=DAY_S, is_dry=False) == ([], [])
    assert (littered.root / "faces.partial" / "b000" / "_batch.json").is_file()  # a batch that waits to be published
    assert list(littered.root.glob(".embeddings.*"))  # a living run's
    assert _verify(littered).damages == ()


def test_sweep_takes_nothing_of_the_users_own_whatever_its_name_ends_in(tmp_path: Path) -> None:
    work = make_root(tmp_path / "root", tmp_path / "root" / "films")  # the source lies in the root, as in params.yaml
    films = [work.root / "films" / "party.old" / "only.mp4", work.root / "films" / "party" / "new.mp4"]
    films += [work.root / "films" / "download.partial", work.root / "notes.old" / "note", work.root / "notes" / "note"]
    for film in films:
        film.parent.mkdir(parents=True, exist_ok=True)
        film.write_bytes(b"the only copy")
    assert sweep(work, now_s=NOW_S, older_than_s=DAY_S, is_dry=False) == ([], [])
    assert all(film.is_file() for film in films)


def test_what_is_young_may_be_on_its_way(littered: Workspace) -> None:
    now_s = (littered.root / "objects").stat().st_ctime
    found, _ = sweep(littered, now_s=now_s, older_than_s=DAY_S, is_dry=True)
    assert _kinds(found) == ["dead_work_area", "old_version"]  # these nobody can come back to


def test_no_object_is_an_orphan_while_the_table_does_not_read(littered: Workspace) -> None:
    table = littered.path("footage") / "b000" / "footage.parquet"
    table.write_bytes(b"not a table")
    found, _ = sweep(littered, now_s=NOW_S, older_than_s=DAY_S, is_dry=True)
    assert "orphan_object" not in _kinds(found)


def test_no_object_is_an_orphan_while_a_batch_of_the_table_is_lost(work: Workspace) -> None:
    stored = stored_files(work)
    (work.path("footage") / "b000" / "footage.parquet").unlink()
    assert sweep(work, now_s=NOW_S, older_than_s=DAY_S, is_dry=False) == ([], [])
    (work.path("footage") / MANIFEST).unlink()
    assert sweep(work, now_s=NOW_S, older_than_s=DAY_S, is_dry=False) == ([], [])
    assert stored_files(work) == stored


@pytest.mark.parametrize("state", ["empty", "never published"])
def test_objects_of_a_root_without_footage_are_listed_and_never_taken(work: Workspace, state: str) -> None:
    stored, folder = stored_files(work), work.path("footage")
    shutil.rmtree(folder)
    if state == "empty":
        publish(fresh_partial(folder, keep=False).with_suffix(""), stage="ingest", run_key="e", counts={}, inputs={})
    found, removed = sweep(work, now_s=NOW_S, older_than_s=DAY_S, is_dry=False)
    assert (_kinds(found), removed) == (["unclaimed_object"] * 6, [])
    assert stored_files(work) == stored, "nobody can tell a root that lost its table from one that has no footage"
    assert sweep(work, now_s=NOW_S, older_than_s=1e10, is_dry=True) == ([], [])


def test_a_root_without_anything_published_is_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="nothing of that was published"):
        _verify(open_root(tmp_path / "root", tree_of(tmp_path / "source")))
    with pytest.raises(ConfigError, match="--from"):
        open_copies(str(tmp_path / "not there"))


def test_the_commands_say_it_in_lines_and_in_json(work: Workspace, tmp_path: Path) -> None:
    runner, root = CliRunner(), ["--root", str(work.root)]
    assert "10 checked" not in runner.invoke(app, ["verify", *root]).output
    backup = tmp_path / "backup"
    shutil.copytree(work.root, backup)
    flip_bit(stored_files(work)[0], 8)
    bad = runner.invoke(app, ["verify", "--json", *root])
    assert isinstance(bad.exception, DataError)
    assert [row["reason"] for row in json.loads(bad.stdout)["damages"]] == ["hash_differs"]
    assert "hash_differs objects/media" in runner.invoke(app, ["verify", "--store", *root]).stdout
    mended = runner.invoke(app, ["repair", "--from", str(backup), *root])
    assert mended.exception is None
    assert "repaired objects/media" in mended.stdout
    assert runner.invoke(app, ["verify", *root]).exit_code == 0
    assert "0 leftovers" in runner.invoke(app, ["store", "sweep", *root]).stdout
    assert isinstance(runner.invoke(app, ["verify", "--store", "--batch", "b000", *root]).exception, ConfigError)


@pytest.mark.integration
def test_damage_ends_the_command_with_code_2_and_one_line(work: Workspace) -> None:
    flip_bit(stored_files(work)[0], 8)
    faceloop = Path(sys.executable).parent / "faceloop"
    done = subprocess.run(
        [str(faceloop), "verify", "--root", str(work.root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("hash_differs objects/media/")


@pytest.mark.integration
def test_a_bucket_is_verified_repaired_and_swept_like_a_folder(
    tmp_path: Path, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    from facestore.s3 import S3Bucket

    bucket, _ = S3Bucket.from_url("s3://upkeep")
    bucket.make()
    bucket.make()
    work = make_root(tmp_path / "root", tmp_path / "source", "paths.objects=s3://upkeep/media-store")
    spoiled, lost, *_ = sorted(key for key, _, _ in bucket.list("media-store/"))
    bucket.put_bytes(spoiled, b"other bytes", content_type="video/mp4")
    bucket.remove([lost])
    bucket.client.create_multipart_upload(Bucket="upkeep", Key=spoiled)
    orphan = f"media-store/{media_key(sha256_hex(b'orphan'))}"
    bucket.put_bytes(orphan, b"orphan", content_type="video/mp4")
    assert sorted(reason for reason, _ in _names(_verify(work))) == ["hash_differs", "missing"]
    done = repair(work, _verify(work).damages, [FolderCopies(tmp_path / "source")])  # the source is a copy, too
    assert [each.is_done for each in done] == [True, True]
    assert _verify(work).damages == ()
    found, removed = sweep(work, now_s=NOW_S, older_than_s=DAY_S, is_dry=True)
    assert (_kinds(found), removed) == (["open_upload", "orphan_object"], [])
    assert not sweep(work, now_s=NOW_S, older_than_s=1e10, is_dry=False)[1], "too young"
    _, removed = sweep(work, now_s=NOW_S, older_than_s=DAY_S, is_dry=False)
    assert _kinds(removed) == ["open_upload", "orphan_object"]
    assert list(bucket.started_uploads("")) == []
    assert (_verify(work).damages, bucket.has(orphan)) == ((), False)
