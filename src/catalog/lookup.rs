//! Finds the route of a request by exact gRPC path or REST template.

use super::{Binding, Catalog, Page, Route};
use http::Method;
use std::collections::HashMap;

/// The most segments a template may have.
pub(in crate::catalog) const MAX_SEGMENTS: usize = 16;
/// The most variables a template may have.
pub(in crate::catalog) const MAX_VARIABLES: usize = 12;

/// The compiled lookup tables.
#[derive(Debug, Default)]
pub struct Tables {
    /// Routes by gRPC path.
    rpcs: HashMap<Box<str>, usize, ahash::RandomState>,
    /// Templates by their number of segments.
    templates: Vec<Vec<Template>>,
}

#[derive(Debug)]
struct Template {
    /// The segments; none for a variable.
    segments: Vec<Option<Box<str>>>,
    route: usize,
    binding: usize,
}

/// One segment of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::catalog) enum TemplateSegment<'a> {
    /// Text that must be there as it is.
    Literal(&'a str),
    /// The field that is set to the segment.
    Variable(&'a str),
}

/// Splits a template at its slashes. The first slash is not preceded by a segment.
pub(in crate::catalog) fn template_segments(template: &str) -> impl Iterator<Item = TemplateSegment<'_>> {
    template.split('/').skip(1).map(|segment| {
        let field = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        field.map_or(TemplateSegment::Literal(segment), TemplateSegment::Variable)
    })
}

/// A REST request's route.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// The RPC.
    pub route: &'a Route,
    /// Which of its bindings.
    pub binding: &'a Binding,
    values: [&'a str; MAX_VARIABLES],
}

impl<'a> Matched<'a> {
    /// The raw path segments (not percent-decoded, never empty) that set the binding's variables, in their order.
    #[must_use]
    pub fn segments(&self) -> &[&'a str] {
        self.values.get(..self.binding.variables.len()).unwrap_or(&self.values)
    }
}

/// Why no REST binding was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// No template matches the path.
    Path,
    /// The path is known, with other methods.
    Method,
}

impl Tables {
    /// The tables of the routes.
    pub(in crate::catalog) fn of(routes: &[Route]) -> Self {
        let mut tables = Self::default();
        tables.templates.resize_with(MAX_SEGMENTS + 1, Vec::new);
        for route in routes {
            tables.rpcs.insert((&*route.rpc).into(), route.index);
            for (index, binding) in route.bindings.iter().enumerate() {
                let segments: Vec<Option<Box<str>>> = template_segments(&binding.template)
                    .map(|segment| match segment {
                        TemplateSegment::Literal(text) => Some(text.into()),
                        TemplateSegment::Variable(_) => None,
                    })
                    .collect();
                if let Some(templates) = tables.templates.get_mut(segments.len()) {
                    templates.push(Template {
                        segments,
                        route: route.index,
                        binding: index,
                    });
                }
            }
        }
        tables
    }
}

impl Template {
    fn matches(&self, segments: &[&str]) -> bool {
        self.segments.len() == segments.len()
            && self.segments.iter().zip(segments).all(|(own, segment)| match own {
                Some(literal) => &**literal == *segment,
                None => !segment.is_empty(),
            })
    }
}

impl Catalog {
    /// The route with exactly this gRPC path.
    #[must_use]
    pub fn lookup_rpc(&self, path: &str) -> Option<&Route> {
        self.routes.get(*self.tables.rpcs.get(path)?)
    }

    /// The route and binding of a REST request. Segments are compared as they are: exact case, no empty ones, no
    /// slash at the end.
    ///
    // INVARIANT: `protocol::canonical` has refused encoded slashes, at which FlyteAdmin would split once more.
    /// # Errors
    /// Whether the path is unknown or only the method is another.
    pub fn lookup_rest<'a>(&'a self, method: &Method, path: &'a str) -> Result<Matched<'a>, Unmatched> {
        let mut buffer = [""; MAX_SEGMENTS];
        let segments = split(path, &mut buffer).ok_or(Unmatched::Path)?;
        let candidates = self.tables.templates.get(segments.len()).ok_or(Unmatched::Path)?;
        let mut fault = Unmatched::Path;
        for template in candidates.iter().filter(|template| template.matches(segments)) {
            let Some(route) = self.routes.get(template.route) else {
                continue;
            };
            let Some(binding) = route.bindings.get(template.binding) else {
                continue;
            };
            if binding.method != *method {
                fault = Unmatched::Method;
                continue;
            }
            let mut values = [""; MAX_VARIABLES];
            let variables = template.segments.iter().zip(segments).filter(|(own, _)| own.is_none());
            for (value, (_, segment)) in values.iter_mut().zip(variables) {
                *value = segment;
            }
            return Ok(Matched { route, binding, values });
        }
        Err(fault)
    }

    /// The page with this path.
    #[must_use]
    pub fn lookup_page(&self, path: &str) -> Option<&Page> {
        self.pages.iter().find(|page| page_covers(page, path))
    }
}

/// Whether a path is the page's or, where that counts, below it.
pub(in crate::catalog) fn page_covers(page: &Page, path: &str) -> bool {
    path.strip_prefix(&*page.path)
        .is_some_and(|rest| rest.is_empty() || page.prefix && rest.starts_with('/'))
}

fn split<'a, 'b>(path: &'a str, buffer: &'b mut [&'a str; MAX_SEGMENTS]) -> Option<&'b [&'a str]> {
    let mut count = 0;
    for segment in path.strip_prefix('/')?.split('/') {
        *buffer.get_mut(count)? = segment;
        count += 1;
    }
    buffer.get(..count)
}

#[cfg(test)]
mod tests;
