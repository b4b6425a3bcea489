//! Writes what `make bench` needs and only a program can make: certificates, a key set, a token, request messages.
//!
//! `bench_setup DIRECTORY DESCRIPTORS`

use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::demo::signing::{SigningKey, jwks};
use flyte_authz_proxy::protocol::envelope;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use std::path::Path;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// As long as tokens of common providers are, in bytes.
const TOKEN: usize = 850;
/// The messages of the measured calls, in bytes, without their gRPC prefix.
const MESSAGE: usize = 1 << 10;
const LARGE: usize = 100 << 10;
const HUGE: usize = 1 << 20;
/// How many callers there are, each with a token.
const CALLERS: usize = 1000;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(descriptors)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench_setup DIRECTORY DESCRIPTORS".into());
    };
    let directory = Path::new(&directory);
    std::fs::create_dir_all(directory)?;
    let certificates = Certificates::generate()?;
    let key = SigningKey::generate("bench", Algorithm::Rs256)?;
    let curve = SigningKey::generate("bench-es256", Algorithm::Es256)?;
    let edwards = SigningKey::generate("bench-eddsa", Algorithm::EdDsa)?;
    let descriptors = DescriptorPool::decode(std::fs::read(descriptors)?.as_slice())?;
    let both = format!("{}{}", certificates.certificate, certificates.key);
    for (name, bytes) in [
        ("ca.pem", certificates.authority.into_bytes()),
        ("tls.crt", certificates.certificate.into_bytes()),
        ("tls.key", certificates.key.into_bytes()),
        ("tls.pem", both.into_bytes()),
        ("jwks.json", jwks([&key, &curve, &edwards]).to_string().into_bytes()),
        ("public.pem", key.public_pem().into_bytes()),
        ("token", padded(TOKEN, |padding| token(&key, 0, padding).into_bytes())),
        ("es256", padded(TOKEN, |padding| token(&curve, 0, padding).into_bytes())),
        (
            "eddsa",
            padded(TOKEN, |padding| token(&edwards, 0, padding).into_bytes()),
        ),
        ("tokens", tokens(&key).into_bytes()),
        ("allowed.bin", message(&descriptors, "ml", MESSAGE)?),
        ("large.bin", message(&descriptors, "ml", LARGE)?),
        ("huge.bin", message(&descriptors, "ml", HUGE)?),
        ("refused.bin", message(&descriptors, "fraud", MESSAGE)?),
        (
            "allowed.json",
            padded(MESSAGE, |padding| execution("ml", padding).to_string().into_bytes()),
        ),
        (
            "refused.json",
            padded(MESSAGE, |padding| execution("fraud", padding).to_string().into_bytes()),
        ),
        ("empty.bin", envelope::frame(&[]).to_vec()),
    ] {
        std::fs::write(directory.join(name), bytes)?;
    }
    Ok(())
}

/// A token of somebody in `ml-team`, good for a day.
fn token(key: &SigningKey, caller: usize, padding: &str) -> String {
    let now = SystemClock.unix_seconds();
    let claims = json!({
        "iss": "https://idp.example.com", "aud": "flyte", "sub": format!("bench-{caller}"), "email": "bench@example.com",
        "iat": now, "exp": now + 86_400, "groups": ["ml-team", "everybody"], "padding": padding,
    });
    key.token(&claims, &json!({}))
}

/// A token for every caller, a line each.
fn tokens(key: &SigningKey) -> String {
    (0..CALLERS)
        .map(|caller| token(key, caller, &"x".repeat(165)) + "\n")
        .collect()
}

/// `CreateExecution` in a project with at least so many bytes, with its gRPC prefix.
fn message(descriptors: &DescriptorPool, project: &str, length: usize) -> Result<Vec<u8>, Failure> {
    let name = "flyteidl.admin.ExecutionCreateRequest";
    let descriptor = descriptors.get_message_by_name(name).ok_or("the message is unknown")?;
    let encoded = |padding: &str| -> Result<Vec<u8>, Failure> {
        Ok(DynamicMessage::deserialize(descriptor.clone(), execution(project, padding))?.encode_to_vec())
    };
    encoded("")?;
    let message = padded(length, |padding| encoded(padding).unwrap_or_default());
    Ok(envelope::frame(&message).to_vec())
}

fn execution(project: &str, padding: &str) -> Value {
    json!({
        "project": project, "domain": "development", "name": "bench",
        "spec": {"launchPlan": {
            "resourceType": "LAUNCH_PLAN", "project": project, "domain": "development", "name": "train", "version": "1",
        }},
        "inputs": {"literals": {"text": {"scalar": {"primitive": {"stringValue": padding}}}}},
    })
}

/// What is made with about as much padding as it needs to have at least so many bytes.
fn padded(length: usize, make: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut padding = String::new();
    loop {
        let bytes = make(&padding);
        if bytes.len() >= length {
            return bytes;
        }
        // In a token, four letters are written for three.
        let missing = length - bytes.len();
        padding.push_str(&"x".repeat((missing / 4 * 3).max(1)));
    }
}
