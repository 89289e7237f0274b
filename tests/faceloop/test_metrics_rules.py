"""Alert rules and dashboard: promtool passes them, Grafana's model knows them, they ask for metrics that there are."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from faceloop.watch.metrics import HELP, LIVE, PREFIX

OBSERVABILITY = Path(__file__).parents[2] / "docker" / "observability"
ALERTS = OBSERVABILITY / "alerts.yml"
DASHBOARD = OBSERVABILITY / "grafana" / "dashboards" / "faceloop.json"
Json = Any


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine (Debian: apt-get install prometheus)")
    return found


def rules() -> list[dict[str, Json]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> Json:
    return json.loads(DASHBOARD.read_text())


def expressions() -> list[str]:
    """Of every panel, then of every annotation."""
    board = dashboard()
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return found + [one["expr"] for one in board["annotations"]["list"]]


@pytest.mark.parametrize("words", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_passes_the_rules(words: tuple[str, ...]) -> None:
    done = subprocess.run([program("promtool"), *words], cwd=OBSERVABILITY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_passes_the_configuration() -> None:
    command = [program("promtool"), "check", "config", "prometheus.yml"]
    done = subprocess.run(command, cwd=OBSERVABILITY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_severity_summary_runbook_and_a_test_of_its_silence_and_of_its_voice() -> None:
    tests = yaml.safe_load((OBSERVABILITY / "alerts_test.yml").read_text())["tests"]
    asked = [one for test in tests for one in test.get("alert_rule_test", ())]
    speaks = {one["alertname"] for one in asked if one.get("exp_alerts")}
    silent = {one["alertname"] for one in asked if not one.get("exp_alerts")}
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    assert speaks == silent == set(alerts)
    for rule in alerts.values():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert re.fullmatch(r"docs/operate\.md#[a-z-]+", rule["annotations"]["runbook"])
        assert rule["annotations"]["summary"].endswith(".")


def test_rules_and_panels_ask_for_metrics_that_there_are() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    known = {PREFIX + name for name in {*HELP, *LIVE}} | recorded | {"up"}
    for expression in [*expressions(), *(rule["expr"] for rule in rules())]:
        plain = re.sub(r'"[^"]*"', '""', expression)
        assert set(re.findall(r"\bfaceloop[_:][a-z_0-9:]+", plain)) <= known, expression


def test_the_dashboard_is_sound() -> None:
    """Our own rules of structure; the next test holds it against Grafana's model."""
    board = dashboard()
    panels = board["panels"]
    assert 6 <= len(panels) <= 10
    assert len({panel["id"] for panel in panels}) == len(panels)
    places: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= place["x"] + place["w"] <= 24
        squares = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not squares & places, panel["title"]
        places |= squares
        assert panel["title"]
        assert panel["description"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "faceloop"}
            assert target["legendFormat"]
    provisioned = yaml.safe_load((OBSERVABILITY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    assert [(one["type"], one["uid"]) for one in provisioned["datasources"]] == [("prometheus", "faceloop")]
    folders = yaml.safe_load((OBSERVABILITY / "grafana/provisioning/dashboards/faceloop.yml").read_text())
    assert [one["type"] for one in folders["providers"]] == ["file"]


def test_grafanas_own_model_knows_every_key_of_the_dashboard() -> None:
    """Read into Grafana's published model and written back, nothing is lost: a key that it does not know would be."""
    pytest.importorskip("grafana_foundation_sdk", reason="install grafana-foundation-sdk")
    import_module("grafana_foundation_sdk.cog.plugins").register_default_plugins()
    encoder = import_module("grafana_foundation_sdk.cog.encoder").JSONEncoder
    model = import_module("grafana_foundation_sdk.models.dashboard").Dashboard
    board = dashboard()
    again = json.loads(encoder(sort_keys=True).encode(model.from_json(board)))
    assert list(_lost(board, again, "")) == []
    board["panels"][1]["options"]["tooltip"]["nodes"] = "multi"
    again = json.loads(encoder(sort_keys=True).encode(model.from_json(board)))
    assert list(_lost(board, again, "")) == ["/panels/1/options/tooltip/nodes"]


def _lost(given: Json, back: Json, where: str) -> Iterator[str]:
    if isinstance(given, dict):
        for key, value in given.items():
            yield from _lost(value, back.get(key) if isinstance(back, dict) else None, f"{where}/{key}")
    elif isinstance(given, list):
        for number, value in enumerate(given):
            known = isinstance(back, list) and number < len(back)
            yield from _lost(value, back[number] if known else None, f"{where}/{number}")
    elif given != back:
        yield where
