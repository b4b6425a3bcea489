//! The JSON walk: what it accepts means the same written anew, whichever of two equal keys a reader keeps.

use crate::first_wins;
use crate::reference::{Found, walked};
use crate::routes::choose;
use flyte_authz_proxy::catalog::Route;
use flyte_authz_proxy::extract::values::Values;
use flyte_authz_proxy::extract::{WalkLimits, json};
use serde_json::Value;

/// The first byte chooses the route, the next how many fields may be read; the rest is the body.
pub fn check(input: &[u8]) {
    let Some((route, [most, body @ ..])) = choose(input) else {
        return;
    };
    let limited = walk(
        route,
        body,
        &WalkLimits {
            max_fields: usize::from(*most),
        },
    );
    let Some(found) = walk(route, body, &WalkLimits::default()) else {
        assert_eq!(limited, None, "{}: accepted, because less may be read", route.rpc);
        return;
    };
    assert!(limited.is_none_or(|limited| limited == found), "{}", route.rpc);
    for document in [first_wins::read(body), serde_json::from_slice(body).ok()]
        .into_iter()
        .flatten()
    {
        let document: Value = document;
        for text in [document.to_string(), format!("{document:#}")] {
            let again = walk(route, text.as_bytes(), &WalkLimits::default());
            assert_eq!(again.as_ref(), Some(&found), "{}: {text}", route.rpc);
        }
    }
}

fn walk(route: &Route, body: &[u8], limits: &WalkLimits) -> Option<Vec<Found>> {
    let mut values = Values::default();
    let outcome = json::walk(&route.plan, body, limits, &mut values);
    // Nothing is found more often than there are bytes in which it could be said.
    let most_found = (body.len() + 1) * route.plan.slots().len();
    assert!(values.occurrences.len() <= most_found, "{}", route.rpc);
    outcome.ok()?;
    Some(walked(&values))
}
