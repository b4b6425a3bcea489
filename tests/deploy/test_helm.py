"""The Helm chart: every variant is valid, starts, and is the only way to FlyteAdmin; wrong values are refused with advice."""

import copy
import json

import pytest
import yaml
from manifests import (
    CHART, NEWEST, OLDEST, ROOT, TOOLS, VALUES, assert_mounted, assert_restricted, chart, check, container_of,
    documents, helm, invalid, kustomize, leads_to, of_kind, one, pod_of, reaches, run,
)  # fmt: skip

VARIANTS = {
    "minimal": ["minimal"],
    "full": ["full"],
    "gateway-api": ["minimal", "gateway-api"],
    "plain": ["minimal", "plain"],
    "sidecar": ["minimal", "sidecar"],
    "sidecar-binary": ["minimal", "sidecar-binary"],
}
# ConfigMaps that are somebody else's.
GIVEN = ["shared-policy", "security-policy", "mesh-ca", "flyte-admin-config", "flyte-binary-config"]
STRANGER = ("ml-development", {"app.kubernetes.io/name": "somebody"})
MONITORING = ("monitoring", {})
FLYTEADMIN = {"app.kubernetes.io/name": "flyteadmin", "app.kubernetes.io/instance": "flyte"}


@pytest.fixture(params=VARIANTS)
def variant(request):
    return request.param


def config_of(manifests):
    (config,) = [m["data"]["config.yaml"] for m in of_kind(manifests, "ConfigMap") if "config.yaml" in m["data"]]
    return config


def policies_of(manifests, name="policy"):
    found = [m["data"] for m in of_kind(manifests, "ConfigMap") if m["metadata"]["name"].endswith(f"-{name}")]
    return found[0] if found else {}


@pytest.fixture
def with_flyte(tmp_path):
    """What the chart makes, and the manifests of Flyte's own chart after its patches."""

    def build(manifests, file, deployment):
        sidecar = one(manifests, "ConfigMap", "authz-flyte-authz-proxy-sidecar")["data"]
        patches = [("apps/v1", "Deployment", deployment, sidecar["deployment-patch.yaml"])]
        for key, patch in sidecar.items():
            if key.startswith("service-"):
                patches.append(("v1", "Service", key.removeprefix("service-").removesuffix("-patch.yaml"), patch))
        kustomization = {"resources": ["flyte.yaml"], "patches": []}
        for version, kind, name, patch in patches:
            head = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "flyte"}}
            kustomization["patches"].append({"patch": yaml.safe_dump({**head, **yaml.safe_load(patch)})})
        (tmp_path / "flyte.yaml").write_text((ROOT / "tests/deploy" / file).read_text())
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return manifests + kustomize(tmp_path)

    return build


def test_the_chart_passes_the_strict_linter(variant):
    values = [word for name in VARIANTS[variant] for word in ("--values", VALUES / f"{name}.yaml")]
    linted = run(TOOLS / "helm", "lint", "--strict", CHART, *values)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])
def test_every_object_is_what_kubernetes_and_the_operators_accept(variant, kubernetes):
    manifests = chart(*VARIANTS[variant], kubernetes=kubernetes)
    assert invalid(manifests, kubernetes) == []
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(names) == len(set(names))
    for manifest in manifests:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == "authz"


def test_a_field_that_does_not_exist_is_found_in_every_kind():
    manifests = chart("full") + chart("minimal", "gateway-api")
    kinds = {m["kind"]: m for m in manifests}
    assert {"Deployment", "Ingress", "HTTPRoute", "GRPCRoute", "BackendTLSPolicy", "Certificate", "PodMonitor"} <= set(kinds)
    for kind, manifest in kinds.items():
        broken = copy.deepcopy(manifest)
        (broken["data"] if kind == "ConfigMap" else broken.setdefault("spec", broken))["flavour"] = {"x": 1}
        assert invalid([broken]), kind


def test_the_proxy_accepts_its_configuration_and_policy(variant, tmp_path):
    manifests = chart(*VARIANTS[variant])
    checked = check(tmp_path, config_of(manifests), policies_of(manifests))
    assert checked.returncode == 0, checked.stdout
    if variant == "full":
        assert "1 decision test passed" in checked.stdout
        assert "# Text stays as it is written." in policies_of(manifests)["teams.yaml"]


def test_the_pods_of_the_gateway_are_restricted_and_whole(variant):
    manifests = chart(*VARIANTS[variant])
    deployments = of_kind(manifests, "Deployment")
    assert len(deployments) == (0 if variant.startswith("sidecar") else 1)
    for deployment in deployments:
        pod, container = pod_of(deployment), container_of(deployment)
        assert_restricted(container, pod)
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert pod["automountServiceAccountToken"] is (variant == "full")
        assert_mounted(manifests, deployment, GIVEN)
        assert_times(config_of(manifests), container, pod)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
        for constraint in pod.get("topologySpreadConstraints", []):
            assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()
        for budget in of_kind(manifests, "PodDisruptionBudget"):
            assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
        for monitor in of_kind(manifests, "PodMonitor"):
            assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
            assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in [port["name"] for port in container["ports"]]
    if variant == "plain":
        assert not of_kind(manifests, "PodDisruptionBudget") and not of_kind(manifests, "ServiceAccount")
        assert "topologySpreadConstraints" not in pod_of(deployments[0])


def assert_times(config, container, pod):
    drain = int(yaml.safe_load(config)["shutdown"]["drain"].removesuffix("s"))
    sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod["terminationGracePeriodSeconds"] > drain + sleep


def test_the_ports_of_the_container_are_those_of_the_configuration(variant, with_flyte):
    manifests = chart(*VARIANTS[variant])
    if variant == "sidecar":
        manifests = with_flyte(manifests, "flyte-core.yaml", "flyteadmin")
    elif variant == "sidecar-binary":
        manifests = with_flyte(manifests, "flyte-binary.yaml", "flyte-binary")
    config = yaml.safe_load(config_of(manifests))
    addresses = [listener["address"] for listener in config["listeners"]] + [config["admin"]["address"]]
    open_ports = [int(address.rsplit(":")[-1]) for address in addresses if not address.startswith("127.")]
    container = container_of(one(manifests, "Deployment"))
    assert [port["containerPort"] for port in container["ports"]] == open_ports
    probes = [container[probe]["httpGet"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert [probe["path"] for probe in probes] == ["/readyz", "/readyz", "/healthz"]
    assert {probe["port"] for probe in probes} == {"authz-admin"}
    assert container["ports"][-1]["name"] == "authz-admin"


def test_the_gateway_is_between_the_service_and_flyteadmin():
    for variant, admin in (("minimal", "flyteadmin"), ("full", "flyteadmin.flyte-control-plane")):
        manifests = chart(*VARIANTS[variant])
        service = "authz" if variant == "full" else "authz-flyte-authz-proxy"
        config = yaml.safe_load(config_of(manifests))
        public = int(config["listeners"][0]["address"].rsplit(":")[-1])
        assert leads_to(manifests, service, 443) == ("authz-proxy", public)
        assert config["upstream"]["grpc"] == f"http://{admin}:81" and config["upstream"]["http"] == f"http://{admin}:80"
        ports = [port["port"] for port in one(manifests, "Service", service)["spec"]["ports"]]
        assert ports == ([443, 8444] if variant == "full" else [443]), "metrics are not for the Service's clients"
    assert config["upstream"]["response_timeout"] == "90s", "what is written is laid over what the chart decides"


def test_the_config_restarts_pods_and_the_policy_does_not():
    def annotations(*settings):
        deployment = one(chart("minimal", settings=settings), "Deployment")
        return deployment["spec"]["template"]["metadata"]["annotations"]

    before = annotations()
    assert annotations('config.log={"level": "debug"}') != before
    assert annotations('policy.inline={"policy.yaml": "version: 1\\nrules: []\\n"}') == before


@pytest.mark.parametrize("variant", ["minimal", "full", "plain"])
def test_behind_the_gateway_nobody_but_the_proxy_and_the_engine_reaches_flyteadmin(variant):
    manifests = chart(*VARIANTS[variant])
    namespace = "flyte-control-plane" if variant == "full" else "flyte"
    admin = (namespace, FLYTEADMIN)
    proxy = ("flyte", one(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"])
    propeller = {"app.kubernetes.io/name": "flytepropeller", "app.kubernetes.io/instance": "flyte"}
    public = 9443 if variant == "full" else 8443
    for port in (8088, 8089):
        assert reaches(manifests, proxy, admin, port)
        assert reaches(manifests, (namespace, propeller), admin, port) == (variant != "plain")
        # The same labels elsewhere are somebody else's.
        for peer in (STRANGER, MONITORING, ("ml-development", proxy[1]), ("ml-development", propeller)):
            assert not reaches(manifests, peer, admin, port), peer
    for port in (80, 81, 8087, 9443):
        assert not reaches(manifests, proxy, admin, port)
    for pod, port in ((admin, 10254), (proxy, 9090)):
        assert reaches(manifests, MONITORING, pod, port) == (variant != "plain")
        assert not reaches(manifests, STRANGER, pod, port)
    ingress = ("ingress-nginx", {})
    assert reaches(manifests, ingress, proxy, public)
    assert reaches(manifests, STRANGER, proxy, public) == (variant != "full"), "networkPolicy.clients"
    assert not reaches(manifests, ingress, proxy, 9090)


def test_both_ingresses_lead_to_the_proxy_and_say_how():
    manifests = chart("full")
    http, grpc = one(manifests, "Ingress", "authz-http"), one(manifests, "Ingress", "authz-grpc")
    protocol = "nginx.ingress.kubernetes.io/backend-protocol"
    assert (http["metadata"]["annotations"][protocol], grpc["metadata"]["annotations"][protocol]) == ("HTTPS", "GRPCS")
    for ingress in (http, grpc):
        assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-redirect"] == "true"
        assert ingress["spec"]["tls"] == [{"hosts": ["flyte.example.com"], "secretName": "flyte-example-com"}]
        (rule,) = ingress["spec"]["rules"]
        assert rule["host"] == "flyte.example.com"
    backends = {path["path"]: path["backend"]["service"] for path in http["spec"]["rules"][0]["http"]["paths"]}
    proxy = {"name": "authz", "port": {"number": 443}}
    assert backends == {"/console": {"name": "flyteconsole", "port": {"number": 80}}, "/": proxy}
    paths = grpc["spec"]["rules"][0]["http"]["paths"]
    assert all(path["backend"]["service"] == proxy for path in paths)
    assert_every_grpc_service([path["path"].removeprefix("/") for path in paths])


def assert_every_grpc_service(services):
    """Every service of the catalogue has a way in."""
    catalog = json.loads(run(ROOT / "target/debug/flyte-authz-proxy", "catalog", "--format", "json").stdout)
    text = json.dumps(catalog)
    for service in ("Admin", "Signal", "DataProxy", "Identity", "AuthMetadata"):
        assert f"flyteidl.service.{service}Service/" in text and f"flyteidl.service.{service}Service" in services
    assert "grpc.health.v1.Health" in services


def test_the_routes_of_the_gateway_api_lead_to_the_proxy():
    manifests = chart("minimal", "gateway-api")
    http, grpc = one(manifests, "HTTPRoute"), one(manifests, "GRPCRoute")
    proxy = [{"name": "authz-flyte-authz-proxy", "port": 443}]
    assert [rule["backendRefs"] for rule in http["spec"]["rules"]] == [[{"name": "flyteconsole", "port": 80}], proxy]
    assert http["spec"]["rules"][-1]["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    (rule,) = grpc["spec"]["rules"]
    assert rule["backendRefs"] == proxy
    assert_every_grpc_service([match["method"]["service"] for match in rule["matches"]])
    assert set(http["spec"]["hostnames"]).isdisjoint(grpc["spec"]["hostnames"])
    (target,) = one(manifests, "BackendTLSPolicy")["spec"]["targetRefs"]
    service = one(manifests, "Service", target["name"])
    assert target["sectionName"] in [port["name"] for port in service["spec"]["ports"]]
    alone = chart("minimal", "gateway-api", settings=["gatewayApi.grpcHostnames=[]"])
    assert not of_kind(alone, "GRPCRoute")


def test_the_certificate_has_the_names_that_the_service_is_called_by():
    spec = one(chart("full"), "Certificate")["spec"]
    assert {"flyte.example.com", "authz", "authz.flyte", "authz.flyte.svc"} <= set(spec["dnsNames"])
    assert spec["secretName"] == "authz-tls"
    assert spec["issuerRef"] == {"name": "internal", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    mounts = assert_mounted(chart("full"), one(chart("full"), "Deployment"), GIVEN)
    assert mounts["/etc/flyte-authz-tls"]["secret"]["secretName"] == "authz-tls"
    assert [item["key"] for item in mounts["/etc/flyte-authz-session"]["secret"]["items"]] == ["cookie_hash_key", "cookie_block_key"]
    sources = mounts["/etc/flyte-authz-policy"]["projected"]["sources"]
    assert [source["configMap"]["name"] for source in sources] == ["authz-policy", "shared-policy", "security-policy"]
    binary = one(chart("minimal", "sidecar-binary"), "Certificate")["spec"]["dnsNames"]
    assert {"flyte-binary-http.flyte.svc", "flyte-binary-grpc.flyte.svc"} <= set(binary)


@pytest.mark.parametrize(
    ("values", "file", "deployment", "main", "services"),
    [
        ("sidecar", "flyte-core.yaml", "flyteadmin", "flyteadmin", [("flyteadmin", 80), ("flyteadmin", 81)]),
        ("sidecar-binary", "flyte-binary.yaml", "flyte-binary", "flyte", [("flyte-binary-http", 8088), ("flyte-binary-grpc", 8089)]),
    ],
)
def test_as_a_sidecar_every_way_to_flyteadmin_is_through_the_proxy(values, file, deployment, main, services, with_flyte):
    before = documents((ROOT / "tests/deploy" / file).read_text())
    assert all(leads_to(before, *service)[0] == main for service in services)
    manifests = with_flyte(chart("minimal", values), file, deployment)
    assert invalid([m for m in manifests if m["kind"] != "ServiceMonitor"]) == []
    assert all(leads_to(manifests, *service) == ("authz-proxy", 8443) for service in services)
    flyte = one(manifests, "Deployment", deployment)
    pod, container = pod_of(flyte), container_of(flyte)
    assert_restricted(container, pod)
    assert_mounted(manifests, flyte, GIVEN)
    assert_times(config_of(manifests), container, pod)
    # FlyteAdmin, which the proxy reaches on loopback, stays at least as long as the proxy.
    assert pod["terminationGracePeriodSeconds"] > container_of(flyte, main)["lifecycle"]["preStop"]["sleep"]["seconds"] >= 35
    upstream = yaml.safe_load(config_of(manifests))["upstream"]
    own = [port["containerPort"] for port in container_of(flyte, main)["ports"]]
    assert upstream["http"] == f"http://127.0.0.1:{own[0]}" and upstream["grpc"] == f"http://127.0.0.1:{own[1]}"

    admin = ("flyte", flyte["spec"]["template"]["metadata"]["labels"])
    engine = ("flyte", {"app.kubernetes.io/name": "flytepropeller"})
    for peer in (STRANGER, MONITORING, engine, admin):
        assert reaches(manifests, peer, admin, 8443)
        assert not any(reaches(manifests, peer, admin, port) for port in (8088, 8089, 8087, 8081))
    assert not reaches(manifests, STRANGER, admin, 8090), "the engine's listener is on loopback"
    assert reaches(manifests, STRANGER, admin, 9443) == (main == "flyte"), "the webhook, which the API server calls"
    for port in (9090, 10254):
        assert reaches(manifests, MONITORING, admin, port) and not reaches(manifests, STRANGER, admin, port)
    for kind in ("PodMonitor", "Service"):
        for manifest in of_kind(manifests, kind):
            selector = manifest["spec"]["selector"]
            assert selector.get("matchLabels", selector).items() <= admin[1].items()


def test_the_values_for_the_charts_of_flyte_say_the_same_as_the_patch():
    sidecar = one(chart("minimal", "sidecar"), "ConfigMap", "authz-flyte-authz-proxy-sidecar")["data"]
    patch = yaml.safe_load(sidecar["deployment-patch.yaml"])["spec"]["template"]["spec"]
    core = yaml.safe_load(sidecar["flyte-core-values.yaml"])["flyteadmin"]
    binary = yaml.safe_load(sidecar["flyte-binary-values.yaml"])["deployment"]
    assert core == {"additionalContainers": patch["containers"][1:], "additionalVolumes": patch["volumes"]}
    assert binary["sidecars"] == patch["containers"][1:] and binary["extraVolumes"] == patch["volumes"]
    assert binary["extraPodSpec"]["terminationGracePeriodSeconds"] == patch["terminationGracePeriodSeconds"]
    assert binary["lifecycleHooks"] == patch["containers"][0]["lifecycle"]
    # Flyte's charts take these values for templates.
    assert "{{" not in sidecar["flyte-core-values.yaml"] + sidecar["flyte-binary-values.yaml"]


def test_metrics_are_scraped_where_the_admin_listener_is():
    manifests = chart("minimal", "gateway-api")
    monitor = one(manifests, "ServiceMonitor")["spec"]
    services = [s for s in of_kind(manifests, "Service") if monitor["selector"]["matchLabels"].items() <= s["metadata"]["labels"].items()]
    assert [s["metadata"]["name"] for s in services] == ["authz-flyte-authz-proxy-metrics"]
    assert leads_to(manifests, "authz-flyte-authz-proxy-metrics", monitor["endpoints"][0]["port"]) == ("authz-proxy", 9090)


def test_the_alerts_are_those_of_the_project():
    copied, written = CHART / "files/alerts.yaml", ROOT / "deploy/prometheus/alerts.yaml"
    if not written.exists():
        assert not copied.exists()
        refused = helm("minimal", settings=["metrics.prometheusRule.enabled=true"])
        assert "has no files/alerts.yaml" in refused.stderr
        return
    assert copied.read_bytes() == written.read_bytes(), "copy deploy/prometheus/alerts.yaml to the chart's files/"
    manifests = chart("minimal", settings=["metrics.prometheusRule.enabled=true"])
    rule = one(manifests, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(written.read_text())
    assert invalid([rule]) == []


REFUSED = {
    "no issuer": ("config.issuers=[]", "config.issuers is empty: write whose tokens"),
    "no policy": ('policy={}', "there is no policy: write one"),
    "only tests": ('policy.inline={"a.test.yaml": {}}', "there is no policy: write one"),
    "a policy's name": ('policy.inline={"a.yml": {}}', "policy.inline.a.yml: the names of policies end in .yaml"),
    "no certificate": ('tls.existingSecret=""', "tls has no certificate: name a Secret"),
    "two certificates": ("tls.certManager.enabled=true", "are both set: keep one"),
    "an issuer without a name": ('tls={"existingSecret": "", "certManager": {"enabled": true}}', "issuerRef.name is empty"),
    "plain text with a certificate": ("tls.enabled=false", "tls.enabled is false, but a certificate is set"),
    "own listeners": ("config.listeners=[]", "config.listeners is set by the chart: write listener.port and extraListeners"),
    "own upstream": ('config.upstream={"grpc": "http://a:1"}', "config.upstream.grpc is set by the chart"),
    "own drain": ('config.shutdown={"drain": "1h"}', "write drainSeconds instead"),
    "one port twice": ("admin.port=8443", "a port is used twice: 8443, 8443"),
    "an ingress without a host": ("ingress.enabled=true", "ingress.host is empty"),
    "a route to nowhere": ("gatewayApi.enabled=true", "gatewayApi needs parentRefs"),
    "routes in conflict": (
        'gatewayApi={"enabled": true, "parentRefs": [{"name": "g"}], "hostnames": ["a.b"], "grpcHostnames": ["a.b"]}',
        "accepts only one of the two routes",
    ),
    "twice scraped": ('metrics={"podMonitor": {"enabled": true}, "serviceMonitor": {"enabled": true}}', "scraped twice"),
    "more than the most": ('autoscaling={"enabled": true, "minReplicas": 5, "maxReplicas": 2}', "minReplicas is more than"),
    "an autoscaled sidecar": ('autoscaling={"enabled": true}', "autoscaling.enabled is for mode gateway"),
    "a sidecar elsewhere": ('flyteadmin={"namespace": "other"}', "a sidecar's release has to be in that namespace"),
    "a mode": ('mode="daemonset"', "value must be one of 'gateway', 'sidecar'"),
    "an unknown value": ("replicas=3", "additional properties 'replicas' not allowed"),
    "a nested unknown value": ('tls={"secretName": "x"}', "additional properties 'secretName' not allowed"),
    "a privileged port": ("listener.port=443", "minimum: got 443, want 1,024"),
    "a digest": ('image.digest="latest"', "'latest' does not match pattern"),
    "no label": ('flyteadmin.podLabels=null', "podLabels"),
    "a text for a number": ('replicaCount="two"', "got string, want integer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_values_are_refused_and_what_to_write_is_told(case):
    setting, message = REFUSED[case]
    names = ["minimal", "sidecar"] if "sidecar" in case else ["minimal"]
    # Files of `minimal` would stay beside those of the setting.
    names = [] if case in ("no policy", "only tests") else names
    refused = helm(*names, settings=[setting])
    assert refused.returncode != 0, refused.stdout
    assert message in refused.stderr


def test_all_problems_are_told_at_once():
    refused = helm()
    for message in ("config.issuers is empty", "there is no policy", "tls has no certificate"):
        assert message in refused.stderr


def test_the_notes_tell_the_next_step_and_warn():
    def notes(*names, settings=()):
        command = [TOOLS / "helm", "install", "authz", CHART, "--dry-run=client", "--namespace", "flyte"]
        for name in names:
            command += ["--values", VALUES / f"{name}.yaml"]
        for setting in settings:
            command += ["--set-json", setting]
        installed = run(*command)
        assert installed.returncode == 0, installed.stderr
        return installed.stdout.split("NOTES:")[1]

    assert "to the Service authz-flyte-authz-proxy, port 443" in notes("minimal")
    assert "WARNING" not in notes("minimal")
    assert "goes around the proxy" in notes("minimal", settings=["networkPolicy.enabled=false"])
    sidecar = notes("minimal", "sidecar")
    assert """'{{index .data "flyte-core-values.yaml"}}'""" in sidecar
    assert """'{{index .data "service-flyteadmin-patch.yaml"}}'""" in sidecar
    assert "port-forward service/flyteadmin 8443:81 &\n" in sidecar
    assert "port-forward service/authz-flyte-authz-proxy 8443:443 &\n" in notes("minimal")


def test_the_versions_of_chart_program_and_image_are_one():
    chart_yaml = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = run(ROOT / "target/debug/flyte-authz-proxy", "--version").stdout.split()[-1]
    assert chart_yaml["version"] == chart_yaml["appVersion"] == version
    assert container_of(one(chart("minimal"), "Deployment"))["image"] == f"flyte-authz-proxy:{version}"
    image = container_of(one(chart("full"), "Deployment"))["image"]
    assert image.startswith("registry.example.com/flyte-authz-proxy@sha256:")

