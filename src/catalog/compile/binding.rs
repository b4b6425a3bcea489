//! Compiles the REST bindings of an RPC and refuses templates that one request could match twice.

use super::fault::{Faults, Place};
use super::shape::{FieldShape, Shapes, json_name};
use crate::catalog::document::{HttpDocument, RpcDocument};
use crate::catalog::lookup::{MAX_SEGMENTS, MAX_VARIABLES, TemplateSegment, template_segments};
use crate::catalog::{Binding, Cardinality, Part, Plan, QueryKey, Route, ScalarKind, Variable};
use http::Method;
use serde_saphyr::Spanned;

/// Messages that a query spells as text.
const TEXT_MESSAGES: [&str; 2] = ["google.protobuf.Duration", "google.protobuf.Timestamp"];

/// The bindings of an RPC, without those that are wrong.
pub(super) fn compile(
    document: usize,
    rpc: &RpcDocument,
    plan: &Plan,
    shapes: &Shapes,
    faults: &mut Faults<'_>,
) -> Vec<Binding> {
    let keys = query_keys(document, rpc, plan, shapes, faults);
    if let Some(key) = rpc.query.first()
        && !rpc.http.iter().any(|http| http.value.get.is_some())
    {
        faults.add(Place::of(document, key), "`query` has no meaning without a GET binding");
    }
    let mut bindings = Vec::new();
    for http in &rpc.http {
        let place = Place::of(document, http);
        let binding = binding(&http.value, &rpc.request.value, plan, shapes);
        let Some(mut binding) = faults.check(place, binding) else {
            continue;
        };
        if binding.method == Method::GET {
            for key in &keys {
                if binding.variables.iter().any(|variable| variable.field == key.field) {
                    faults.add(place, format!("`{}` is set by the path and the query both", key.field));
                }
            }
            binding.query.clone_from(&keys);
        }
        bindings.push(binding);
    }
    bindings
}

/// Notes every pair of templates that one path matches with one method.
pub(super) fn check_overlaps(routes: &[(Place, Route)], faults: &mut Faults<'_>) {
    let mut seen: Vec<(Place, &Route, &Binding)> = Vec::new();
    for (place, route) in routes {
        for binding in &route.bindings {
            for (first, other_route, other) in &seen {
                if other.method == binding.method && overlap(&other.template, &binding.template) {
                    let message = format!(
                        "{} `{}` can match the same paths as `{}` of `{}` at {}",
                        binding.method,
                        binding.template,
                        other.template,
                        other_route.rpc,
                        faults.describe(*first)
                    );
                    faults.add(*place, message);
                }
            }
            seen.push((*place, route, binding));
        }
    }
}

/// Whether some path matches both templates.
fn overlap(one: &str, other: &str) -> bool {
    let (one, other): (Vec<_>, Vec<_>) = (template_segments(one).collect(), template_segments(other).collect());
    one.len() == other.len()
        && one.iter().zip(&other).all(|pair| match pair {
            (TemplateSegment::Literal(one), TemplateSegment::Literal(other)) => one == other,
            _ => true,
        })
}

fn binding(http: &HttpDocument, request: &str, plan: &Plan, shapes: &Shapes) -> Result<Binding, String> {
    let methods = [
        (Method::GET, &http.get),
        (Method::PUT, &http.put),
        (Method::POST, &http.post),
        (Method::DELETE, &http.delete),
    ];
    let mut given = methods
        .into_iter()
        .filter_map(|(method, template)| Some((method, template.as_ref()?)));
    let (Some((method, template)), None) = (given.next(), given.next()) else {
        return Err("write exactly one of `get`, `put`, `post` and `delete`".to_owned());
    };
    let body = match http.body.as_deref() {
        None => false,
        Some("*") if method == Method::GET => return Err("a GET has no body".to_owned()),
        Some("*") => true,
        Some(other) => {
            return Err(format!(
                "body `{other}` is not supported: write `\"*\"` or leave it out"
            ));
        }
    };
    let variables = variables(template, request, plan, shapes)?;
    Ok(Binding {
        method,
        template: template.as_str().into(),
        variables,
        body,
        query: Vec::new(),
    })
}

fn variables(template: &str, request: &str, plan: &Plan, shapes: &Shapes) -> Result<Vec<Variable>, String> {
    if !template.starts_with('/') || template.split('/').count() > MAX_SEGMENTS + 1 {
        return Err(format!(
            "`{template}` must begin with `/` and have at most {MAX_SEGMENTS} segments"
        ));
    }
    let mut variables: Vec<Variable> = Vec::new();
    for segment in template_segments(template) {
        let field = match segment {
            TemplateSegment::Literal(literal) => {
                let readable = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
                if literal.is_empty() || !literal.bytes().all(readable) {
                    return Err(format!(
                        "segment `{literal}` of `{template}` must be plain text or one `{{field}}`"
                    ));
                }
                continue;
            }
            TemplateSegment::Variable(field) => field,
        };
        let shape = shapes.scalar_at(request, field)?;
        if variables.iter().any(|variable| &*variable.field == field) {
            return Err(format!("`{template}` sets `{field}` twice"));
        }
        variables.push(Variable {
            field: field.into(),
            kind: shape.kind.clone(),
            sets: sets(plan, field),
        });
    }
    if variables.len() > MAX_VARIABLES {
        return Err(format!("`{template}` has more than {MAX_VARIABLES} variables"));
    }
    Ok(variables)
}

fn query_keys(
    document: usize,
    rpc: &RpcDocument,
    plan: &Plan,
    shapes: &Shapes,
    faults: &mut Faults<'_>,
) -> Vec<QueryKey> {
    let mut keys: Vec<QueryKey> = Vec::new();
    for key in &rpc.query {
        let place = Place::of(document, key);
        let repeated_key = keys.iter().any(|known| *known.field == *key.value);
        if repeated_key {
            faults.add(place, format!("`{}` is listed twice", key.value));
            continue;
        }
        let compiled = query_key(key, &rpc.request.value, plan, shapes);
        keys.extend(faults.check(place, compiled));
    }
    keys
}

fn query_key(key: &Spanned<String>, request: &str, plan: &Plan, shapes: &Shapes) -> Result<QueryKey, String> {
    let (parent, name) = super::shape::split_last(&key.value);
    let shape = shapes.field(shapes.message_at(request, parent)?, name)?;
    let kind = query_kind(shape).ok_or_else(|| format!("`{}` can not be a query key", key.value))?;
    Ok(QueryKey {
        field: key.value.as_str().into(),
        json: json_name(&key.value).into(),
        kind,
        repeated: shape.cardinality == Cardinality::Repeated,
        sets: sets(plan, &key.value),
    })
}

fn query_kind(field: &FieldShape) -> Option<ScalarKind> {
    match (&field.kind, field.cardinality) {
        (_, Cardinality::Map) => None,
        (ScalarKind::Message, _) => {
            let text = field
                .message
                .as_deref()
                .is_some_and(|name| TEXT_MESSAGES.contains(&name));
            text.then_some(ScalarKind::String)
        }
        (kind, _) => Some(kind.clone()),
    }
}

fn sets(plan: &Plan, field: &str) -> Vec<(usize, Part)> {
    let of_slot = |(index, slot): (usize, &crate::catalog::Slot)| {
        let parts = slot.parts.iter().filter(|(path, _)| &**path == field);
        parts.map(|(_, part)| (index, *part)).collect::<Vec<_>>()
    };
    plan.slots().iter().enumerate().flat_map(of_slot).collect()
}
