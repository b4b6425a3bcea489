//! What is in `deploy/` is whole: the documents parse, and the configuration and policy in them are accepted.

use super::*;
use crate::{document, policy};
use serde_json::Value;

fn deploy(path: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// The documents of a file.
fn documents(path: &str) -> Vec<Value> {
    let (path, text) = deploy(path);
    text.split("\n---\n")
        .map(|document| document::parse(&path, document).unwrap())
        .collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    documents.iter().filter(move |document| document["kind"] == kind)
}

fn embedded<'a>(documents: &'a [Value], key: &str) -> &'a str {
    of_kind(documents, "ConfigMap")
        .find_map(|map| map["data"][key].as_str())
        .unwrap()
}

/// Checks the embedded configuration and policy and that the pod mounts what they name.
fn check(sample: &str, documents: &[Value], pod: &Value) {
    let (_, written) = deploy(&format!("config/{sample}"));
    let text = embedded(documents, "config.yaml");
    assert_eq!(text, written, "the ConfigMap and deploy/config/{sample} differ");

    let container = &pod["containers"][0];
    let mounts: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    let file = container["args"][2].as_str().unwrap();
    let is_mounted = |path: &Path| {
        mounts
            .iter()
            .any(|mount| path == Path::new(mount) || path.parent() == Some(Path::new(mount)))
    };
    assert!(is_mounted(Path::new(file)), "{file}");

    let (config, warnings) = Config::parse(Path::new(file), text).unwrap();
    // The admin listener is reached by probes from outside the pod.
    let warnings: Vec<_> = warnings.into_iter().map(|warning| warning.message).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("metrics and status"));
    assert!(is_mounted(&config.policy.path));
    let tls = config.listeners[0].tls.as_ref().unwrap();
    assert!(is_mounted(&tls.default.certificate) && is_mounted(&tls.default.key));
    let ports: Vec<_> = container["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["containerPort"].as_u64())
        .collect();
    assert_eq!(
        ports,
        [config.listeners[0].address.port(), config.admin.port()].map(|port| Some(u64::from(port)))
    );
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(Duration::from_secs(grace) > config.drain);

    let volumes = pod["volumes"].as_array().unwrap();
    for mount in container["volumeMounts"].as_array().unwrap() {
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
        assert!(mount["subPath"].is_null(), "a subPath mount does not see updates");
    }
    for setting in ["runAsNonRoot", "readOnlyRootFilesystem"] {
        assert_eq!(container["securityContext"][setting], true);
    }

    let policies = [(
        PathBuf::from("policy.yaml"),
        embedded(documents, "policy.yaml").to_owned(),
    )];
    let (_, warnings) = policy::compile::compile(&policies, &config.flyte.domains).unwrap();
    assert_eq!(warnings, []);
}

/// The ports of `FlyteAdmin`'s pods that somebody else than the proxy may reach.
fn open_ports(documents: &[Value], pods: &str) -> Vec<(bool, u64)> {
    let policy = of_kind(documents, "NetworkPolicy")
        .find(|policy| policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == pods)
        .unwrap();
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let ports = rules.iter().flat_map(|rule| {
        let anybody = rule["from"].is_null();
        rule["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(move |port| (anybody, port["port"].as_u64().unwrap()))
    });
    ports.collect()
}

#[test]
fn the_sidecar_is_whole_and_the_only_way_to_flyteadmin() {
    let manifests = documents("kubernetes/sidecar.yaml");
    let patch = documents("kubernetes/sidecar-deployment.yaml");
    check("sidecar.yaml", &manifests, &patch[0]["spec"]["template"]["spec"]);
    assert_eq!(
        open_ports(&manifests, "flyteadmin"),
        [(true, 8443), (false, 9090), (false, 10254)]
    );
    let service = documents("kubernetes/sidecar-service.yaml");
    for port in service[0]["spec"]["ports"].as_array().unwrap() {
        assert_eq!(port["targetPort"], "authz");
    }
}

#[test]
fn the_gateway_is_whole_and_flyteadmin_is_closed_to_others() {
    let manifests = documents("kubernetes/gateway.yaml");
    let deployment = of_kind(&manifests, "Deployment").next().unwrap();
    check("gateway.yaml", &manifests, &deployment["spec"]["template"]["spec"]);
    assert_eq!(
        open_ports(&manifests, "flyte-authz-proxy"),
        [(true, 8443), (false, 9090)]
    );
    assert_eq!(open_ports(&manifests, "flyteadmin"), [(false, 8088), (false, 8089)]);
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    for kind in ["Service", "PodDisruptionBudget"] {
        let spec = &of_kind(&manifests, kind).next().unwrap()["spec"]["selector"];
        assert!(spec == labels || &spec["matchLabels"] == labels, "{kind}");
    }
}

/// The blocks of YAML under a heading of the page about identities.
fn examples(heading: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/identity.md");
    let page = std::fs::read_to_string(page).unwrap();
    let section = page.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```yaml\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_listener_for_certificates_is_as_the_page_about_identities_shows_it() {
    let (path, text) = deploy("config/mesh.yaml");
    let (config, warnings) = Config::parse(&path, &text).unwrap();
    let warnings: Vec<_> = warnings.into_iter().map(|warning| warning.message).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("metrics and status"));
    let mesh = &config.listeners[1];
    let asked = mesh.tls.as_ref().unwrap().client_certificates.as_ref().unwrap();
    assert!(asked.required && mesh.accept.is_some());
    let shown = examples("Client certificates");
    assert!(
        text.contains(&shown[0]),
        "deploy/config/mesh.yaml and docs/identity.md differ"
    );
    let policies = [(PathBuf::from("policy.yaml"), shown[1].clone())];
    let (_, warnings) = policy::compile::compile(&policies, &config.flyte.domains).unwrap();
    assert_eq!(warnings, []);
    let accept = examples("Listeners for certain callers").remove(0);
    let (listeners, rest) = text.split_once("    accept:").unwrap();
    let (_, rest) = rest.split_once("admin:").unwrap();
    assert!(Config::parse(&path, &format!("{listeners}{accept}admin:{rest}")).is_ok());
}
