//! Turns catalogue documents into a [`Catalog`], refusing what conflicts.

use super::document::CatalogDocument;
use super::lookup::Tables;
use super::{Catalog, Route};
use crate::document::parse;
use crate::model::problem::Problem;
use fault::{Faults, Place};
use shape::Shapes;
use std::collections::BTreeMap;
use std::path::PathBuf;

mod answer;
mod binding;
mod choice;
mod fault;
mod page;
mod plan;
mod route;
mod setting;
mod shape;
mod slot;

/// The version of the document format.
const VERSION: u32 = 1;

/// See [`Catalog::load`].
pub(super) fn compile(documents: &[(PathBuf, String)]) -> Result<Catalog, Vec<Problem>> {
    let mut faults = Faults::new(documents);
    let mut parsed: Vec<(usize, CatalogDocument)> = Vec::new();
    for (index, (file, text)) in documents.iter().enumerate() {
        match parse(file, text) {
            Ok(document) => parsed.push((index, document)),
            Err(problems) => faults.extend(problems),
        }
    }
    // Faults of grammar first: without a document the others would be about what is missing in it.
    if parsed.len() < documents.len() {
        return faults.into_result(Catalog::default());
    }
    check_heads(&parsed, &mut faults);
    let shapes = Shapes::read(&parsed, &mut faults);
    let routes = compile_routes(&parsed, &shapes, &mut faults);
    binding::check_overlaps(&routes, &mut faults);
    let pages = page::compile(&parsed, &routes, &mut faults);
    let routes: Vec<Route> = routes.into_iter().map(|(_, route)| route).collect();
    let generation = parsed.first().map_or("", |(_, document)| &document.generation.value);
    faults.into_result(Catalog {
        generation: generation.into(),
        tables: Tables::of(&routes),
        routes,
        pages,
    })
}

fn check_heads(documents: &[(usize, CatalogDocument)], faults: &mut Faults<'_>) {
    let Some((_, first)) = documents.first() else {
        return;
    };
    for (index, document) in documents {
        let version = document.version.value;
        if version != VERSION {
            faults.add(
                Place::of(*index, &document.version),
                format!("version {version} is not known; write `version: {VERSION}`"),
            );
        }
        if document.generation.value != first.generation.value {
            faults.add(
                Place::of(*index, &document.generation),
                format!(
                    "generation `{}` can not be added to `{}`",
                    document.generation.value, first.generation.value
                ),
            );
        }
    }
}

fn compile_routes(
    documents: &[(usize, CatalogDocument)],
    shapes: &Shapes,
    faults: &mut Faults<'_>,
) -> Vec<(Place, Route)> {
    let mut known: BTreeMap<&str, Place> = BTreeMap::new();
    let mut routes = Vec::new();
    for (index, document) in documents {
        for rpc in &document.rpcs {
            let place = Place::of(*index, &rpc.rpc);
            if let Some(first) = known.insert(&rpc.rpc.value, place) {
                let first = faults.describe(first);
                let name = &rpc.rpc.value;
                faults.add(
                    place,
                    format!("RPC `{name}` is defined at {first} already; a document may add, not redefine"),
                );
                continue;
            }
            let mut compiler = route::Compiler::new(*index, rpc, shapes, faults);
            if let Some(mut route) = compiler.route() {
                route.index = routes.len();
                routes.push((place, route));
            }
        }
    }
    routes
}

#[cfg(test)]
mod tests;
