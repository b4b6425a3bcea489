"""The Kustomize overlays: valid, whole, and the only way to FlyteAdmin."""

import shutil

import pytest
import yaml
from manifests import (
    NEWEST, ROOT, TOOLS, assert_mounted, assert_restricted, check, container_of, invalid, kustomize, leads_to, of_kind,
    one, pod_of, reaches, run,
)  # fmt: skip

OVERLAYS = ROOT / "deploy/kustomize/overlays"
ADMIN = ("flyte", {"app.kubernetes.io/name": "flyteadmin", "app.kubernetes.io/instance": "flyte"})
STRANGER = ("ml-development", {"app.kubernetes.io/name": "flyte-authz-proxy-lookalike"})
MONITORING = ("monitoring", {})


@pytest.fixture(scope="module")
def gateway():
    return kustomize(OVERLAYS / "gateway")


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory):
    """The overlay with FlyteAdmin's own manifests added, as its comment tells."""
    copy = tmp_path_factory.mktemp("kustomize") / "kustomize"
    shutil.copytree(ROOT / "deploy/kustomize", copy)
    overlay = copy / "overlays/sidecar"
    shutil.copy(ROOT / "tests/deploy/flyte-core.yaml", overlay / "flyte.yaml")
    kustomization = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    kustomization["resources"].append("flyte.yaml")
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomize(overlay)


@pytest.mark.parametrize("overlay", ["gateway", "sidecar"])
def test_every_object_is_what_kubernetes_accepts(overlay, request):
    manifests = request.getfixturevalue(overlay)
    # The hook `sleep` came with 1.30.
    for version in ("1.30.0", NEWEST):
        assert invalid(manifests, version) == []
    broken = [{**manifests[0], "specification": {}}]
    assert len(invalid(broken)) == 1


def test_kubectl_builds_the_same_as_kustomize():
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here")
    for overlay in ("gateway", "sidecar"):
        built = run("kubectl", "kustomize", OVERLAYS / overlay)
        assert built.returncode == 0, built.stderr
        assert built.stdout == run(TOOLS / "kustomize", "build", OVERLAYS / overlay).stdout


@pytest.mark.parametrize(("overlay", "name"), [("gateway", "flyte-authz-proxy"), ("sidecar", "flyteadmin")])
def test_the_proxy_starts_with_what_is_mounted(overlay, name, request, tmp_path):
    manifests = request.getfixturevalue(overlay)
    deployment = one(manifests, "Deployment", name)
    container = container_of(deployment)
    assert_restricted(container, pod_of(deployment))
    mounts = assert_mounted(manifests, deployment)
    config = one(manifests, "ConfigMap", mounts["/etc/flyte-authz"]["configMap"]["name"])
    policy = one(manifests, "ConfigMap", mounts["/etc/flyte-authz-policy"]["configMap"]["name"])
    assert policy["metadata"]["name"] == "flyte-authz-policy", "a new name would replace the pods at each change"
    assert config["metadata"]["name"] != "flyte-authz-config", "the same name would keep pods with the old one"
    checked = check(tmp_path, config["data"]["config.yaml"], policy["data"])
    assert checked.returncode == 0, checked.stdout
    assert "3 decision tests passed" in checked.stdout
    assert checked.stdout.count("warning:") == 1 and "metrics and status are open" in checked.stdout
    written = yaml.safe_load(config["data"]["config.yaml"])
    ports = [port["containerPort"] for port in container["ports"]]
    addresses = [*(listener["address"] for listener in written["listeners"]), written["admin"]["address"]]
    assert addresses == [f"0.0.0.0:{port}" for port in ports]
    drain = int(written["shutdown"]["drain"].removesuffix("s"))
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_of(deployment)["terminationGracePeriodSeconds"] > drain + sleep


def test_behind_the_gateway_flyteadmin_answers_the_proxy_and_the_engine_only(gateway):
    proxy = ("flyte", one(gateway, "Deployment")["spec"]["template"]["metadata"]["labels"])
    assert leads_to(gateway, "flyte-authz-proxy", 443) == ("authz-proxy", 8443)
    config = one(gateway, "ConfigMap", pod_of(one(gateway, "Deployment"))["volumes"][0]["configMap"]["name"])
    upstream = yaml.safe_load(config["data"]["config.yaml"])["upstream"]
    assert upstream == {"grpc": "http://flyteadmin:81", "http": "http://flyteadmin:80"}
    engine = [("flyte", {"app.kubernetes.io/name": name}) for name in ("flytepropeller", "flytescheduler")]
    for port in (8088, 8089):
        assert all(reaches(gateway, peer, ADMIN, port) for peer in [proxy, *engine])
        lookalikes = [(STRANGER[0], proxy[1]), ("ml-development", engine[0][1]), STRANGER, MONITORING]
        assert not any(reaches(gateway, peer, ADMIN, port) for peer in lookalikes)
    assert not any(reaches(gateway, proxy, ADMIN, port) for port in (80, 81, 8087, 9443))
    for pod, port in ((ADMIN, 10254), (proxy, 9090)):
        assert reaches(gateway, MONITORING, pod, port) and not reaches(gateway, STRANGER, pod, port)
    assert reaches(gateway, STRANGER, proxy, 8443)
    for kind in ("PodDisruptionBudget", "HorizontalPodAutoscaler", "Service"):
        one(gateway, kind, "flyte-authz-proxy")
    assert one(gateway, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == proxy[1]


def test_as_a_sidecar_the_service_leads_to_the_proxy_and_the_pod_is_closed_otherwise(sidecar):
    assert leads_to(sidecar, "flyteadmin", 80) == ("authz-proxy", 8443)
    assert leads_to(sidecar, "flyteadmin", 81) == ("authz-proxy", 8443)
    deployment = one(sidecar, "Deployment")
    config = [m for m in of_kind(sidecar, "ConfigMap") if "config.yaml" in m["data"]]
    upstream = yaml.safe_load(config[0]["data"]["config.yaml"])["upstream"]
    flyteadmin = container_of(deployment, "flyteadmin")
    own = [port["containerPort"] for port in flyteadmin["ports"]]
    assert upstream == {"grpc": f"http://127.0.0.1:{own[1]}", "http": f"http://127.0.0.1:{own[0]}"}
    assert flyteadmin["image"] == "flyteadmin:v1.16.8", "the rest of it stays"
    # It stays for as long as the proxy, which came second, may need it.
    drain = flyteadmin["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_of(deployment)["terminationGracePeriodSeconds"] > drain >= 35
    for peer in (STRANGER, MONITORING, ADMIN, ("flyte", {"app.kubernetes.io/name": "flytepropeller"})):
        assert reaches(sidecar, peer, ADMIN, 8443)
        assert not any(reaches(sidecar, peer, ADMIN, port) for port in (8088, 8089, 8087))
    for port in (9090, 10254):
        assert reaches(sidecar, MONITORING, ADMIN, port) and not reaches(sidecar, STRANGER, ADMIN, port)
