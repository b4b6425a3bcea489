//! The oracle of `diff_gateway` against requests that were recorded at FlyteAdmin's gateway: where it says which call is made, the
//! gateway made that call.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flyte_authz_proxy_fuzz::gateway::{Outcome, read};
use http::Request;
use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vector {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body_b64: String,
    grpc_path: Option<String>,
    request_b64: Option<String>,
}

#[test]
fn the_oracle_reads_recorded_requests_as_the_gateway_did() {
    let vectors = include_str!("../../tests/fixtures/gateway-vectors.json");
    let vectors: Vec<Vector> = serde_json::from_str(vectors).unwrap();
    let (mut calls, mut more, mut less, mut overridden, mut refused) = (0, 0, 0, 0, 0);
    for vector in &vectors {
        let mut request = Request::builder().method(&*vector.method).uri(&vector.target);
        for (name, value) in &vector.headers {
            request = request.header(name, value);
        }
        let Ok(request) = request.body(()) else {
            continue;
        };
        let what = format!("{} {}", vector.method, vector.target);
        let body = STANDARD.decode(&vector.body_b64).unwrap();
        match read(&request.into_parts().0, &body) {
            // Its reader of JSON may accept more than the gateway's. Then more is compared.
            Outcome::Call { .. } if vector.grpc_path.is_none() => {
                more += 1;
                assert!(!body.is_empty(), "{what} is no call to the gateway");
            }
            Outcome::Call { rpc, message } => {
                calls += 1;
                assert_eq!(Some(&*rpc), vector.grpc_path.as_deref(), "{what}");
                let recorded = STANDARD.decode(vector.request_b64.as_ref().unwrap()).unwrap();
                // As they are on the wire, where a default is not written.
                let [message, recorded] = [message.encode_to_vec(), recorded]
                    .map(|bytes| DynamicMessage::decode(message.descriptor(), &*bytes).unwrap());
                assert_eq!(message, recorded, "{what}");
            }
            Outcome::Overridden => overridden += 1,
            Outcome::Refused => {
                refused += 1;
                less += usize::from(vector.grpc_path.is_some());
            }
        }
    }
    let counts = format!("{calls} calls, {more} that the gateway refused, {overridden} overridden, {refused} refused");
    // Its decoders refuse an enum of `1.0` and a field of another wire type, as the program does.
    assert_eq!(less, 2, "calls that it does not see");
    assert!(calls > 80 && more < 10 && overridden > 150 && refused > 20, "{counts}");
}
