//! Puts together whoever is believed about callers: the issuers, and load balancers where they are configured.

use crate::clock::Clock;
use crate::config::Config;
use crate::issuer::{IssuerObserver, Issuers, LoadBalancer};
use crate::model::problem::Problem;
use std::sync::Arc;

/// Reads what the configuration names of them. Fetches nothing.
///
/// # Errors
/// Every setting that makes no sense, every file that cannot be used.
pub fn load(
    config: &Config,
    clock: &Arc<dyn Clock>,
    observer: Arc<dyn IssuerObserver>,
) -> Result<Issuers, Vec<Problem>> {
    let credentials = &config.credentials;
    let issuers = Issuers::new(
        config.issuers.clone(),
        credentials.limits,
        Arc::clone(clock),
        Arc::clone(&observer),
    );
    let load_balancer = credentials
        .load_balancer
        .clone()
        .map(|settings| LoadBalancer::new(settings, Arc::clone(clock), observer))
        .transpose();
    match (issuers, load_balancer) {
        (Ok(issuers), Ok(load_balancer)) => Ok(issuers.with_load_balancer(load_balancer)),
        (issuers, load_balancer) => {
            let problems = [issuers.err(), load_balancer.err()];
            Err(problems.into_iter().flatten().flatten().collect())
        }
    }
}
