//! Configurations and policies in `deploy/` are accepted. What is around them is tested in `tests/deploy`.

use super::*;
use crate::policy;

fn deploy(path: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

#[test]
fn the_overlays_have_a_configuration_and_a_policy_that_are_accepted() {
    let (policy_path, policy) = deploy("kustomize/base/policy.yaml");
    for overlay in ["gateway", "sidecar"] {
        let (path, text) = deploy(&format!("kustomize/overlays/{overlay}/config.yaml"));
        let (config, warnings) = Config::parse(&path, &text).unwrap();
        // The admin listener is reached by probes from outside the pod.
        let warnings: Vec<_> = warnings.into_iter().map(|warning| warning.message).collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("metrics and status"));
        let policies = [(policy_path.clone(), policy.clone())];
        let (_, warnings) = policy::compile::compile(&policies, &config.flyte.domains).unwrap();
        assert_eq!(warnings, []);
        let beside = config.upstream.grpc[0].authority.host() == "127.0.0.1";
        assert_eq!(beside, overlay == "sidecar", "a sidecar reaches FlyteAdmin on loopback");
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
