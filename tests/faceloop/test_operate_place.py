"""A deployment's folder: made once, kept, for its owner only; what its parts are told."""

import json
import socket
import stat
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from faceloop.operate.deployment import params_text, prepare
from faceloop.operate.parts import Site, environment, labelling_environment, parts_of
from faceloop.operate.place import Place, Ports, kept_keys, kept_ports, place_of, refuse_taken
from faceloop.params import Paths, read_params, section
from facereview.labelstudio.local import RunningServer
from facestore.errors import ConfigError

ROOT = Path(__file__).parents[2]
SERVER = RunningServer(url="http://127.0.0.1:2", email="a@b.c", password="p" * 9, token="t" * 9, files="/files", pid=1)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of(tmp_path)


@pytest.fixture
def site(place: Place) -> Site:
    ports = Ports(airflow=1, labels=2, webhook=3, metrics=4)
    return Site(place=place, ports=ports, keys=kept_keys(place), dags=ROOT / "dags", cores=2, has_metrics=True)


def test_secrets_are_made_once_and_only_their_owner_reads_them(place: Place, site: Site) -> None:
    assert kept_keys(place) == site.keys
    prepare(site, ROOT / "params.yaml")
    secret = [place.folder / "keys.json", place.passwords]
    assert [stat.S_IMODE(path.stat().st_mode) for path in secret] == [0o600, 0o600]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place.folder, place.airflow)] == [0o700, 0o700]
    assert set(json.loads(place.passwords.read_text())) == {"admin", "robot", "viewer"}
    kinds = [site.keys.fernet, site.keys.session, site.keys.jwt, site.keys.webhook, *site.keys.passwords.values()]
    assert len(set(kinds)) == 7


def test_damaged_secrets_are_named_and_not_replaced(place: Place) -> None:
    path = place.folder / "keys.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"keys\.json is damaged"):
        kept_keys(place)
    assert path.read_text() == "{"


def test_the_params_of_a_deployment_are_the_shipped_ones_but_for_root_and_inbox(place: Place) -> None:
    shipped = (ROOT / "params.yaml").read_text()
    text = params_text(shipped, place)
    expected, made = yaml.safe_load(shipped), yaml.safe_load(text)
    expected["root"], expected["paths"]["source"] = str(place.root), str(place.inbox)
    assert made == expected
    changed = [line for line, old in zip(text.splitlines(), shipped.splitlines(), strict=True) if line != old]
    assert len(changed) == 2, "comments stay"


def test_params_that_engineers_changed_stay(place: Place, site: Site) -> None:
    prepare(site, ROOT / "params.yaml")
    assert section(read_params(place.params), "paths", Paths).source == str(place.inbox)
    place.params.write_text("theirs")
    prepare(site, ROOT / "params.yaml")
    assert place.params.read_text() == "theirs"


def test_ports_are_kept_because_projects_know_them(place: Place) -> None:
    first = kept_ports(place, 31_500)
    assert list(asdict(first).values()) == [31_500, 31_501, 31_502, 31_503]
    assert kept_ports(place, None) == first
    with pytest.raises(ConfigError, match="leave out --port-base"):
        kept_ports(place, 31_600)


def test_without_a_base_four_free_neighbours_are_taken(place: Place) -> None:
    ports = kept_ports(place, None)
    refuse_taken(ports)
    with socket.socket() as other:
        other.bind(("127.0.0.1", ports.webhook))
        other.listen()
        with pytest.raises(ConfigError, match=rf"port {ports.webhook} \(for webhook\) is taken"):
            refuse_taken(ports)


def test_tasks_know_root_params_label_studio_and_webhook_and_strangers_know_no_secret(site: Site) -> None:
    outer = {"PATH": "/bin", "HOME": "/h", "AIRFLOW__CORE__PARALLELISM": "9", "AIRFLOW_HOME": "/elsewhere"}
    parts = {part.name: part for part in parts_of(site, SERVER, outer)}
    order = ["label-studio", "api-server", "scheduler", "dag-processor", "triggerer", "webhook", "metrics"]
    assert list(parts) == order
    for name in ("scheduler", "triggerer"):
        given = parts[name].environment
        assert given["FACELOOP_LABEL_STUDIO_TOKEN"] == SERVER.token
        assert given["FACELOOP_WEBHOOK_URL"] == "http://127.0.0.1:3/hook"
        assert (given["FACELOOP_ROOT"], given["FACELOOP_PARAMS"]) == (str(site.place.root), str(site.place.params))
        assert given["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:1/execution/"
    for name in ("api-server", "dag-processor", "metrics"):
        assert set(labelling_environment(site, SERVER)) & set(parts[name].environment) == set(), (
            "files are parsed there"
        )
    for part in parts.values():
        assert part.environment["AIRFLOW__CORE__PARALLELISM"] == "9", "the pace is the operator's"
        assert part.environment["AIRFLOW_HOME"] == str(site.place.airflow), "where it lives is not"
        assert not any(secret in word for secret in _secrets(site) for word in part.argv), "anybody may read arguments"


def test_without_a_metrics_command_there_is_no_such_part(place: Place) -> None:
    ports = Ports(airflow=1, labels=2, webhook=3, metrics=4)
    site = Site(place=place, ports=ports, keys=kept_keys(place), dags=ROOT, cores=1, has_metrics=False)
    assert "metrics" not in [part.name for part in parts_of(site, SERVER, {})]
    assert environment(site, {})["AIRFLOW__CORE__PARALLELISM"] == "4"


def _secrets(site: Site) -> list[str]:
    keys = site.keys
    return [keys.fernet, keys.session, keys.jwt, keys.webhook, *keys.passwords.values(), SERVER.token]
