"""Manifests rendered, validated, and asked where a call would go."""

import base64
import functools
import json
import os
import subprocess
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "target/tools"
PROGRAM = ROOT / "target/debug/flyte-authz-proxy"
CHART = ROOT / "deploy/helm/flyte-authz-proxy"
VALUES = ROOT / "tests/deploy/values"
PUBLISHED = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
OLDEST, NEWEST = "1.25.0", "1.37.0"
# Kubernetes publishes schemas for these; the others are decoded by the types of their operators.
OWN = {
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "Ingress": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "Service": "v1",
    "ServiceAccount": "v1",
}


def run(*command, stdin=None, cwd=ROOT):
    return subprocess.run(
        [str(word) for word in command], input=stdin, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def helm(*names, settings=(), kubernetes=NEWEST, namespace="flyte"):
    """Runs `helm template` with files of `values`, each laid over those before."""
    command = [TOOLS / "helm", "template", "authz", CHART, "--namespace", namespace, "--kube-version", kubernetes]
    for name in names:
        command += ["--values", VALUES / f"{name}.yaml"]
    for setting in settings:
        command += ["--set-json", setting]
    return run(*command)


def chart(*names, **options):
    """The documents that the chart makes of these values."""
    rendered = helm(*names, **options)
    assert rendered.returncode == 0, rendered.stderr
    return documents(rendered.stdout)


def kustomize(directory):
    rendered = run(TOOLS / "kustomize", "build", directory)
    assert rendered.returncode == 0, rendered.stderr
    return documents(rendered.stdout)


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(manifests, kind):
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def one(manifests, kind, name=None):
    found = [m for m in of_kind(manifests, kind) if name in (None, m["metadata"]["name"])]
    assert len(found) == 1, (kind, name, [m["metadata"]["name"] for m in of_kind(manifests, kind)])
    return found[0]


def text_of(manifests):
    return "\n---\n".join(yaml.safe_dump(manifest) for manifest in manifests)


@functools.cache
def schemas(kubernetes):
    """The directory with the schemas of a version of Kubernetes, referring to each other as files that lie together."""
    made = ROOT / "target/kubernetes-schemas" / kubernetes
    made.mkdir(parents=True, exist_ok=True)
    published = PUBLISHED / f"v{kubernetes}-local-strict"
    kinds = [f"{kind.lower()}-{version.replace('.k8s.io/', '/').replace('/', '-')}" for kind, version in OWN.items()]
    for name in ["_definitions", *kinds]:
        text = (published / f"{name}.json").read_text()
        schema = json.loads(text.replace('"/api/_definitions.json#', '"_definitions.json#'))
        del schema["$id"]
        (made / f"{name}.json").write_text(json.dumps(schema))
    return made


def invalid(manifests, kubernetes=NEWEST):
    """What kubeconform and the operators' types object to."""
    own = [m for m in manifests if OWN.get(m["kind"]) == m["apiVersion"]]
    others = [m for m in manifests if OWN.get(m["kind"]) != m["apiVersion"]]
    location = f"{schemas(kubernetes)}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    checked = run(
        TOOLS / "kubeconform", "-strict", "-output", "json", "-verbose", "-summary",
        "-kubernetes-version", kubernetes, "-schema-location", location, stdin=text_of(own),
    )  # fmt: skip
    answer = json.loads(checked.stdout)
    problems = [r for r in answer["resources"] if r["status"] != "statusValid"]
    assert len(answer["resources"]) == len(own), answer
    assert bool(problems) == bool(checked.returncode), checked
    if others:
        decoded = run(TOOLS / "decode", stdin=text_of(others))
        problems += [decoded.stderr] if decoded.returncode else []
    return problems


def pod_of(deployment):
    return deployment["spec"]["template"]["spec"]


def container_of(deployment, name="authz-proxy"):
    found = [c for c in pod_of(deployment)["containers"] if c["name"] == name]
    assert len(found) == 1, [c["name"] for c in pod_of(deployment)["containers"]]
    return found[0]


def assert_restricted(container, pod):
    """The Pod Security Standard `restricted`, and a root file system that cannot be written."""
    own = container["securityContext"]
    assert own["runAsNonRoot"] is True and own["runAsUser"] > 0 and own["runAsGroup"] > 0
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert own["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["readOnlyRootFilesystem"] is True
    assert "privileged" not in own
    for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
        assert not pod.get(forbidden)
    for port in container["ports"]:
        assert "hostPort" not in port and port["containerPort"] >= 1024
    allowed = {"name", "configMap", "projected", "secret", "emptyDir", "downwardAPI", "csi", "persistentVolumeClaim"}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    for volume in pod["volumes"]:
        assert volume["name"] not in mounted or set(volume) <= allowed, volume


def assert_mounted(manifests, deployment, given=()):
    """Every mount has a volume, no mount misses updates, and every ConfigMap of a volume is there or given."""
    pod, container = pod_of(deployment), container_of(deployment)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert len(volumes) == len(pod["volumes"])
    maps = {m["metadata"]["name"] for m in of_kind(manifests, "ConfigMap")} | set(given)
    for mount in container["volumeMounts"]:
        volume = volumes[mount["name"]]
        assert mount["readOnly"] is True and "subPath" not in mount
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            if "configMap" in source:
                assert source["configMap"]["name"] in maps
    return {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}


def leads_to(manifests, service, port):
    """The container and its port that a port of a Service leads to."""
    service = one(manifests, "Service", service)
    (entry,) = [entry for entry in service["spec"]["ports"] if port in (entry["port"], entry["name"])]
    wanted = service["spec"]["selector"].items()
    (deployment,) = [
        d for d in of_kind(manifests, "Deployment") if wanted <= d["spec"]["template"]["metadata"]["labels"].items()
    ]
    for container in pod_of(deployment)["containers"]:
        for own in container["ports"]:
            if entry["targetPort"] in (own["containerPort"], own.get("name")):
                return container["name"], own["containerPort"]
    raise AssertionError(f"nothing listens on {entry['targetPort']}")


def selects(selector, labels):
    """Whether a label selector selects; an empty one selects everything."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def reaches(manifests, peer, pod, port):
    """Whether NetworkPolicies let a peer reach a port of a pod; both are (namespace, labels)."""
    namespace, labels = pod
    policies = [
        p
        for p in of_kind(manifests, "NetworkPolicy")
        if p["metadata"].get("namespace", "flyte") == namespace and selects(p["spec"]["podSelector"], labels)
    ]
    return not policies or any(
        opens(rule, peer, namespace, port) for policy in policies for rule in policy["spec"]["ingress"]
    )


def opens(rule, peer, namespace, port):
    if "ports" in rule and port not in [entry["port"] for entry in rule["ports"]]:
        return False
    if not rule.get("from"):
        return True
    peer_namespace, peer_labels = peer
    for source in rule["from"]:
        assert set(source) <= {"podSelector", "namespaceSelector"} and source
        if "namespaceSelector" in source:
            of_namespace = {"kubernetes.io/metadata.name": peer_namespace}
            there = selects(source["namespaceSelector"], of_namespace)
        else:
            there = peer_namespace == namespace
        if there and selects(source.get("podSelector", {}), peer_labels):
            return True
    return False


def check(directory, config, policies):
    """Runs `check` on a configuration and policy as the pod would have them, with files of its own for the Secrets."""
    policy, tls, session, clients = (directory / name for name in ("policy", "tls", "session", "clients"))
    for made in (policy, tls, session, clients):
        made.mkdir()
    for name, text in policies.items():
        (policy / name).write_text(text)
    made = run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        "-keyout", tls / "tls.key", "-out", tls / "tls.crt",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (clients / "ca.pem").write_text((tls / "tls.crt").read_text())
    for name, length in (("cookie_hash_key", 64), ("cookie_block_key", 32)):
        (session / name).write_text(base64.b64encode(os.urandom(length)).decode().rstrip("="))
    for made in (policy, tls, session, clients):
        config = config.replace(f"/etc/flyte-authz-{made.name}", str(made))
    (directory / "config.yaml").write_text(config)
    return run(PROGRAM, "check", "--config", directory / "config.yaml")
