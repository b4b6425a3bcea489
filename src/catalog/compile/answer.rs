//! Compiles what is said about the answers of one RPC.

use super::fault::{Faults, Place};
use super::route::action;
use super::shape::{FieldShape, Segment, Shapes, join, segments, split_last};
use crate::catalog::answer::{Answer, ItemField, ItemPart, ItemShape, ItemStep, Items, Label, Narrow, Show, Whole};
use crate::catalog::document::{
    AnswerDocument, ItemsDocument, NarrowDocument, RpcDocument, ShowDocument, WholeDocument,
};
use crate::catalog::{Access, Cardinality, ScalarKind};
use std::sync::Arc;

/// The answer of an RPC, unless something is wrong with what is said.
pub(super) fn compile(
    document: usize,
    rpc: &RpcDocument,
    access: Access,
    shapes: &Shapes,
    faults: &mut Faults<'_>,
) -> Option<Answer> {
    let told = rpc.answer.as_ref()?;
    let answer = match &told.value {
        AnswerDocument::OwnScope if access == Access::Scoped => Ok(Answer::OwnScope),
        AnswerDocument::OwnScope => Err("`own_scope` has no meaning where no scope is judged".to_owned()),
        AnswerDocument::Unfiltered(why) if why.trim().is_empty() => Err("say why in `unfiltered`".to_owned()),
        AnswerDocument::Unfiltered(why) => Ok(Answer::Unfiltered(why.as_str().into())),
        AnswerDocument::Items(document) => items(document, rpc, access, shapes).map(Answer::Items),
    };
    faults.check(Place::of(document, told), answer)
}

fn items(document: &ItemsDocument, rpc: &RpcDocument, access: Access, shapes: &Shapes) -> Result<Items, String> {
    let (list, item) = list(&document.response, &document.at, shapes)?;
    let show = match &document.show {
        ShowDocument::Viewable => Show::Viewable,
        ShowDocument::Listed if access != Access::Scoped || !rpc.choices.is_empty() => {
            return Err("`show: listed` needs `action`, without `choices`".to_owned());
        }
        ShowDocument::Listed => Show::Listed,
        ShowDocument::Allowed(word) => Show::Allowed(action(word)?),
    };
    let mut shape = ItemShape::default();
    for (path, part) in parts(document, show)? {
        insert(&mut shape, shapes, item, &path, part)?;
    }
    let narrow = document
        .narrow
        .as_ref()
        .map(|narrowed| narrow(narrowed, (&rpc.request.value, &document.response), show, shapes));
    Ok(Items {
        response: document.response.as_str().into(),
        list,
        shape,
        show,
        narrow: narrow.transpose()?,
    })
}

/// The repeated field that holds the items, and the type of an item.
fn list<'s>(response: &'s str, at: &str, shapes: &'s Shapes) -> Result<(Label, &'s str), String> {
    let mut path = segments(at);
    let (Some(Segment::Field(name, Cardinality::Repeated)), None) = (path.next(), path.next()) else {
        return Err(format!("`at: {at}` must be a repeated field of the response: `NAME[]`"));
    };
    let field = shapes.field(response, name)?;
    let item = shapes.message_at(response, at)?;
    Ok((label(field), item))
}

/// The paths in an item that are read. What is shown must be told by them.
fn parts(document: &ItemsDocument, show: Show) -> Result<Vec<(String, ItemPart)>, String> {
    let told = [
        (&document.project, ItemPart::Project),
        (&document.domain, ItemPart::Domain),
        (&document.name, ItemPart::Name),
        (&document.workflow, ItemPart::Workflow),
        (&document.launch_plan, ItemPart::LaunchPlan),
    ];
    let told = told.into_iter().filter_map(|(path, part)| Some((path.clone()?, part)));
    let mut parts: Vec<(String, ItemPart)> = told.collect();
    if let Some(runs) = &document.runs {
        let fields = [
            ("project", ItemPart::NamedProject),
            ("domain", ItemPart::NamedDomain),
            ("name", ItemPart::Name),
            ("resource_type", ItemPart::Kind),
        ];
        parts.extend(fields.map(|(name, part)| (join(runs, name), part)));
    }
    let has = |part| parts.iter().any(|(_, other)| *other == part);
    let complete = match show {
        Show::Viewable => has(ItemPart::Project) && parts.len() == 1,
        Show::Allowed(_) => has(ItemPart::Project) && has(ItemPart::Domain) && !has(ItemPart::Name),
        Show::Listed => {
            let named = document.name.is_some() != document.runs.is_some();
            let about = has(ItemPart::Workflow) || has(ItemPart::LaunchPlan);
            has(ItemPart::Project) && has(ItemPart::Domain) && named && !about
        }
    };
    if complete {
        return Ok(parts);
    }
    Err(
        "an item needs for `show: viewable` only `project`; for `show: {allowed: ACTION}` `project` and `domain`, and \
         may have `workflow` and `launch_plan`; for `show: listed` `project`, `domain` and one of `name` and `runs`"
            .to_owned(),
    )
}

fn insert(shape: &mut ItemShape, shapes: &Shapes, message: &str, path: &str, part: ItemPart) -> Result<(), String> {
    let (name, rest) = path
        .split_once('.')
        .map_or((path, None), |(name, rest)| (name, Some(rest)));
    let field = shapes.field(message, name)?;
    let known = shape.fields.iter().position(|known| known.label.number == field.number);
    let Some(rest) = rest else {
        if known.is_some() {
            return Err(format!("field `{name}` of `{message}` is read for two purposes"));
        }
        let step = end(message, field, part)?;
        shape.fields.push(ItemField {
            label: label(field),
            step,
        });
        return Ok(());
    };
    let inner = shapes.message_at(message, name)?;
    let index = known.unwrap_or_else(|| {
        shape.fields.push(ItemField {
            label: label(field),
            step: ItemStep::Descend(ItemShape::default()),
        });
        shape.fields.len() - 1
    });
    match shape.fields.get_mut(index).map(|field| &mut field.step) {
        Some(ItemStep::Descend(deeper)) => insert(deeper, shapes, inner, rest, part),
        _ => Err(format!("field `{name}` of `{message}` is read for two purposes")),
    }
}

fn end(message: &str, field: &FieldShape, part: ItemPart) -> Result<ItemStep, String> {
    match (&field.kind, field.cardinality, part) {
        (ScalarKind::Enum(shape), Cardinality::Single, ItemPart::Kind) => Ok(ItemStep::Kind(Arc::clone(shape))),
        (ScalarKind::String, Cardinality::Single, part) if part != ItemPart::Kind => Ok(ItemStep::Keep(part)),
        _ => Err(format!(
            "field `{}` of `{message}` must be a single string, or a single enum for `resource_type`",
            field.name
        )),
    }
}

fn narrow(
    document: &NarrowDocument,
    (request, response): (&str, &str),
    show: Show,
    shapes: &Shapes,
) -> Result<Narrow, String> {
    let field = shapes.field(request, &document.filters)?;
    if !is_single(field, &ScalarKind::String) {
        return Err(format!("`{}` must be a single string of the request", document.filters));
    }
    if !split_last(&document.filters).0.is_empty() || matches!(show, Show::Allowed(_)) {
        return Err("`narrow` needs a field of the request itself, and `show: viewable` or `listed`".to_owned());
    }
    Ok(Narrow {
        number: field.number,
        key: document.filters.as_str().into(),
        column: document.column.as_str().into(),
        default: document.default.as_deref().map(Into::into),
        whole: document
            .whole
            .as_ref()
            .map(|document| whole(document, request, response, shapes).map(Box::new))
            .transpose()?,
    })
}

fn whole(document: &WholeDocument, request: &str, response: &str, shapes: &Shapes) -> Result<Whole, String> {
    let single = |message: &str, name: &str, kind: &ScalarKind| {
        let field = shapes.field(message, name)?;
        if is_single(field, kind) {
            return Ok(label(field));
        }
        Err(format!(
            "in `whole` `limit` must be a single number and `token` a single string, and `{name}` of `{message}` is not"
        ))
    };
    Ok(Whole {
        limit: single(request, &document.limit, &ScalarKind::Varint)?,
        token: single(request, &document.token, &ScalarKind::String)?,
        next: single(response, &document.token, &ScalarKind::String)?,
    })
}

fn is_single(field: &FieldShape, kind: &ScalarKind) -> bool {
    field.kind == *kind && field.cardinality == Cardinality::Single && field.oneof.is_none()
}

fn label(field: &FieldShape) -> Label {
    Label {
        number: field.number,
        name: field.name.clone(),
        json: field.json.clone(),
    }
}
