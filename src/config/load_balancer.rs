//! Checks what is written about load balancers.

use super::check::Check;
use super::document::{LoadBalancerDocument, LoadBalancerKeysDocument, Placed};
use super::issuers;
use crate::credential::load_balancer::LoadBalancerRules;
use crate::issuer::{LoadBalancerKeys, LoadBalancerSettings};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn check(check: &mut Check<'_>, written: &LoadBalancerDocument) -> LoadBalancerSettings {
    LoadBalancerSettings {
        rules: LoadBalancerRules {
            signers: signers(check, &written.signers),
            client_ids: client_ids(check, &written.client_ids),
            issuer: Arc::from(issuers::issuer_name(check, &written.issuer)),
            leeway: check
                .duration(&written.leeway, Duration::ZERO..=issuers::LONGEST_LEEWAY)
                .as_secs(),
            mapping: issuers::mapping(check, &written.claims),
        },
        keys: keys(check, written),
        ca_file: written.ca.as_ref().map(|ca| check.path(ca)),
        allow_http: written.allow_http,
    }
}

fn signers(check: &mut Check<'_>, written: &Placed<Vec<Placed<String>>>) -> Vec<String> {
    if written.value().is_empty() {
        let message = "no load balancer is trusted; write its ARN, or leave `load_balancer` out";
        check.error(written.place(), message);
    }
    for signer in written.value().iter().filter(|signer| !is_arn(signer.value())) {
        let message = format!(
            "`{}` is not the ARN of one Application Load Balancer; write it as AWS shows it, `arn:aws:elasticloadbalancing:REGION:ACCOUNT:loadbalancer/app/NAME/ID`, without patterns",
            signer.value()
        );
        check.error(signer.place(), message);
    }
    written.value().iter().map(|signer| signer.value().clone()).collect()
}

/// `arn:PARTITION:elasticloadbalancing:REGION:ACCOUNT:loadbalancer/app/NAME/ID`.
fn is_arn(text: &str) -> bool {
    let plain = |part: &str| {
        let accepted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !part.is_empty() && part.bytes().all(accepted)
    };
    let parts: Vec<&str> = text.split(':').collect();
    let ["arn", partition, "elasticloadbalancing", region, account, resource] = *parts else {
        return false;
    };
    let names: Vec<&str> = resource.split('/').collect();
    let ["loadbalancer", "app", name, id] = *names else {
        return false;
    };
    [partition, region, account, name, id].into_iter().all(plain)
}

fn client_ids(check: &mut Check<'_>, written: &Placed<Vec<Placed<String>>>) -> Vec<String> {
    if written.value().is_empty() {
        let message = "no client is accepted, so that nobody could call; write the client id that the load balancer's listener rule has";
        check.error(written.place(), message);
    }
    written
        .value()
        .iter()
        .map(|client| check.word(client, "a client id").into())
        .collect()
}

fn keys(check: &mut Check<'_>, written: &LoadBalancerDocument) -> LoadBalancerKeys {
    match &written.keys {
        LoadBalancerKeysDocument::Directory(directory) => LoadBalancerKeys::Directory(check.path(directory)),
        LoadBalancerKeysDocument::Url(url) => {
            if url.value().contains(['?', '#']) {
                let message = format!(
                    "the id of the key is put behind `{}`, so that it must not have a query; write `https://public-keys.auth.elb.REGION.amazonaws.com/`",
                    url.value()
                );
                check.error(url.place(), message);
            }
            LoadBalancerKeys::Url(issuers::url(check, url.value(), url.place(), written.allow_http))
        }
    }
}
