"""A PostgreSQL server of a test's own, which may be crashed: `pg_ctl -m immediate` ends every process at once."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest


class Cluster:
    """Reached by a socket in its folder alone: no port is taken."""

    def __init__(self, folder: Path, control: list[str], url: str) -> None:
        self._folder = folder
        self._control = control
        self.url = url

    def start(self) -> None:
        words = [*self._control, "-l", str(self._folder / "log"), "start"]
        subprocess.run(words, check=True, cwd=self._folder, stdout=subprocess.DEVNULL)

    def crash(self) -> None:
        subprocess.run([*self._control, "-m", "immediate", "stop"], check=True, cwd=self._folder, capture_output=True)


@contextmanager
def running_cluster(*settings: str) -> Iterator[Cluster]:
    """A started server, with `settings` (name=value) in its configuration; skips where there is no PostgreSQL."""
    folders = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    search = ":".join([*folders, os.environ["PATH"]])
    programs = {name: shutil.which(name, path=search) for name in ("initdb", "pg_ctl", "setpriv")}
    if missing := [name for name, found in programs.items() if found is None]:
        pytest.skip(f"no PostgreSQL here: {', '.join(missing)} missing")
    folder = Path(mkdtemp(prefix="faceloop-pg-"))
    become = []
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            shutil.chown(folder, user="postgres")
        except LookupError:
            pytest.skip("running as root and no user `postgres` for the server")
        become = [str(programs["setpriv"]), "--reuid=postgres", "--regid=postgres", "--init-groups"]
    data = str(folder / "d")
    initdb = [str(programs["initdb"]), "-D", data, "-U", "app", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*become, *initdb, "--locale=C.UTF-8"], check=True, capture_output=True, cwd=folder)
    with Path(data, "postgresql.conf").open("a") as configuration:
        configuration.write("\n".join([f"unix_socket_directories='{folder}'", "listen_addresses=''", *settings]) + "\n")
    control = [*become, str(programs["pg_ctl"]), "-D", data, "-w", "-s"]
    cluster = Cluster(folder, control, f"postgresql+psycopg://app@/postgres?host={folder}")
    try:
        cluster.start()
        yield cluster
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)
