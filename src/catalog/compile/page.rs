//! Compiles the paths that are no RPC. None may hide an RPC: a page asks for no credential.

use super::fault::{Faults, Place};
use crate::catalog::document::{CatalogDocument, PageDocument};
use crate::catalog::lookup::{TemplateSegment, page_covers, template_segments};
use crate::catalog::{Page, Route};
use http::Method;

/// The pages of all documents.
pub(super) fn compile(
    documents: &[(usize, CatalogDocument)],
    routes: &[(Place, Route)],
    faults: &mut Faults<'_>,
) -> Vec<Page> {
    let mut pages: Vec<(Place, Page)> = Vec::new();
    for (index, document) in documents {
        for source in &document.pages {
            let place = Place::of(*index, &source.path);
            let page = page(*index, source, faults);
            if !page.path.starts_with('/') || page.path.ends_with('/') {
                faults.add(
                    place,
                    format!("page `{}` must begin with `/` and not end with it", page.path),
                );
                continue;
            }
            let clash = pages
                .iter()
                .find(|(_, other)| page_covers(other, &page.path) || page_covers(&page, &other.path));
            if let Some((first, _)) = clash {
                let first = faults.describe(*first);
                faults.add(place, format!("page `{}` is covered at {first} already", page.path));
            }
            for (_, route) in routes.iter().filter(|(_, route)| hides(&page, route)) {
                faults.add(
                    place,
                    format!("page `{}` would open `{}` to everybody", page.path, route.rpc),
                );
            }
            pages.push((place, page));
        }
    }
    pages.into_iter().map(|(_, page)| page).collect()
}

fn page(document: usize, source: &PageDocument, faults: &mut Faults<'_>) -> Page {
    let mut methods = Vec::new();
    for word in &source.methods {
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
        let found = known.into_iter().find(|method| method.as_str() == word.value);
        let method = found.ok_or_else(|| format!("unknown method `{}`", word.value));
        methods.extend(faults.check(Place::of(document, word), method));
    }
    Page {
        path: source.path.value.as_str().into(),
        prefix: source.below,
        redirects: source.redirects,
        session: source.session,
        methods,
    }
}

/// Whether the page has a path that is also the RPC's.
fn hides(page: &Page, route: &Route) -> bool {
    let meets = |template: &str| {
        let mut template = template_segments(template);
        let same = template_segments(&page.path).all(|own| match (own, template.next()) {
            (_, Some(TemplateSegment::Variable(_))) => true,
            (own, Some(literal)) => own == literal,
            (_, None) => false,
        });
        same && (page.prefix || template.next().is_none())
    };
    meets(&route.rpc) || route.bindings.iter().any(|binding| meets(&binding.template))
}
