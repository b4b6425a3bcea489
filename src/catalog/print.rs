//! Shows the catalogue: a table for people, JSON for programs.

use super::answer::{Answer, Show};
use super::{Access, Catalog, Extent, Part, ResourceSource, Route, SessionUse, Slot, SlotRole};
use crate::model::action::Action;
use serde_json::{Value, json};
use std::fmt::Write;

impl Catalog {
    /// An aligned table with one line for each RPC and a line more for each reference.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows = vec![["RPC", "NEEDS", "IN", "NAMES", "REST"].map(str::to_owned)];
        for route in &self.routes {
            rows.extend(rows_of(route));
        }
        for page in &self.pages {
            let methods: Vec<&str> = page.methods.iter().map(http::Method::as_str).collect();
            let below = if page.prefix { "/**" } else { "" };
            let rest = format!("{} {}{below}", methods.join(","), page.path);
            rows.push([
                "(page)".to_owned(),
                "public".to_owned(),
                String::new(),
                String::new(),
                rest,
            ]);
        }
        aligned(&rows)
    }

    /// Everything the table shows and more, for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let pages = self.pages.iter().map(|page| {
            json!({
                "path": page.path,
                "below": page.prefix,
                "redirects": page.redirects,
                "session": page.session.map(SessionUse::label),
                "methods": page.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
            })
        });
        json!({
            "generation": self.generation,
            "rpcs": self.routes.iter().map(route_json).collect::<Vec<_>>(),
            "pages": pages.collect::<Vec<_>>(),
        })
    }
}

/// One row, with what the route refers to and further REST templates in rows below.
fn rows_of(route: &Route) -> Vec<[String; 5]> {
    let mut needs = vec![needs(route)];
    let mut places = vec![String::new()];
    let mut names = vec![String::new()];
    for slot in route.plan.slots() {
        match &slot.role {
            SlotRole::Scope { extent, resource } => {
                places = vec![scope_text(slot, *extent)];
                names = vec![resource_text(slot, *resource)];
            }
            SlotRole::FlyteUrl => places = vec![parts_text(slot)],
            SlotRole::Reference { resource, .. } => {
                needs.push(reference_text(&slot.role));
                places.push(slot.at.to_string());
                names.push(resource_text(slot, *resource));
            }
            SlotRole::ChosenName => {
                needs.push(format!("  what has the name already: {}", route.action));
                places.push(parts_text(slot));
                names.push("stored".to_owned());
            }
            SlotRole::NativeUrl => places = vec![format!("the platform, or by rules on {}", parts_text(slot))],
            SlotRole::ArtifactUri => {
                needs.push(format!("  {} there", Action::AdministerPlatform.label()));
                places.push(parts_text(slot));
                names.push(String::new());
            }
            SlotRole::Required
            | SlotRole::Name
            | SlotRole::StoredName
            | SlotRole::StoredVersion
            | SlotRole::Choice
            | SlotRole::UploadPath
            | SlotRole::Setting(_)
            | SlotRole::KeyedSetting => {}
        }
    }
    if let Some(answer @ (Answer::Items(_) | Answer::Unfiltered(_))) = &route.answer {
        needs.push(format!("  shows {}", answer.described()));
    }
    let rest = route
        .bindings
        .iter()
        .map(|binding| format!("{} {}", binding.method, binding.template));
    let mut columns = [vec![short(&route.rpc).to_owned()], needs, places, names, rest.collect()];
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    (0..height)
        .map(|row| {
            columns
                .each_mut()
                .map(|column| column.get_mut(row).map(std::mem::take).unwrap_or_default())
        })
        .collect()
}

fn needs(route: &Route) -> String {
    match route.access {
        Access::Public => "public".to_owned(),
        Access::Authenticated => "authenticated".to_owned(),
        Access::Scoped => {
            let mut actions = vec![route.action];
            for choice in &route.choices {
                if !actions.contains(&choice.action) {
                    actions.push(choice.action);
                }
            }
            labels(&actions, " or ")
        }
    }
}

fn reference_text(role: &SlotRole) -> String {
    let SlotRole::Reference {
        label,
        foreign,
        foreign_task,
        always,
        ..
    } = role
    else {
        return String::new();
    };
    let mut words = Vec::new();
    if !always.is_empty() {
        words.push(labels(always, " and "));
    }
    if !foreign.is_empty() {
        words.push(format!("{} elsewhere", labels(foreign, " and ")));
    }
    if !foreign_task.is_empty() {
        words.push(format!("{} for a task elsewhere", labels(foreign_task, " and ")));
    }
    format!("  {label}: {}", words.join(", "))
}

fn scope_text(slot: &Slot, extent: Extent) -> String {
    match extent {
        Extent::Domain => parts_text(slot),
        Extent::Project => format!("{} (every domain)", parts_text(slot)),
        Extent::SomeDomain => format!("{} (some domain)", parts_text(slot)),
        Extent::Platform => "the platform".to_owned(),
    }
}

/// The fields that tell the scope, the message they lie in once: `id.{project, domain}`.
fn parts_text(slot: &Slot) -> String {
    let told = slot.parts.iter();
    let told = told.filter(|(_, part)| matches!(part, Part::Project | Part::Domain | Part::Value));
    let paths: Vec<&str> = told.map(|(path, _)| &**path).collect();
    let split: Vec<(&str, &str)> = paths.iter().filter_map(|path| path.rsplit_once('.')).collect();
    match split.as_slice() {
        [(parent, _), _, ..] if split.len() == paths.len() && split.iter().all(|(other, _)| other == parent) => {
            let names: Vec<&str> = split.iter().map(|(_, name)| *name).collect();
            format!("{parent}.{{{}}}", names.join(", "))
        }
        _ => paths.join(", "),
    }
}

/// The service and method without the package.
fn short(rpc: &str) -> &str {
    rpc.rsplit_once('.').map_or(rpc, |(_, short)| short)
}

fn resource_text(slot: &Slot, resource: ResourceSource) -> String {
    let kind = match resource {
        ResourceSource::None => return String::new(),
        ResourceSource::Always(kind) => kind.label(),
        ResourceSource::ByKind => "by kind",
        ResourceSource::OfAnyKind => "of any kind",
        ResourceSource::Stored { again: false } => "stored",
        ResourceSource::Stored { again: true } => "stored, started again",
    };
    let name = slot.parts.iter().find(|(_, part)| *part == Part::Name);
    name.map_or_else(|| kind.to_owned(), |(path, _)| format!("{kind} {path}"))
}

fn labels(actions: &[Action], between: &str) -> String {
    actions
        .iter()
        .map(|action| action.label())
        .collect::<Vec<_>>()
        .join(between)
}

fn aligned(rows: &[[String; 5]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            _ = write!(line, "{cell:width$}  ");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

fn route_json(route: &Route) -> Value {
    let access = match route.access {
        Access::Public => "public",
        Access::Authenticated => "authenticated",
        Access::Scoped => "scoped",
    };
    let action = (route.access == Access::Scoped).then(|| route.action.label());
    let choices = route.choices.iter().map(|choice| {
        let slot = route.plan.slots().get(choice.slot);
        let field = slot.map(|slot| slot.parts.first().map_or(&*slot.at, |(path, _)| &**path));
        json!({"action": choice.action.label(), "field": field, "values": choice.values})
    });
    let http = route.bindings.iter().map(|binding| {
        json!({
            "method": binding.method.as_str(),
            "template": binding.template,
            "body": binding.body,
            "query": binding.query.iter().map(|key| &*key.field).collect::<Vec<_>>(),
        })
    });
    let ignored = route
        .ignored
        .iter()
        .map(|ignored| json!({"field": ignored.field, "why": ignored.why}));
    json!({
        "rpc": route.rpc,
        "request": route.request,
        "access": access,
        "action": action,
        "choices": choices.collect::<Vec<_>>(),
        "fields": route.plan.slots().iter().map(slot_json).collect::<Vec<_>>(),
        "http": http.collect::<Vec<_>>(),
        "ignored": ignored.collect::<Vec<_>>(),
        "answer": route.answer.as_ref().map(answer_json),
    })
}

fn answer_json(answer: &Answer) -> Value {
    let items = match answer {
        Answer::Items(items) => items,
        Answer::OwnScope => return json!({"shows": answer.described()}),
        Answer::Unfiltered(why) => return json!({"shows": answer.described(), "unfiltered": why}),
    };
    let show = match items.show {
        Show::Viewable => "viewable",
        Show::Listed => "listed",
        Show::Allowed(action) => action.label(),
    };
    json!({
        "shows": answer.described(),
        "response": items.response,
        "at": items.list.name,
        "show": show,
        "narrow": items.narrow.as_ref().map(|narrow| &narrow.column),
    })
}

fn slot_json(slot: &Slot) -> Value {
    let parts = |wanted: &dyn Fn(Part) -> bool| {
        let paths = slot.parts.iter().filter(|(_, part)| wanted(*part));
        paths.map(|(path, _)| &**path).collect::<Vec<_>>()
    };
    let words = |actions: &[Action]| actions.iter().map(|action| action.label()).collect::<Vec<_>>();
    let mut value = json!({
        "at": slot.at,
        "parts": parts(&|_| true),
        "required": slot.required,
        "not_empty": parts(&|part| slot.filled.contains(&part)),
        "role": role_word(&slot.role),
    });
    let more = match &slot.role {
        SlotRole::Scope { extent, resource } => json!({
            "extent": extent_word(*extent),
            "resource": resource_text(slot, *resource),
        }),
        SlotRole::Reference {
            label,
            foreign,
            foreign_task,
            always,
            resource,
        } => json!({
            "label": label,
            "foreign": words(foreign),
            "foreign_task": words(foreign_task),
            "always": words(always),
            "resource": resource_text(slot, *resource),
        }),
        SlotRole::ArtifactUri => json!({
            "label": "artifact by its URI",
            "foreign": [],
            "foreign_task": [],
            "always": [Action::AdministerPlatform.label()],
        }),
        SlotRole::Setting(setting) => json!({"setting": setting.label()}),
        _ => Value::Null,
    };
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn role_word(role: &SlotRole) -> &'static str {
    match role {
        SlotRole::Scope { .. } => "scope",
        SlotRole::Reference { .. } => "reference",
        SlotRole::Required => "required",
        SlotRole::Name => "name",
        SlotRole::StoredName => "stored_name",
        SlotRole::StoredVersion => "stored_version",
        SlotRole::ArtifactUri => "artifact_uri",
        SlotRole::ChosenName => "chosen_name",
        SlotRole::Choice => "choice",
        SlotRole::FlyteUrl => "flyte_url",
        SlotRole::NativeUrl => "native_url",
        SlotRole::UploadPath => "upload_path",
        SlotRole::Setting(_) => "setting",
        SlotRole::KeyedSetting => "keyed_settings",
    }
}

fn extent_word(extent: Extent) -> &'static str {
    match extent {
        Extent::Domain => "domain",
        Extent::Project => "project",
        Extent::SomeDomain => "some_domain",
        Extent::Platform => "platform",
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    #[test]
    fn the_table_tells_action_scope_references_and_rest_of_an_rpc() {
        let table = Catalog::builtin().unwrap().table();
        let line = |start: &str| {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            table
                .lines()
                .map(words)
                .find(|line| line.starts_with(start))
                .unwrap_or_default()
        };
        assert_eq!(
            line("AdminService/GetTask "),
            "AdminService/GetTask view_inventory id.{project, domain} task id.name \
             GET /api/v1/tasks/{id.project}/{id.domain}/{id.name}/{id.version}"
        );
        assert_eq!(
            line("launch plan or task:"),
            "launch plan or task: use_inventory elsewhere, register_inventory for a task elsewhere \
             spec.launch_plan by kind spec.launch_plan.name"
        );
        assert_eq!(
            line("AdminService/GetVersion"),
            "AdminService/GetVersion authenticated GET /api/v1/version"
        );
    }

    #[test]
    fn the_json_tells_every_rpc_with_its_fields() {
        let catalog = Catalog::builtin().unwrap();
        let value = catalog.json();
        assert_eq!(value["rpcs"].as_array().map(Vec::len), Some(catalog.routes.len()));
        let delete = value["rpcs"]
            .as_array()
            .unwrap()
            .iter()
            .find(|rpc| rpc["rpc"] == "/flyteidl.service.AdminService/DeleteProjectAttributes");
        let delete = delete.unwrap();
        assert_eq!(delete["action"], "edit_execution_attributes");
        assert_eq!(delete["fields"][0]["extent"], "project");
        assert_eq!(delete["choices"][0]["values"], json!([1, 2, 3, 7]));
        assert_eq!(delete["http"][0]["method"], "DELETE");
    }
}
