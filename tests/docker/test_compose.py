"""compose.yaml: valid, closed to the outside, and of one piece with what it starts."""

import ipaddress
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from compose_spec import PyCompose
from sqlalchemy import make_url

from facereview.labelstudio import settings as labelling
from facereview.labelstudio.settings import ServerPlace, server_environment

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
TEXT = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
GPU_TEXT = (DOCKER / "compose.gpu.yaml").read_text(encoding="utf-8")
NAMES = sorted(yaml.safe_load(TEXT)["services"])
OURS = {"airflow", "worker", "worker-gpu", "label-studio", "seaweedfs"}

every_service = pytest.mark.parametrize("name", NAMES)


def _mounts(service: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for one in service.get("volumes", []):
        source, target = one.split(":")[:2]
        yield source, target


def test_it_follows_the_compose_specification(compose: dict[str, Any]) -> None:
    assert sorted(PyCompose.from_yaml(yaml.safe_dump(compose)).service_names()) == NAMES


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("no_such_key", 1),
        ("depends_on", {"s3": {"condition": "some_day"}}),
        ("restart", "sometimes"),
        ("ports", ["a:b"]),
    ],
)
def test_the_specification_would_refuse_what_it_does_not_know(compose: dict[str, Any], key: str, wrong: object) -> None:
    services = compose["services"]
    spoiled = compose | {"services": services | {"redis": services["redis"] | {key: wrong}}}
    with pytest.raises(ValueError):
        PyCompose.from_yaml(yaml.safe_dump(spoiled))


def test_every_variable_is_among_the_settings_and_every_setting_is_used(compose: dict[str, Any]) -> None:
    example = (DOCKER / ".env.example").read_text(encoding="utf-8")
    settings = re.findall(r"(?m)^(\w+)=", example)
    assert len(settings) == len(set(settings))
    assert set(re.findall(r"\$\{(\w+)", TEXT + GPU_TEXT)) == set(settings)


@every_service
def test_an_image_is_one_of_ours_or_pinned_to_a_version(compose: dict[str, Any], name: str) -> None:
    image, _, tag = compose["services"][name]["image"].rpartition(":")
    if image.startswith("faceloop/"):
        assert image.removeprefix("faceloop/") in OURS
        bake = json.loads((DOCKER / "bake.json").read_text())
        assert image.removeprefix("faceloop/") in bake["group"]["default"]["targets"]
    else:
        assert re.match(r"v?\d+\.\d+\.\d+|\d+\.\d+-", tag), image


@every_service
def test_what_is_waited_for_is_there_and_can_be_waited_for(compose: dict[str, Any], name: str) -> None:
    services = compose["services"]
    for other, how in services[name].get("depends_on", {}).items():
        assert other in services
        profiles = set(services[other].get("profiles", []))
        assert profiles <= set(services[name].get("profiles", [])), f"{name} waits for {other}, which may not run"
        if how["condition"] == "service_completed_successfully":
            assert services[other]["restart"] == "no"
        else:
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in services[other] or services[other]["image"].split(":")[0].endswith("seaweedfs")


@every_service
def test_a_service_is_bounded_and_gains_nothing(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["restart"] in {"unless-stopped", "no"}
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert name == "postgres" or service["cap_drop"] == ["ALL"]
    assert not service.get("privileged")
    assert not [source for source, _ in _mounts(service) if "docker.sock" in source]
    has_check = "healthcheck" in service or name in {"airflow-init", "s3", "label-studio"}  # the last two: in the image
    assert has_check


@every_service
def test_ports_are_open_on_loopback_only(compose: dict[str, Any], name: str) -> None:
    service = compose["services"][name]
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    networks = compose["networks"]
    can_leave = [one for one in service["networks"] if not (networks[one] or {}).get("internal")]
    assert bool(can_leave) is bool(service.get("ports")), "only who has a port is in a network with a way out"


def test_the_store_is_reached_by_who_works_on_footage_only(compose: dict[str, Any]) -> None:
    inside = {name for name, one in compose["services"].items() if "store" in one["networks"]}
    assert inside == {"s3", "airflow-scheduler", "airflow-triggerer", "airflow-worker"}


@every_service
def test_mounted_files_and_volumes_are_there(compose: dict[str, Any], prepared: Path, name: str) -> None:
    for source, target in _mounts(compose["services"][name]):
        assert target.startswith("/")
        if source.startswith("."):
            assert (prepared / source).exists(), source
        else:
            assert source in compose["volumes"]
    for file in compose["services"][name].get("env_file", []):
        assert (prepared / file).is_file()


def test_who_runs_commands_mounts_all_that_they_touch(compose: dict[str, Any]) -> None:
    for name in ("airflow-scheduler", "airflow-worker"):
        service = compose["services"][name]
        targets = {target for _, target in _mounts(service)}
        environment = service["environment"]
        params = yaml.safe_load((DOCKER.parent / "params.yaml").read_text())
        assert params["paths"].keys()
        assert {environment["FACELOOP_ROOT"], environment["FACELOOP_LABEL_STUDIO_FILES"]} <= targets
        assert environment["FACELOOP_PARAMS"] in targets
        assert "/data/inbox" in targets
    served = {target: source for source, target in _mounts(compose["services"]["label-studio"])}
    assert served["/data/pictures"] == "pictures"


def test_no_secret_is_written_down(prepared: Path) -> None:
    committed = [path for path in DOCKER.rglob("*") if path.is_file() and not {"deployment", ".env"} & set(path.parts)]
    named = re.compile(r"(?im)^[^#\n]*(?:password|secret|token|_key)\w*[\"']?\s*[:=]\s*[\"']?([\w+/-]{12,})[\"']?\s*$")
    for path in committed:
        if path.suffix in {".yaml", ".env", ".example", ".json", ".sh"} and path.name != "secrets.env":
            found = [
                one for one in named.findall(path.read_text("utf-8")) if not re.match(r"(?i)airflow-|faceloop", one)
            ]
            assert found == [], f"{path}: {found}"


@every_service
def test_our_commands_in_it_exist(compose: dict[str, Any], our_commands: dict[str, set[str]], name: str) -> None:
    words = compose["services"][name].get("command", [])
    if words and words[0] == "faceloop":
        assert {word for word in words if word.startswith("--")} <= our_commands[words[1]], words


def test_addresses_name_services_and_ports_that_listen(compose: dict[str, Any]) -> None:
    services = compose["services"]
    aliases = dict.fromkeys(services["webhook"]["networks"]["hooks"]["aliases"], "webhook")
    listening = {"postgres": 5432, "s3": 8333, "redis": 6379, "label-studio": 8080}
    listening |= {name: int(services[name]["command"][-1]) for name in ("airflow-api-server", "webhook", "metrics")}
    found = 0
    for service in services.values():
        for value in map(str, service.get("environment", {}).values()):
            parts = urlsplit(value)
            if parts.hostname not in (None, "localhost"):
                assert listening[aliases.get(str(parts.hostname), str(parts.hostname))] == parts.port, value
                found += 1
    assert found > 20


def test_prometheus_and_grafana_get_what_lies_in_observability(compose: dict[str, Any]) -> None:
    prometheus = dict(_mounts(compose["services"]["prometheus"]))
    config = yaml.safe_load((DOCKER / "observability" / "prometheus.yml").read_text())
    targets = [one for job in config["scrape_configs"] for conf in job["static_configs"] for one in conf["targets"]]
    assert targets == [f"metrics:{compose['services']['metrics']['command'][-1]}"]
    for rules in config["rule_files"]:
        assert f"./observability/{rules}" in prometheus
    grafana = dict(_mounts(compose["services"]["grafana"]))
    provisioning = DOCKER / "observability" / "grafana" / "provisioning"
    (boards,) = yaml.safe_load((provisioning / "dashboards" / "faceloop.yml").read_text())["providers"]
    assert grafana["./observability/grafana/dashboards"] == boards["options"]["path"]
    assert grafana["./observability/grafana/provisioning"] == "/etc/grafana/provisioning"


def test_the_labelling_server_is_as_closed_as_the_one_that_we_start_ourselves(
    compose: dict[str, Any], prepared: Path
) -> None:
    place = ServerPlace(folder=Path("/data/label-studio"), port=8080, database_url="postgresql://u:p@postgres:5432/n")
    expected = server_environment(place, {}, email="e", password="p", is_legacy_token=True)  # noqa: S106
    lines = (prepared / "compose" / "label-studio.env").read_text(encoding="utf-8").splitlines()
    here = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    own = {
        f"LABEL_STUDIO_{name}"
        for name in ("HOST", "ALLOWED_HOSTS", "CORS_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS", "USERNAME", "PASSWORD",
                     "POSTGRE_PASSWORD", "POSTGRE_USER", "POSTGRE_NAME", "LOCAL_FILES_DOCUMENT_ROOT", "BASE_DATA_DIR",
                     "USER_ADDITIONAL_BANNED_SUBNETS")
    }  # fmt: skip
    same = {name: value for name, value in expected.items() if name.startswith("LABEL_STUDIO_") and name not in own}
    assert {name: here.get(name) for name in same} == same
    whole = here | compose["services"]["label-studio"]["environment"]
    in_image = {"LABEL_STUDIO_BASE_DATA_DIR", "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"}
    assert own - in_image <= set(whole)


def test_it_may_call_the_network_of_the_webhook_and_no_other_private_one(compose: dict[str, Any]) -> None:
    lines = (DOCKER / "compose" / "label-studio.env").read_text(encoding="utf-8")
    banned = re.findall(r"(?m)^LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS=(.+)$", lines)[0].split(",")
    (hooks,) = compose["networks"]["hooks"]["ipam"]["config"]
    allowed = hooks["subnet"]
    wanted = ["127.0.0.0/8", "::1/128", *labelling._NEVER_CALLED.split(",")]
    ours, theirs = ([ipaddress.IPv4Network(one) for one in some if ":" not in one] for some in (banned, wanted))
    assert not [one for one in ours if one.overlaps(ipaddress.IPv4Network(allowed))]
    with_hole_filled = ipaddress.collapse_addresses([*ours, ipaddress.IPv4Network(allowed)])
    assert set(with_hole_filled) == set(ipaddress.collapse_addresses(theirs))
    assert {one for one in banned if ":" in one} == {one for one in wanted if ":" in one}
    assert set(compose["services"]["webhook"]["networks"]) == {"backend", "hooks"}


def test_with_the_gpu_file_exactly_the_services_that_run_commands_get_devices(compose: dict[str, Any]) -> None:
    added = yaml.safe_load(GPU_TEXT)["services"]
    assert set(added) == {"airflow-scheduler", "airflow-worker"}
    for name, one in added.items():
        assert one["image"].split(":?}")[1] == "/worker-gpu:${TAG"
        assert one["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
        assert set(one["deploy"]["resources"]["limits"]) == set(
            compose["services"][name]["deploy"]["resources"]["limits"]
        )


def test_scripts_are_sound() -> None:
    for script in sorted((DOCKER / "compose").glob("*.sh")):
        shell = script.read_text().splitlines()[0].rpartition("/")[2].split()[-1]
        subprocess.run([shell, "-n", script], check=True)


@pytest.mark.integration
def test_the_database_script_makes_three_databases_that_keep_to_themselves(postgres_url: str) -> None:
    url = make_url(postgres_url)
    names = {
        "faceloop": "FACELOOP_DB_PASSWORD",
        "airflow": "AIRFLOW_DB_PASSWORD",
        "labelstudio": "LABEL_STUDIO_DB_PASSWORD",
    }
    environment = {key: f"it's {name} \\ $HOME" for name, key in names.items()}
    environment |= {"PGHOST": str(url.host), "PGPORT": str(url.port), "POSTGRES_USER": str(url.username)}
    environment["PATH"] = "/usr/bin:/bin"
    subprocess.run([DOCKER / "compose" / "postgres-init.sh"], check=True, env=environment, capture_output=True)
    host, port = str(url.host), int(url.port or 0)
    for name, key in names.items():
        with psycopg.connect(user=name, dbname=name, password=environment[key], host=host, port=port) as connection:
            connection.execute("CREATE TABLE kept (n int)")
        for other in set(names) - {name}:
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(user=name, dbname=other, host=host, port=port)
    with psycopg.connect(user=str(url.username), dbname="postgres", host=host, port=port) as connection:
        rows = connection.execute("SELECT rolname, rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
    stored = {str(name): str(password) for name, password in rows}
    assert all(stored[name].startswith("SCRAM-SHA-256$") for name in names)
