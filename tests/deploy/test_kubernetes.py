"""The manifests: valid by the schema, as restricted as they say, and at one with each other."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar.config import load as configuration
from sidecar.config.options import to_toml
from sidecar.config.settings import OPTIONS

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
FOLDERS = ["native-sidecar", "gateway"]
VERSIONS = ["1.30", kubernetes_validate.latest_version()]  # 1.30: sleep in preStop
IMAGE = {"STATE_DIRECTORY": "/var/lib/sidecar"}  # as the Containerfile sets it
KUBECTL = shutil.which("kubectl")

Document = dict[str, Any]


def kustomization(folder: str) -> Document:
    read: Document = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text())
    return read


def documents(folder: str) -> list[Document]:
    """What a kustomization names, as it is written."""
    names = kustomization(folder)["resources"]
    texts = ((KUBERNETES / folder / name).read_text() for name in names)
    return [document for text in texts for document in yaml.safe_load_all(text)]


def of_kind(folder: str, kind: str) -> Document:
    (found,) = (document for document in documents(folder) if document["kind"] == kind)
    return found


def pod(folder: str) -> Document:
    spec: Document = of_kind(folder, "Deployment")["spec"]["template"]["spec"]
    return spec


def containers(folder: str) -> Iterator[Document]:
    spec = pod(folder)
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def sidecar(folder: str) -> Document:
    (found,) = (one for one in containers(folder) if one["image"] == "jira-oauth-sidecar")
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_each_is_valid_by_the_schema(folder: str, version: str) -> None:
    for document in documents(folder):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_schema_finds_what_is_wrong(folder: str) -> None:
    document = of_kind(folder, "Deployment")
    document["spec"]["template"]["spec"]["fsGroup"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[0], strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_kustomization_names_every_file_beside_it_and_none_that_is_missing(folder: str) -> None:
    read = kustomization(folder)
    named = {*read["resources"], *read["configMapGenerator"][0]["files"], "kustomization.yaml"}
    assert named == {path.name for path in (KUBERNETES / folder).iterdir()}


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", FOLDERS)
def test_what_kustomize_makes_of_it_is_valid(folder: str) -> None:
    assert KUBECTL is not None
    done = subprocess.run(
        [KUBECTL, "kustomize", str(KUBERNETES / folder)], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert len(made) == len(documents(folder)) + 1  # the configuration
    for document in made:
        kubernetes_validate.validate(document, VERSIONS[0], strict=True)


@pytest.mark.parametrize("folder", FOLDERS)
def test_pods_are_as_restricted_as_the_pod_security_standard_asks(folder: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    spec = pod(folder)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["securityContext"]["runAsUser"] > 0
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert spec["automountServiceAccountToken"] is False
    allowed = {"projected", "persistentVolumeClaim", "configMap", "secret", "emptyDir"}
    for volume in spec["volumes"]:
        assert volume.keys() - {"name"} <= allowed
    for container in containers(folder):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_key_is_shown_as_the_sidecar_takes_it(folder: str) -> None:
    """Root's, 0440, to the group of the pod; the token would be opened to it at each mount."""
    spec = pod(folder)
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]
    assert spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
    projected = next(volume["projected"] for volume in spec["volumes"] if "projected" in volume)
    assert projected["defaultMode"] == 0o440
    names = {next(iter(source)) for source in projected["sources"]}
    assert names == {"configMap", "secret"}


@pytest.fixture(params=FOLDERS)
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, configuration.Config]:
    """The configuration of a folder, as the sidecar reads it in its pod."""
    folder: str = request.param
    document = tomllib.loads((KUBERNETES / folder / "config.toml").read_text())
    lines = []
    for table, keys in document.items():
        known = [key for key in keys if f"{table}.{key}" in OPTIONS]
        assert set(keys) - set(known) <= {"two_legged"}, "an unknown key"
        lines += [f"[{table}]", *(f"{key} = {to_toml(keys[key])}" for key in known)]
    file = tmp_path / "config.toml"
    file.write_text("\n".join(lines))
    return folder, configuration.load(file, IMAGE, {})


def test_the_configuration_is_valid_and_its_ports_are_those_of_the_pod(
    mounted: tuple[str, configuration.Config],
) -> None:
    folder, config = mounted
    container = sidecar(folder)
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    admin = config.admin.address
    assert isinstance(admin, configuration.TCPAddress)
    assert (admin.host, admin.port) == ("0.0.0.0", ports["admin"])
    (address,) = config.listen.addresses
    assert isinstance(address, configuration.TCPAddress)
    if "http" in ports:
        assert address.port == ports["http"]
        assert config.access.key_file is not None
    else:
        assert address.is_local
        tool = next(one for one in containers(folder) if one is not container and "env" in one)
        assert tool["env"][0]["value"] == f"http://localhost:{address.port}"
    for probe, path in (("startup", "health"), ("liveness", "health"), ("readiness", "ready")):
        asked = container[f"{probe}Probe"]["httpGet"]
        assert asked == {"path": f"/_sidecar/{path}", "port": "admin"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_there_is_time_to_finish_what_is_in_flight(folder: str) -> None:
    pause = sidecar(folder).get("lifecycle", {}).get("preStop", {}).get("sleep", {})
    shutdown = OPTIONS["timeouts.shutdown"].default
    assert isinstance(shutdown, int)
    needed = shutdown + pause.get("seconds", 0)
    assert pod(folder)["terminationGracePeriodSeconds"] > needed


def test_the_native_sidecar_starts_before_the_tool_and_its_token_has_one_owner() -> None:
    (first,) = pod("native-sidecar")["initContainers"]
    assert first == sidecar("native-sidecar")
    assert first["restartPolicy"] == "Always"
    deployment = of_kind("native-sidecar", "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")
    claim = of_kind("native-sidecar", "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_the_gateway_s_parts_mean_the_same_pods_ports_and_names() -> None:
    labels = of_kind("gateway", "Deployment")["spec"]["template"]["metadata"]["labels"]
    service = of_kind("gateway", "Service")
    policy = of_kind("gateway", "NetworkPolicy")["spec"]
    budget = of_kind("gateway", "PodDisruptionBudget")["spec"]
    assert service["spec"]["selector"] == labels
    assert policy["podSelector"]["matchLabels"] == labels
    assert budget["selector"]["matchLabels"] == labels
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    assert of_kind("gateway", "Deployment")["spec"]["replicas"] > budget["maxUnavailable"]
    document = tomllib.loads((KUBERNETES / "gateway" / "config.toml").read_text())
    assert service["metadata"]["name"] in document["access"]["hosts"]
    assert document["jira"]["two_legged"] is True
    assert "token" not in document
