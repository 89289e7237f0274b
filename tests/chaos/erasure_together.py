"""One root with every store that there is, and person 1 in each: what is planted, called, and looked at afterwards."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import MetaData, create_engine, select
from tests.chaos.erasure_desk import Desk, is_of_person
from tests.chaos.erasure_stores import (
    TRACKED,
    data_of,
    left_in,
    owned_database,
    plant_in_bucket,
    plant_in_postgres,
    tracked_by_dvc,
)
from tests.chaos.postgres_cluster import Cluster
from tests.faceloop.contract_world import under_contract
from tests.faceloop.erasing_world import NAME, copy_of, identity_of, jpeg_of, publish_people
from tests.faceloop.mining_world import face_id

from faceloop.erasure.needles import Needles, search
from faceloop.export.gallery import plain_gallery
from faceloop.export.gallery_shelf import GALLERIES, history_of
from faceloop.promotion.galleries import GalleryRequest, publish_gallery
from faceloop.runner import Workspace
from facereview.labelstudio.local import RunningServer
from facestore.records import ReleaseSample
from facestore.releasechanges import Addition, Change, change_release
from facestore.s3 import S3Bucket
from facestore.shardchanges import ShardLimits
from facestore.shards import SampleLabel
from facestore.tables import read_table

REPOSITORY = Path(__file__).parents[2]
SIGNING_KEY = b"s" * 32
_MOVING = {"lease", "stage_run"}  # every command writes there
_KILLED = """
import sys
from tests.chaos.erasure_kills import killed_at
from faceloop.cli import main
if sys.argv[1]:
    killed_at(sys.argv[1])
sys.argv[:2] = ["faceloop"]
main()
"""


def publish_all(folder: Path) -> Workspace:
    """The encrypted world with a gallery of FAISS, corrected releases, a log, a temporary folder, and a real DVC."""
    work = under_contract(lambda: publish_people(folder, is_encrypted=True))
    publish_gallery(work, GalleryRequest(states=["confirmed", "proposed"], templates=3))
    plain_gallery(work.root / GALLERIES / history_of(work.root)[-1], work.root / "handed-out")
    for release in ("release", "releases/kept"):
        _correct(work, work.root / release)
    (work.root / "logs").mkdir()
    (work.root / "logs" / "detect.log").write_text(f"face {face_id(1, 3)} of {NAME}: 0.71\n" * 50)
    (work.root / "tmp" / "upload-1").mkdir(parents=True)
    (work.root / "tmp" / "upload-1" / "part").write_bytes(b"\0" * 333 + jpeg_of(work))
    tracked_by_dvc(folder, TRACKED)
    return work


def _correct(work: Workspace, release: Path) -> None:
    """Samples of the person are written anew: a dead row where each was, a shard and a delta where it is now."""
    ours = {face_id(1, photo) for photo in range(6)}
    samples = [one for one in read_table(release, "samples", ReleaseSample) if one.face_id in ours][:2]
    assert samples
    added = [
        Addition(
            split=one.split,
            label=SampleLabel(
                face_id=one.face_id, identity_id=one.identity_id, class_index=one.class_index, confidence=0.5,
                quality=one.quality,
            ),
            footage_id=one.footage_id,
            jpeg=jpeg_of(work),
        )
        for one in samples
    ]  # fmt: skip
    change = Change(reason="corrected", removed={one.face_id for one in samples}, added=added)
    assert change_release(release, change, limits=ShardLimits(samples=3)).added == len(samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    error: str


class Everything:
    """A copy of the world whose catalogue is on the server, its media in the bucket, its questions at the desk."""

    def __init__(
        self, built: Workspace, folder: Path, cluster: Cluster, bucket: S3Bucket, labelling: RunningServer
    ) -> None:
        url = owned_database(cluster, f"w_{bucket.name.replace('-', '_')}", "app")
        self.work = copy_of(built, folder, ledger=url, objects=f"s3://{bucket.name}/media")
        config = folder / ".dvc" / "config"
        config.write_text(config.read_text().replace(str(built.root.parent), str(folder)))
        plant_in_postgres(self.work, built.ledger_url())
        plant_in_bucket(self.work, bucket)
        self.bucket, self.url, self.folder = bucket, url, folder
        self.desk = Desk(self.work, labelling)
        self._questions = {one.question_id for one, _ in self.desk.asked() if is_of_person(one)}
        self.data = data_of(cluster)
        self.words = [
            "erase", "apply", identity_of(self.work, 1), "--yes", "--by", "eve", "--reason", "person_asked",
            "--label-studio", str(self.desk.folder), "--search", str(self.data), *self.root_words(),
        ]  # fmt: skip
        self.environ = self.desk.environ | {"FACELOOP_SIGNING_KEY": base64.b64encode(SIGNING_KEY).decode()}

    def root_words(self) -> list[str]:
        return ["--root", str(self.work.root), "--params", str(self.folder / "params.yaml")]

    def call(self, *words: str, killed_at: str = "") -> Ended:
        """The command in a process of its own, which dies at this point of an erasure."""
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, killed_at, *words],
            cwd=REPOSITORY, env=os.environ | self.environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return Ended(code=done.returncode, out=done.stdout, error=done.stderr)

    def stores(self) -> dict[str, list[Path]]:
        """Where bytes lie, but for the bucket and the user's own source."""
        root, project = self.work.root, self.folder
        ours = {
            "gallery": root / GALLERIES, "plain gallery": root / "handed-out", "release": root / "release",
            "older release": root / "releases", "report": root / "report", "log": root / "logs",
            "temporary": root / "tmp", "half done": root / "faces.partial", "torn": root / ".crops.t7.detect",
            "tables": root / "faces", "clusters": root / "assignments", "keys": root / "keys.sqlite3",
            "cache of DVC": project / ".dvc" / "cache", "index of DVC": project / "site",
            "remote of DVC": project / "remote", "PostgreSQL": self.data, "Label Studio": self.desk.folder,
        }  # fmt: skip
        loose = [*root.glob("*.json"), *root.glob("*.npy"), *root.glob("*.bin"), *root.glob("*.txt")]
        return {name: [path] for name, path in ours.items()} | {"loose files": loose}

    def held(self, judge: Needles) -> set[str]:
        """Stores that hold a needle; `elsewhere` for a file of the project that is in none of them."""
        found = {name for name, paths in self.stores().items() if search(paths, judge).held}
        if left_in(self.bucket, judge):
            found.add("bucket")
        known = [path for paths in self.stores().values() for path in paths]
        but_for = [*known, self.folder / "source"]
        return found | ({"elsewhere"} if search([self.folder], judge, but_for=but_for).held else set())

    def named_by(self, places: Collection[str]) -> set[str]:
        """The stores that these files and objects lie in."""
        stores = [(name, path) for name, paths in self.stores().items() for path in paths]
        found = {name for name, path in stores for place in places if Path(place).is_relative_to(path)}
        return found | {"bucket" for place in places if place.startswith("s3://")}

    def rows_of_others(self, judge: Needles) -> dict[str, set[str]]:
        """Every row of the catalogue with neither a needle nor a question about the person, by table."""
        engine, tables = create_engine(self.url), MetaData()
        tables.reflect(engine)
        with engine.connect() as connection:
            rows = {
                each.name: {repr(tuple(row)) for row in connection.execute(select(each))}
                for each in tables.sorted_tables
                if each.name not in _MOVING
            }
        engine.dispose()
        return {
            name: {row for row in found if not (judge.found_in(row.encode()) or self._asks_of_them(row))}
            for name, found in rows.items()
        }

    def _asks_of_them(self, row: str) -> bool:
        return any(question_id in row for question_id in self._questions)

    def paper(self) -> dict[str, object]:
        (place,) = self.work.root.glob("erasures/*/certificate.json")
        body: dict[str, object] = json.loads(place.read_text())
        return body

    def close(self) -> None:
        self.desk.close()
        shutil.rmtree(self.folder, ignore_errors=True)
