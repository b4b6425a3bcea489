"""Envoy: a bare pass-through, and what comes nearest to the proxy's job."""

import subprocess

from common import DESCRIPTORS, RPC, WORK

BUFFER = 16 << 20


def binary(entry_point):
    """The program itself: the entry point of the package is a Python script that starts it."""
    python = entry_point.with_name("python")
    find = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')"
    return subprocess.run([python, "-c", find], check=True, capture_output=True, text=True).stdout.strip()


def configuration(ports, filters):
    """Envoy's configuration: TLS in, gRPC and REST apart, HTTP/2 and HTTP/1.1 in plain text out."""

    def typed(kind, **settings):
        return {"@type": f"type.googleapis.com/envoy.{kind}", **settings}

    def cluster(name, options):
        protocol = typed("extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config=options)
        address = {"socket_address": {"address": "127.0.0.1", "port_value": ports[name]}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        return {
            "name": name,
            "type": "STATIC",
            "connect_timeout": "2s",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
            # The default, 1024 requests in flight, is enough; said here because it would show as errors.
            "circuit_breakers": {"thresholds": [{"max_requests": 4096, "max_pending_requests": 4096}]},
        }

    routes = [
        {"match": {"prefix": "/", "grpc": {}}, "route": {"cluster": "grpc"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "http"}},
    ]
    router = {"name": "router", "typed_config": typed("extensions.filters.http.router.v3.Router")}
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        codec_type="AUTO",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        http_filters=[*filters, router],
    )
    certificate = {
        "certificate_chain": {"filename": str(WORK / "tls.crt")},
        "private_key": {"filename": str(WORK / "tls.key")},
    }
    tls = typed(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={"alpn_protocols": ["h2", "http/1.1"], "tls_certificates": [certificate]},
    )
    chain = {
        "transport_socket": {"name": "tls", "typed_config": tls},
        "filters": [{"name": "http", "typed_config": manager}],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": ports["proxy"]}}
    # A message is held while its fields are extracted; by default one of 1 MiB is too long for that.
    listener = {"address": address, "filter_chains": [chain], "per_connection_buffer_limit_bytes": BUFFER}
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [cluster("grpc", {"http2_protocol_options": {}}), cluster("http", {"http_protocol_options": {}})],
        }
    }


def judgement(teams, cached_tokens=1000):
    """What comes nearest to the proxy's job: token from a cache, two fields of the message, a rule for every team."""
    prefix = "type.googleapis.com/envoy.extensions.filters.http."
    provider = {
        "issuer": "https://idp.example.com",
        "audiences": ["flyte"],
        "local_jwks": {"filename": str(WORK / "jwks.json")},
        "forward": True,
        "payload_in_metadata": "token",
    }
    if cached_tokens:
        provider["jwt_cache_config"] = {"jwt_cache_size": cached_tokens, "jwt_max_token_size": 8192}
    jwt = {
        "@type": prefix + "jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }
    fields = {"project": {}, "domain": {}}
    extraction = {
        "@type": prefix + "grpc_field_extraction.v3.GrpcFieldExtractionConfig",
        "descriptor_set": {"filename": str(DESCRIPTORS)},
        "extractions_by_method": {RPC[1:].replace("/", "."): {"request_field_extractions": fields}},
    }

    def holds(filter_name, path, exact):
        value = {"list_match": {"one_of": {"string_match": {"exact": exact}}}}
        return {"metadata": {"filter": filter_name, "path": [{"key": key} for key in path], "value": value}}

    extracted = "envoy.filters.http.grpc_field_extraction"

    def rule(team):
        domains = ["development", "staging"]
        grpc = [
            holds(extracted, ["project"], team),
            {"or_rules": {"rules": [holds(extracted, ["domain"], domain) for domain in domains]}},
        ]
        rest = [{"url_path": {"path": {"prefix": f"/api/v1/executions/{team}/{domain}"}}} for domain in domains]
        return {
            "permissions": [{"and_rules": {"rules": grpc}}, *rest],
            "principals": [holds("envoy.filters.http.jwt_authn", ["token", "groups"], f"{team}-team")],
        }

    policies = {f"rule-{number:04}": rule(team) for number, team in enumerate(teams)}
    rbac = {"@type": prefix + "rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": policies}}
    return [
        {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt},
        {"name": extracted, "typed_config": extraction},
        {"name": "envoy.filters.http.rbac", "typed_config": rbac},
    ]
