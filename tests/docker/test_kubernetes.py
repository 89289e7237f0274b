"""The manifests and the values of Airflow's chart: valid, bounded, nobody's root, and names that lead somewhere."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from facereview.labelstudio import settings as labelling

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker" / "kubernetes"
BASE = FOLDER / "base"
KUBERNETES = "1.31"  # the oldest that is said to work
TEMPLATE: dict[str, Any] = yaml.safe_load((BASE / "pod-template.yaml").read_text(encoding="utf-8"))
VALUES = sorted(FOLDER.glob("airflow-values*.yaml"))
CHARTS_OWN = {"airflow-metadata", "airflow-fernet", "airflow-api", "airflow-jwt"}

Object = dict[str, Any]


def _pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for one in objects:
        if one["kind"] == "Deployment":
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
    yield "pod-template", TEMPLATE["spec"]


def _containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for name, pod in _pods(objects):
        for one in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}/{one['name']}", one


def _values(*files: str) -> Object:
    merged: Object = {}
    for name in files:
        _merge(merged, yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")))
    return merged


def _merge(into: Object, more: Object) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def test_every_object_is_one_that_kubernetes_knows(cluster: list[Object]) -> None:
    assert len(cluster) > 15
    for one in [*cluster, TEMPLATE]:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_kubectl_renders_the_same(cluster: list[Object], overlay: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl here, which renders overlays without any cluster")
    done = subprocess.run([kubectl, "kustomize", str(overlay)], check=True, capture_output=True, text=True)
    hashed = re.compile(r"(faceloop-(?:params|label-studio))-[0-9a-z]{10}$", re.MULTILINE)
    theirs = list(yaml.safe_load_all(hashed.sub(r"\1", done.stdout)))

    def shown(objects: list[Object]) -> dict[tuple[str, str], Object]:
        kept = ("spec", "data", "rules", "subjects", "roleRef")
        for one in objects:
            if one["kind"] == "Secret":  # kubectl breaks long values into lines
                one["data"] = {key: value.replace("\n", "") for key, value in one["data"].items()}
        found = {(one["kind"], one["metadata"]["name"]): {key: one.get(key) for key in kept} for one in objects}
        assert len(found) == len(objects)
        return found

    assert shown(theirs) == shown(cluster)


def test_an_object_with_a_misspelt_key_would_be_refused() -> None:
    spoiled = yaml.safe_load((BASE / "pod-template.yaml").read_text(encoding="utf-8"))
    spoiled["spec"]["containers"][0]["resuorces"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoiled, KUBERNETES, strict=True)


def test_every_resource_file_is_in_the_kustomization_and_all_is_in_one_namespace(cluster: list[Object]) -> None:
    plan = yaml.safe_load((BASE / "kustomization.yaml").read_text(encoding="utf-8"))
    generated = {"pod-template.yaml", "kustomization.yaml", "params.yaml"}
    assert {path.name for path in BASE.glob("*.yaml")} - generated == set(plan["resources"])
    spaces = {one["metadata"].get("namespace") for one in cluster if one["kind"] != "Namespace"}
    assert spaces == {"faceloop"}


def test_names_lead_to_objects_that_are_there(cluster: list[Object]) -> None:
    names = {(one["kind"], one["metadata"]["name"]) for one in cluster}
    secret = next(
        one for one in cluster if (one["kind"], one["metadata"]["name"]) == ("Secret", "faceloop-environment")
    )
    for name, pod in _pods(cluster):
        assert ("ServiceAccount", pod["serviceAccountName"]) in names, name
        for volume in pod["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names, name
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names, name
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes, name
            for origin in container.get("envFrom", []):
                kind, found = (
                    ("Secret", origin.get("secretRef"))
                    if "secretRef" in origin
                    else ("ConfigMap", origin["configMapRef"])
                )
                assert (kind, found["name"]) in names
            for variable in container.get("env", []):
                if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert reference["name"] == secret["metadata"]["name"]
                    assert reference["key"] in secret["data"]


def test_services_and_policies_select_pods_that_are_there(cluster: list[Object]) -> None:
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in cluster if one["kind"] == "Deployment"]
    ports = {port["name"] for _, one in _containers(cluster) for port in one.get("ports", [])}
    for one in cluster:
        if one["kind"] == "Service":
            assert any(one["spec"]["selector"].items() <= found.items() for found in labels), one["metadata"]["name"]
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports
        if one["kind"] == "NetworkPolicy" and "matchLabels" in one["spec"]["podSelector"]:
            wanted = one["spec"]["podSelector"]["matchLabels"].items()
            assert any(wanted <= found.items() for found in labels), one["metadata"]["name"]
    covered = next(one for one in cluster if one["metadata"]["name"] == "closed")["spec"]["podSelector"]
    assert set(covered["matchExpressions"][0]["values"]) == {found["app.kubernetes.io/name"] for found in labels}


def test_no_container_is_root_or_unbounded_or_gains_anything(cluster: list[Object]) -> None:
    for name, pod in _pods(cluster):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 50000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    for name, one in _containers(cluster):
        assert {"cpu", "memory"} == set(one["resources"]["limits"]) == set(one["resources"]["requests"]), name
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_images_are_ours_and_tagged(cluster: list[Object]) -> None:
    for name, one in _containers(cluster):
        assert re.fullmatch(r"registry\.example/faceloop/(worker|label-studio):local", one["image"]), name


def test_our_commands_in_them_exist(cluster: list[Object], our_commands: dict[str, set[str]]) -> None:
    ours = [one["args"] for _, one in _containers(cluster) if one.get("args", [""])[0] == "faceloop"]
    assert len(ours) == 2
    for words in ours:
        assert {word for word in words if word.startswith("--")} <= our_commands[words[1]], words


def test_the_launcher_may_start_pods_and_jobs_and_read_no_secret(cluster: list[Object]) -> None:
    (role,) = [one for one in cluster if one["kind"] == "Role"]
    (binding,) = [one for one in cluster if one["kind"] == "RoleBinding"]
    allowed = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert {("pods", "create"), ("pods", "watch"), ("pods/log", "get"), ("jobs", "create"), ("jobs", "get")} <= allowed
    assert not [one for one in allowed if one[0] == "secrets" or "*" in one]
    assert [one["name"] for one in binding["subjects"]] == ["faceloop-launcher"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]


def test_the_secret_holds_no_value_of_this_repository(cluster: list[Object]) -> None:
    example = (BASE / "secrets.env.example").read_text(encoding="utf-8")
    secret = [line for line in example.splitlines() if re.match(r"\w*(PASSWORD|TOKEN|SECRET|ACCESS_KEY)\w*=", line)]
    assert len(secret) > 6
    assert [line for line in secret if "<" not in line] == ["FACELOOP_KUBERNETES_SECRET=faceloop-environment"]


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_values_name_what_the_manifests_make(values: Path, cluster: list[Object]) -> None:
    names = {one["metadata"]["name"] for one in cluster} | CHARTS_OWN
    merged = _values(*dict.fromkeys(["airflow-values.yaml", values.name]))
    environment = {one["name"]: one["value"] for one in merged["env"]}
    for variable in ("SERVICE_ACCOUNT", "SECRET", "VOLUME", "NAMESPACE"):
        assert environment[f"FACELOOP_{variable}"] in names, variable
    text = yaml.safe_dump(merged)
    named = re.findall(r"(?:claimName|SecretName|secretName): (\S+)", text)
    named += re.findall(r"configMap:\n\s+name: (\S+)", text)
    assert {"faceloop-data", *CHARTS_OWN} <= set(named)
    assert set(named) <= names
    for part in ("scheduler", "triggerer"):
        assert merged[part]["serviceAccount"] == {"create": False, "name": "faceloop-launcher"}


def test_the_gpu_values_only_add_to_the_others() -> None:
    plain, gpu = (yaml.safe_load((FOLDER / f"airflow-values{kind}.yaml").read_text())["env"] for kind in ("", "-gpu"))
    assert gpu[: len(plain)] == plain
    added = {one["name"]: one["value"] for one in gpu[len(plain) :]}
    assert set(added) == {"FACELOOP_GPU", "FACELOOP_GPU_IMAGE", "FACELOOP_GPU_SELECTOR"}


def test_the_root_means_the_same_wherever_a_command_runs(cluster: list[Object]) -> None:
    environment = {one["name"]: one["value"] for one in _values("airflow-values.yaml")["env"]}
    root, params = environment["FACELOOP_ROOT"], environment["FACELOOP_PARAMS"]
    assert environment["FACELOOP_MOUNT"] == root  # jobs mount the claim at the root's own path
    assert params == f"{root}/params.yaml"
    (template,) = TEMPLATE["spec"]["containers"]
    told = {one["name"]: one["value"] for one in template["env"]}
    assert (told["FACELOOP_ROOT"], told["FACELOOP_PARAMS"]) == (root, params)
    assert template["name"] == "base"
    assert [one["mountPath"] for one in template["volumeMounts"]] == [root]
    copier = next(one for name, one in _containers(cluster) if name == "metrics/params")
    assert f"mv {params}.partial {params}" in copier["args"][-1]


def test_the_dags_read_the_settings_that_the_values_give() -> None:
    text = (ROOT / "dags" / "facedags" / "settings.py").read_text(encoding="utf-8")
    environment = {one["name"] for one in _values("airflow-values.yaml", "airflow-values-gpu.yaml")["env"]}
    for name in environment:
        assert re.search(rf'"(?:FACELOOP_)?{name.removeprefix("FACELOOP_")}"', text), name


def test_the_pod_template_lies_where_airflow_looks_for_it(cluster: list[Object]) -> None:
    values = _values("airflow-values.yaml", "airflow-values-executor.yaml")
    (mount,) = values["scheduler"]["extraVolumeMounts"]
    where = Path(values["config"]["kubernetes_executor"]["pod_template_file"])
    (made,) = [one for one in cluster if one["metadata"]["name"] == "faceloop-pod-template"]
    assert where == Path(mount["mountPath"]) / next(iter(made["data"]))
    assert yaml.safe_load(made["data"][where.name]) == TEMPLATE


def test_the_labelling_server_calls_no_private_network() -> None:
    text = (BASE / "label-studio.env").read_text(encoding="utf-8")
    banned = re.findall(r"(?m)^LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS=(.+)$", text)[0]
    assert banned == f"127.0.0.0/8,::1/128,{labelling._NEVER_CALLED}"
    same = (ROOT / "docker" / "compose" / "label-studio.env").read_text(encoding="utf-8")
    ours = {line for line in same.splitlines() if line.startswith("LABEL_STUDIO_")}
    changed = {line.split("=")[0] for line in ours - set(text.splitlines())}
    assert changed == {"LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS", "LABEL_STUDIO_POSTGRE_HOST"}
