"""deploy/kubernetes: by Kubernetes' own schemas, and as the service needs it."""

import base64
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has none
import pytest
import yaml

from service.settings import PREFIX, Settings, load
from tests.support.pages import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((FOLDER / name).read_text()) for name in KUSTOMIZATION["resources"]
}
SUPPORTED = ("1.30.0", "1.37.0")
SETTINGS: dict[str, str] = OBJECTS["settings.yaml"]["data"]
POD: dict[str, Any] = OBJECTS["deployment.yaml"]["spec"]["template"]["spec"]
KEY_FILE = "SEALWRIGHT_KEY_ENCRYPTION_KEY_FILE"
PODS = {name: OBJECTS[name]["spec"]["template"]["spec"] for name in ("deployment.yaml", "migrate.yaml")}


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_is_what_kubernetes_takes(name: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[name], version, strict=True)


def test_a_word_that_kubernetes_does_not_know_is_found() -> None:
    wrong = {**OBJECTS["service.yaml"], "spec": {**OBJECTS["service.yaml"]["spec"], "selectors": {}}}

    with pytest.raises(kubernetes_validate.ValidationError, match="selectors"):
        kubernetes_validate.validate(wrong, SUPPORTED[-1], strict=True)


def test_what_the_kustomization_makes_is_what_kubernetes_takes() -> None:
    if shutil.which("kubectl") is None:
        return  # the tests of its parts stand in for it

    made = subprocess.run(
        ["kubectl", "kustomize", FOLDER], capture_output=True, text=True, timeout=60, check=True
    ).stdout

    objects = list(yaml.safe_load_all(made))
    assert len(objects) == len(OBJECTS)
    for each in objects:
        kubernetes_validate.validate(each, SUPPORTED[-1], strict=True)
        if each["kind"] != "Namespace":
            assert each["metadata"]["namespace"] == "sealwright"
    images = re.findall(r"image: (.+)", made)
    assert images == [f"sealwright:{KUSTOMIZATION['images'][0]['newTag']}"] * len(PODS)


def test_the_image_is_the_one_of_this_release() -> None:
    release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert KUSTOMIZATION["images"] == [{"name": "sealwright", "newTag": release}]


def test_no_file_is_forgotten() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {"kustomization.yaml", *OBJECTS}


def test_the_settings_are_a_production_deployments(tmp_path: Path) -> None:
    key = tmp_path / "key-encryption-key"
    key.write_bytes(base64.b64encode(bytes(32)))
    given = {
        **SETTINGS,
        "SEALWRIGHT_DATABASE_URL": "postgresql://user:hush@db.example:5432/name",
        "SEALWRIGHT_REDIS_URL": "redis://:hush@cache.example:6379/0",
        KEY_FILE: str(key),
    }

    settings = load(_env_file=None, **{name.removeprefix(PREFIX).lower(): v for name, v in given.items()})

    assert not settings.development
    # A pod answers on while it drains, then ends what is under way; only then may it be killed.
    assert POD["terminationGracePeriodSeconds"] > (
        settings.drain_delay.total_seconds() + settings.shutdown_timeout
    )


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_a_pod_is_of_the_restricted_profile(pod: dict[str, Any]) -> None:
    [container] = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert OBJECTS["namespace.yaml"]["metadata"]["labels"] == {
        "pod-security.kubernetes.io/enforce": "restricted"
    }


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_no_service_of_the_cluster_overrides_a_setting(pod: dict[str, Any]) -> None:
    # Those links would be variables with our prefix, SEALWRIGHT_PORT among them.
    assert OBJECTS["service.yaml"]["metadata"]["name"] == "sealwright"
    assert pod["enableServiceLinks"] is False


@pytest.mark.skipif(
    "key_store" not in Settings.model_fields, reason="the keys cannot be kept in Postgres yet"
)
@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_every_variable_is_a_setting_and_every_secret_stays_in_the_secret(pod: dict[str, Any]) -> None:
    [container] = pod["containers"]
    from_secret = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in container["env"]}

    assert container["envFrom"] == [{"configMapRef": {"name": OBJECTS["settings.yaml"]["metadata"]["name"]}}]
    for variable in [*SETTINGS, *from_secret]:
        assert variable.removeprefix(PREFIX).lower() in Settings.model_fields, variable
    assert {each["name"] for each in from_secret.values()} == {"sealwright"}
    assert not [value for value in SETTINGS.values() if re.search(r"postgres(ql)?://|redis://", value)]
    [mount] = [each for each in container["volumeMounts"] if each["name"] == "secrets"]
    assert SETTINGS[KEY_FILE].startswith(f"{mount['mountPath']}/")


def test_the_probes_ask_what_each_is_for() -> None:
    [container] = POD["containers"]
    paths = {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}

    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert [port["name"] for port in container["ports"]] == ["http"]


def test_whoever_selects_pods_selects_the_service_and_not_the_migration() -> None:
    labels = OBJECTS["deployment.yaml"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        OBJECTS["deployment.yaml"]["spec"]["selector"]["matchLabels"],
        OBJECTS["service.yaml"]["spec"]["selector"],
        OBJECTS["disruption.yaml"]["spec"]["selector"]["matchLabels"],
    ]

    assert selectors == [labels] * 3
    assert OBJECTS["migrate.yaml"]["spec"]["template"]["metadata"]["labels"] != labels
