//! An issuer that fails while callers come: those with keys that are known are served as ever, the others are told why.

use crate::proxy::Proxy;
use crate::sockets::soon;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::issuer::Fault;
use flyte_authz_proxy::model::reason::Reason;
use serde_json::json;
use std::time::{Duration, Instant};

async fn call(proxy: &Proxy, token: &str) -> Reply {
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let call = proxy.client.call(Some(token), "AdminService/ListExecutions", message);
    let reply = soon("the answer", call).await.unwrap();
    proxy.written(&reply).await;
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_issuer_sends_five_megabytes_the_last_good_keys_stay_and_new_ones_count_afterwards() {
    let proxy = Proxy::start_with(|setup| {
        setup.edit = Box::new(|text| text.replace("allow_http: true", "allow_http: true\n    refresh: 10s"));
    })
    .await;
    let known = proxy.ml();
    proxy.issuer.fail(Fault::Big);
    proxy.issuer.rotate().unwrap();
    let new = proxy.ml();
    let failed = || proxy.metric("key_set_refreshes_total{issuer=\"") - good(&proxy);
    let start = Instant::now();
    while failed() < 1.0 {
        let before = proxy.before();
        proxy.forwarded(&before, &call(&proxy, &known).await).await;
        assert!(start.elapsed() < Duration::from_secs(30), "no failure is counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = proxy.before();
    proxy
        .refused(&before, &call(&proxy, &new).await, Reason::KeyUnknown)
        .await;
    let before = proxy.before();
    proxy.forwarded(&before, &call(&proxy, &known).await).await;

    proxy.issuer.fail(Fault::None);
    let start = Instant::now();
    while call(&proxy, &new).await.grpc_status() != Some(0) {
        assert!(start.elapsed() < Duration::from_secs(40), "the new keys are not known");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn good(proxy: &Proxy) -> f64 {
    let text = String::from_utf8(proxy.app.metrics.render().unwrap()).unwrap();
    let series = text
        .lines()
        .filter(|line| line.starts_with("flyte_authz_key_set_refreshes_total"));
    let good = series.filter(|line| !line.contains("result=\"failed\""));
    good.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_megabytes_of_keys_at_the_start_are_no_keys_and_callers_are_told_to_try_again() {
    let proxy = Proxy::start_with(|setup| setup.issuer_fault = Fault::Big).await;
    let before = proxy.before();
    let reply = call(&proxy, &proxy.ml()).await;
    proxy.refused(&before, &reply, Reason::KeysUnavailable).await;
    assert!(proxy.metric("ready") < 0.5, "it is not ready");
}
