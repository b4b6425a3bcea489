//! Load balancers as they are written.

use super::*;
use crate::issuer::LoadBalancerKeys;

const WRITTEN: &str = "\
version: 1
listeners:
  - {name: public, address: 127.0.0.1:8443}
upstream: {grpc: http://127.0.0.1:8089, http: http://127.0.0.1:8088}
policy: {path: policy.yaml}
credentials:
  load_balancer:
    signers: [\"arn:aws-cn:elasticloadbalancing:cn-north-1:123456789012:loadbalancer/app/flyte-1/0123456789abcdef\"]
    client_ids: [one, two]
    issuer: https://idp.example.com/
    keys: {directory: keys}
    claims: {groups: [\"custom:groups\"]}
";

#[test]
fn load_balancers_are_trusted_only_where_they_are_written_even_without_issuers() {
    let (config, warnings) = parse(WRITTEN).unwrap();
    assert_eq!(warnings, []);
    assert!(config.issuers.is_empty());
    let settings = config.credentials.load_balancer.unwrap();
    assert_eq!(settings.rules.signers.len(), 1);
    assert_eq!(settings.rules.client_ids, ["one", "two"]);
    assert_eq!(&*settings.rules.issuer, "https://idp.example.com/");
    assert_eq!(settings.rules.leeway, 60);
    assert_eq!(
        settings.rules.mapping.groups,
        ClaimPath::from_names(vec!["custom:groups".to_owned()])
    );
    assert_eq!(
        settings.keys,
        LoadBalancerKeys::Directory("/etc/flyte-authz/keys".into())
    );
    assert!(!settings.allow_http && settings.ca_file.is_none());

    let (config, _) = parse(SMALLEST).unwrap();
    assert!(config.credentials.load_balancer.is_none());
}

#[test]
fn the_example_in_the_documentation_of_identity_is_accepted() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/identity.md")).unwrap();
    let (_, section) = page.split_once("## Behind an AWS load balancer").unwrap();
    let (_, block) = section.split_once("```yaml\n").unwrap();
    let (example, _) = block.split_once("```").unwrap();
    let (config, warnings) = parse(&format!("{SMALLEST}{example}")).unwrap();
    assert_eq!(warnings, []);
    let settings = config.credentials.load_balancer.unwrap();
    let url = "https://public-keys.auth.elb.eu-west-1.amazonaws.com/".to_owned();
    assert_eq!(settings.keys, LoadBalancerKeys::Url(url));
}
