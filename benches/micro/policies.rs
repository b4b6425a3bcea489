//! The policy: loading one, finding a caller's rights, deciding. The cost of the last two is to follow what the caller
//! has, not how many rules there are.

use crate::samples;
use divan::Bencher;
use flyte_authz_proxy::extract::targets::{Input, Payload, targets};
use flyte_authz_proxy::policy::compile::compile;
use flyte_authz_proxy::policy::decide::{Call, Decision};

const RULES: [usize; 3] = [10, 1_000, 100_000];
/// Rules, and groups of the caller: each has a rule of its own, where there are as many.
const CASES: [(usize, usize); 9] = [
    (10, 1),
    (1_000, 1),
    (100_000, 1),
    (10, 50),
    (1_000, 50),
    (100_000, 50),
    (10, 500),
    (1_000, 500),
    (100_000, 500),
];

/// From the text of the files to a policy that can be asked.
#[divan::bench(args = RULES, sample_count = 10, sample_size = 1)]
fn load(bencher: Bencher<'_, '_>, rules: usize) {
    let files = samples::policy_files(rules);
    let domains = samples::domains();
    bencher.bench_local(|| compile(&files, &domains).unwrap());
}

/// Once a token.
#[divan::bench(args = CASES)]
fn resolve(bencher: Bencher<'_, '_>, (rules, groups): (usize, usize)) {
    let policy = samples::policy(rules);
    let caller = samples::caller(groups);
    bencher.bench_local(|| policy.resolve(&caller, &mut ()));
}

/// Once a call: `CreateExecution` of a launch plan in the project of the caller's first team.
#[divan::bench(args = CASES)]
fn decide(bencher: Bencher<'_, '_>, (rules, groups): (usize, usize)) {
    call(bencher, "team-0", rules, groups, true);
}

/// The same in nobody's project: the refusal says what the caller may do.
#[divan::bench(args = CASES)]
fn decide_refused(bencher: Bencher<'_, '_>, (rules, groups): (usize, usize)) {
    call(bencher, "other", rules, groups, false);
}

fn call(bencher: Bencher<'_, '_>, project: &str, rules: usize, groups: usize, allowed: bool) {
    let rights = samples::policy(rules).resolve(&samples::caller(groups), &mut ());
    let (route, message) = (samples::route(), samples::encoded(samples::execution(project, 100, 0)));
    let input = Input {
        payload: Payload::Protobuf(&message),
        rest: None,
    };
    let touched = targets(route, &input, &samples::scope_rules(), &samples::LIMITS).unwrap();
    let call = Call {
        access: route.access,
        action: touched.action,
        targets: &touched.targets,
        asked: &touched.asked,
        writes: &route.writes,
    };
    assert_eq!(matches!(rights.decide(&call, &mut ()), Decision::Allow(_)), allowed);
    bencher.bench_local(|| rights.decide(&call, &mut ()));
}
