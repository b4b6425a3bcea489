//! Finding what a request touches, in messages of any length: with one long field, which is passed over, and with many
//! short ones, which have to be looked at.

use crate::samples;
use divan::Bencher;
use divan::counter::BytesCount;
use flyte_authz_proxy::extract::targets::{Input, Payload, targets};

/// Bytes.
const LENGTHS: [usize; 4] = [1 << 10, 32 << 10, 1 << 20, 4 << 20];
/// Labels: 28 bytes each in protobuf. More are refused as too many fields.
const LABELS: [usize; 3] = [10, 1_000, 40_000];

#[divan::bench(args = LENGTHS)]
fn protobuf_one_long_field(bencher: Bencher<'_, '_>, length: usize) {
    protobuf(bencher, length, 0);
}

#[divan::bench(args = LABELS)]
fn protobuf_many_fields(bencher: Bencher<'_, '_>, labels: usize) {
    protobuf(bencher, 0, labels);
}

#[divan::bench(args = LENGTHS)]
fn json_one_long_field(bencher: Bencher<'_, '_>, length: usize) {
    json(bencher, length, 0);
}

#[divan::bench(args = LABELS)]
fn json_many_fields(bencher: Bencher<'_, '_>, labels: usize) {
    json(bencher, 0, labels);
}

fn protobuf(bencher: Bencher<'_, '_>, length: usize, labels: usize) {
    let message = samples::encoded(samples::execution("team-0", length, labels));
    walk(bencher, Payload::Protobuf(&message), message.len());
}

fn json(bencher: Bencher<'_, '_>, length: usize, labels: usize) {
    let message = samples::execution("team-0", length, labels).to_string();
    walk(bencher, Payload::Json(message.as_bytes()), message.len());
}

fn walk(bencher: Bencher<'_, '_>, payload: Payload<'_>, length: usize) {
    let (route, rules) = (samples::route(), samples::scope_rules());
    let input = Input { payload, rest: None };
    bencher
        .counter(BytesCount::new(length))
        .bench_local(|| targets(route, &input, &rules, &samples::LIMITS).unwrap());
}
