//! Storms of tokens that name keys which nobody has: the issuer is hardly asked, and a well-behaved client is served.

use crate::flood::Target;
use flyte_authz_proxy::credential::key_set::Algorithm;
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

/// Tokens that are good but for their key, each with another one.
pub(crate) async fn unknown_keys(target: &Target, count: usize) {
    let claims = json!({"sub": "mallory", "groups": ["ml-team"]});
    let mut requests = JoinSet::new();
    for worker in 0..4 {
        let client = target.client().clone();
        let mint = |number| {
            let header = json!({"kid": format!("made-up-{worker}-{number}-{}", rand())});
            target.issuer.mint_with(&claims, Algorithm::EdDsa, &header)
        };
        let tokens: Vec<String> = (0..count / 4).map(mint).collect();
        requests.spawn(async move {
            for token in tokens {
                let reply = client
                    .get(Some(&token), "/api/v1/executions/ml/development?limit=1")
                    .await
                    .unwrap();
                assert_eq!(reply.status, 401, "{reply:?}");
            }
        });
    }
    while let Some(done) = requests.join_next().await {
        done.unwrap();
    }
}

/// A number that another run does not have.
fn rand() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_jwt_02_a_storm_of_unknown_keys_asks_the_issuer_once_and_disturbs_nobody() {
    let target = Target::start("").await;
    let before = target.issuer.fetches().key_set;
    let neighbour = target.neighbour();
    let begun = std::time::Instant::now();
    unknown_keys(&target, 200).await;
    let allowed = 1 + begun.elapsed().as_secs() / 10;
    neighbour.was_served().await;
    let fetched = target.issuer.fetches().key_set - before;
    assert!(fetched as u64 <= allowed, "{fetched} fetches in {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_mins(1));
    target.stayed_below(160);
}
