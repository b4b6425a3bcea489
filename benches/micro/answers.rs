//! Filtering a list of a thousand projects, of which the caller may see every other one.

use crate::samples;
use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use flyte_authz_proxy::catalog::answer::{ItemPart, Items};
use flyte_authz_proxy::filter::pieces::Pieces;
use flyte_authz_proxy::filter::{self, Edits, Item};
use flyte_authz_proxy::policy::decide::Rights;

#[path = "../../examples/bench_upstream/projects.rs"]
mod projects;

#[divan::bench]
fn protobuf(bencher: Bencher<'_, '_>) {
    let (message, _) = projects::projects();
    // As they come: the most that one frame of HTTP/2 holds by default.
    let mut pieces = Pieces::default();
    for piece in message.chunks(16 << 10) {
        pieces.push(Bytes::copy_from_slice(piece));
    }
    filtered(bencher, message.len(), |items, rights| {
        filter::protobuf::filter(&pieces, items, None, |item| shows(rights, item))
    });
}

#[divan::bench]
fn json(bencher: Bencher<'_, '_>) {
    let (_, document) = projects::projects();
    filtered(bencher, document.len(), |items, rights| {
        filter::json::filter(document.as_bytes(), items, None, |item| shows(rights, item))
    });
}

fn shows(rights: &Rights, item: &Item<'_>) -> bool {
    rights.visible_project(item.part(ItemPart::Project))
}

fn filtered(bencher: Bencher<'_, '_>, length: usize, filter: impl Fn(&Items, &Rights) -> Option<Edits>) {
    let route = samples::catalog().lookup_rpc("/flyteidl.service.AdminService/ListProjects");
    let items = route.unwrap().items().unwrap();
    let rights = samples::policy(1).resolve(&samples::caller(1), &mut ());
    assert_eq!(filter(items, &rights).unwrap().withheld, projects::PROJECTS / 2);
    bencher
        .counter(BytesCount::new(length))
        .bench_local(|| filter(items, &rights).unwrap());
}
