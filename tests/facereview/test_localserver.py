"""Our own server: its settings, its life, what it keeps and what it refuses."""

import hashlib
import json
import os
import socket
import stat
import subprocess
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from facereview.labelstudio.adapter import LabelStudioServer
from facereview.labelstudio.install import install, new_database
from facereview.labelstudio.local import RunningServer, free_port, main, running, start_server, stop_server
from facereview.labelstudio.settings import ServerPlace, server_environment
from facereview.labelstudio.tokens import log_in, sign_up
from facestore.errors import ConfigError, ServerAway, ServerError, ServerRefused

ROOT = Path(__file__).parents[2]


def environment(place: ServerPlace, outer: dict[str, str]) -> dict[str, str]:
    return server_environment(place, outer, email="a@faceloop.example", password="none")  # noqa: S106


def test_the_server_gets_no_variable_of_ours_that_it_would_read(tmp_path: Path) -> None:
    outer = dict.fromkeys(("HOST", "DEBUG", "CI", "USERNAME", "POSTGRE_HOST", "AWS_SECRET_ACCESS_KEY", "PATH"), "1")
    given = environment(ServerPlace(folder=tmp_path, port=1), outer)
    assert given["PATH"] == "1"
    assert set(given) & set(outer) == {"PATH"}


def test_nothing_is_sent_to_the_maker_and_nobody_signs_up(tmp_path: Path) -> None:
    given = environment(ServerPlace(folder=tmp_path, port=1), {})
    assert given["LABEL_STUDIO_SENTRY_DSN"] == given["LABEL_STUDIO_FRONTEND_SENTRY_DSN"] == ""
    assert given["LABEL_STUDIO_COLLECT_ANALYTICS"] == given["LABEL_STUDIO_LATEST_VERSION_CHECK"] == "false"
    assert given["LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK"] == "true"


def test_a_database_url_is_taken_apart(tmp_path: Path) -> None:
    url = "postgresql+psycopg://ann:p%40ss@db.example:5433/labels"
    given = environment(ServerPlace(folder=tmp_path, port=1, database_url=url), {})
    names = ("DJANGO_DB", "POSTGRE_USER", "POSTGRE_PASSWORD", "POSTGRE_HOST", "POSTGRE_PORT", "POSTGRE_NAME")
    assert [given[f"LABEL_STUDIO_{name}"] for name in names] == [
        "default", "ann", "p@ss", "db.example", "5433", "labels",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url", ["sqlite:///x.db", "postgresql:///labels", "postgresql://db.example", "mysql://a/b", ""]
)
def test_another_database_url_is_a_config_error(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="postgresql://"):
        environment(ServerPlace(folder=tmp_path, port=1, database_url=url), {})


def stand_in_uv(folder: Path, *, fails: bool = False) -> Path:
    """A `uv` that makes a `label-studio` which writes the database that it is told to migrate."""
    folder.mkdir(exist_ok=True)
    program = '#!/bin/sh\necho empty > "$LABEL_STUDIO_BASE_DATA_DIR/label_studio.sqlite3"\n'
    program += 'touch "$LABEL_STUDIO_BASE_DATA_DIR/.env"\n'
    (folder / "program").write_text(program)
    uv = folder / "uv"
    uv.write_text(
        "#!/bin/sh\n"
        f'echo "$1" >> "{folder}/calls"\n'
        + ("echo 'no such host'; exit 3\n" if fails else "")
        + 'if [ "$1" = venv ]; then for last; do :; done; mkdir -p "$last/bin"; '
        f'cp "{folder}/program" "$last/bin/label-studio"; chmod +x "$last/bin/label-studio"; fi\n'
    )
    uv.chmod(0o755)
    return uv


def test_the_server_is_installed_once_and_again_when_its_lock_changes(tmp_path: Path) -> None:
    uv, lock, folder = stand_in_uv(tmp_path / "tools"), tmp_path / "lock", tmp_path / "cache"
    for text, calls in (("one", 2), ("one", 2), ("two", 4), ("two", 4)):
        lock.write_text(text)
        command = install(folder, lock=lock, uv=uv, python=Path("/usr/bin/python3"), say=lambda line: None)
        assert command == folder / "env" / "bin" / "label-studio"
        assert len((tmp_path / "tools" / "calls").read_text().split()) == calls
        assert (folder / "ready").read_text().strip() == hashlib.sha256(text.encode()).hexdigest()
    assert [path.name for path in (folder / "template").iterdir()] == ["label_studio.sqlite3"]  # no secret key


def test_an_installation_that_fails_says_why_and_counts_for_nothing(tmp_path: Path) -> None:
    lock, folder = tmp_path / "lock", tmp_path / "cache"
    lock.write_text("one")
    for tools, fails in (("bad", True), ("good", False)):
        uv = stand_in_uv(tmp_path / tools, fails=fails)
        if fails:
            with pytest.raises(ServerError, match=r"exit 3.*\n.*no such host"):
                install(folder, lock=lock, uv=uv, python=Path("p"), say=lambda line: None)
        else:
            assert install(folder, lock=lock, uv=uv, python=Path("p"), say=lambda line: None).is_file()


def test_a_database_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "template").mkdir()
    (tmp_path / "template" / "label_studio.sqlite3").write_bytes(b"empty")
    new_database(tmp_path, tmp_path / "data")
    (tmp_path / "data" / "label_studio.sqlite3").write_bytes(b"answers")
    new_database(tmp_path, tmp_path / "data")
    assert (tmp_path / "data" / "label_studio.sqlite3").read_bytes() == b"answers"


def test_without_a_server_status_and_stop_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--folder", str(tmp_path)]) == 1
    assert main(["stop", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "none is running\nnone was running\n"


def test_credentials_of_a_process_that_is_another_program_by_now_run_no_server(tmp_path: Path) -> None:
    known = {"url": "http://127.0.0.1:1", "email": "", "password": "", "token": "", "files": "", "pid": os.getpid()}
    (tmp_path / "credentials.json").write_text(json.dumps(known))
    assert running(tmp_path) is None
    assert not stop_server(tmp_path)


def test_damaged_credentials_are_named(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"url": "http')
    with pytest.raises(ServerError, match=r"credentials\.json is damaged"):
        running(tmp_path)


def answer(server: RunningServer, path: str, *, host: str | None = None, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    with closing(connection):
        connection.request(method, path, headers={} if host is None else {"Host": host})
        got = connection.getresponse()
        return got.status, got.read().decode(errors="replace")


@pytest.mark.integration
class TestARealServer:
    def test_only_its_owner_reads_its_credentials(self, label_studio: RunningServer) -> None:
        folder = Path(label_studio.files).parent
        for name in ("credentials.json", "label_studio.sqlite3", "server.log"):
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
        assert label_studio.password not in (folder / "server.log").read_text()

    def test_without_a_login_it_gives_nothing(self, label_studio: RunningServer) -> None:
        (Path(label_studio.files) / "one.jpg").write_bytes(b"\xff\xd8 a picture")
        assert answer(label_studio, "/data/local-files/?d=one.jpg")[0] == 401
        assert answer(label_studio, "/api/projects/")[0] == 401
        assert answer(label_studio, "/user/signup/", method="POST")[0] == 403
        assert answer(label_studio, "/user/signup/?token=guessed", method="POST")[0] == 403

    def test_under_another_name_it_answers_nothing(self, label_studio: RunningServer) -> None:
        assert answer(label_studio, "/user/login/")[0] == 200
        assert answer(label_studio, "/user/login/", host="attacker.example")[0] == 400

    def test_its_pages_know_no_address_for_error_reports(self, label_studio: RunningServer) -> None:
        assert "ingest.sentry.io/5838868" not in answer(label_studio, "/user/login/")[1]

    def test_a_wrong_password_and_a_bad_address_are_refused(self, label_studio: RunningServer) -> None:
        with pytest.raises(ServerRefused, match="does not let"):
            log_in(label_studio.url, label_studio.email, "wrong")
        admin = log_in(label_studio.url, label_studio.email, label_studio.password)
        with pytest.raises(ServerRefused, match="does not let"):
            sign_up(label_studio.url, admin.invite(), "a@b.c", "a-long-password")

    def test_stopped_and_started_it_keeps_its_data_its_token_and_its_name(
        self, tmp_path: Path, label_studio: RunningServer
    ) -> None:
        folder, port = tmp_path / "server", free_port()
        first = start_server(folder, port=port)
        try:
            assert start_server(folder) == first == running(folder)
            with closing(LabelStudioServer(first.url, first.token)) as server:
                instance = server.instance
                made = server.create_project(
                    title="kept", description="", label_config="<View/>", overlap=1, model_version=""
                )
            assert stop_server(folder) and running(folder) is None
            again = start_server(folder, port=port)
            assert (again.token, again.password, again.url) == (first.token, first.password, first.url)
            with closing(LabelStudioServer(again.url, again.token)) as server:
                assert server.instance == instance
                assert server.projects() == [made]
        finally:
            stop_server(folder)
        with closing(LabelStudioServer(label_studio.url, label_studio.token)) as server:
            assert server.instance != instance
        with pytest.raises(ServerAway):
            log_in(first.url, first.email, first.password)

    def test_a_port_that_is_taken_is_named_and_nothing_starts(self, tmp_path: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(ServerError, match=f"port {port} is taken"):
                start_server(tmp_path / "server", port=port)
        assert running(tmp_path / "server") is None

    def test_a_server_that_ends_at_once_is_told_with_its_last_words(self, tmp_path: Path) -> None:
        (tmp_path / "label_studio.sqlite3").write_bytes(b"this is no database" * 100)
        with pytest.raises(ServerError, match="file is not a database"):
            start_server(tmp_path)
        assert running(tmp_path) is None


@pytest.mark.integration
def test_make_starts_a_server_that_takes_the_token_it_wrote_down_and_stops_it(tmp_path: Path) -> None:
    place = [f"LABELS={tmp_path / 'labels'}", f"LABELS_PORT={free_port()}"]
    subprocess.run(["make", "labelstudio", *place], cwd=ROOT, check=True, capture_output=True)
    known = running(tmp_path / "labels")
    assert known is not None
    adapter = LabelStudioServer(known.url, known.token)
    assert adapter.check() == "1.23.2"
    adapter.close()
    subprocess.run(["make", "labelstudio-down", *place], cwd=ROOT, check=True, capture_output=True)
    assert running(tmp_path / "labels") is None
