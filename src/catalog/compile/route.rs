//! Compiles one RPC: its access, its slots, its plan and its bindings.

use super::fault::{Faults, Place};
use super::shape::Shapes;
use super::slot::Slots;
use super::{answer, binding, plan};
use crate::catalog::document::{OpenAccess, RpcDocument};
use crate::catalog::{Access, Ignored, Plan, Route};
use crate::model::action::Action;
use serde_saphyr::Spanned;

/// What it takes to compile one RPC.
pub(super) struct Compiler<'a, 'f> {
    document: usize,
    rpc: &'a RpcDocument,
    shapes: &'a Shapes,
    faults: &'a mut Faults<'f>,
}

impl<'a, 'f> Compiler<'a, 'f> {
    pub(super) fn new(document: usize, rpc: &'a RpcDocument, shapes: &'a Shapes, faults: &'a mut Faults<'f>) -> Self {
        Self {
            document,
            rpc,
            shapes,
            faults,
        }
    }

    /// The route, unless something is wrong with it.
    pub(super) fn route(&mut self) -> Option<Route> {
        let rpc = self.rpc;
        self.check_name();
        let request = &rpc.request.value;
        let known = self.shapes.fields(request).map(|_| ());
        self.faults.check(self.place(&rpc.request), known)?;
        let (access, action) = self.access()?;
        let mut slots = Slots::new(self.document, request, self.shapes, self.faults);
        let (mut choices, mut writes) = (Vec::new(), Vec::new());
        if access == Access::Scoped {
            slots.scoped(rpc);
            choices = slots.choices(&rpc.choices);
            writes = slots.settings(rpc);
        }
        let slots = slots.finish();
        let plan = match access {
            Access::Scoped => plan::build(self.shapes, request, slots),
            Access::Public | Access::Authenticated => Ok(Plan::default()),
        };
        let plan = self.faults.check(self.place(&rpc.rpc), plan)?;
        let bindings = binding::compile(self.document, rpc, &plan, self.shapes, self.faults);
        let answer = answer::compile(self.document, rpc, access, self.shapes, self.faults);
        let ignored = rpc.ignored.iter().map(|ignored| Ignored {
            field: ignored.field.as_str().into(),
            why: ignored.why.as_str().into(),
        });
        Some(Route {
            index: 0,
            rpc: format!("/{}", rpc.rpc.value).into(),
            request: request.as_str().into(),
            access,
            action,
            choices,
            plan,
            bindings,
            ignored: ignored.collect(),
            answer,
            writes: writes.into(),
        })
    }

    fn check_name(&mut self) {
        let name = &self.rpc.rpc;
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
        };
        let good = name
            .value
            .split_once('/')
            .is_some_and(|(service, method)| plain(service) && plain(method));
        if !good {
            let message = format!("`{}` is no RPC: write `package.Service/Method`", name.value);
            self.faults.add(self.place(name), message);
        }
    }

    fn access(&mut self) -> Option<(Access, Action)> {
        let rpc = self.rpc;
        let place = self.place(&rpc.rpc);
        match (rpc.access, &rpc.action) {
            (None, Some(word)) => {
                if rpc.scope.is_some() == rpc.flyte_url.is_some() {
                    let message = format!(
                        "`{}` needs exactly one of `scope` and `flyte_url`; for what concerns all of Flyte write `scope: {{extent: platform}}`",
                        rpc.rpc.value
                    );
                    self.faults.add(place, message);
                    return None;
                }
                let action = self.faults.check(self.place(word), action(word))?;
                Some((Access::Scoped, action))
            }
            (Some(open), None) => {
                let judged = rpc.scope.is_some()
                    || rpc.flyte_url.is_some()
                    || !(rpc.required.is_empty()
                        && rpc.names.is_empty()
                        && rpc.stored_as.is_none()
                        && rpc.artifact_uris.is_empty()
                        && rpc.chosen_name.is_none()
                        && rpc.upload_paths.is_empty()
                        && rpc.references.is_empty()
                        && rpc.settings.is_empty()
                        && rpc.searched.is_empty()
                        && rpc.choices.is_empty());
                if judged {
                    self.faults.add(place, "an RPC with `access` is not judged by scope: write `action` instead, or only `request`, `http` and `query`");
                }
                let access = match open {
                    OpenAccess::Public => Access::Public,
                    OpenAccess::Authenticated => Access::Authenticated,
                };
                Some((access, Action::ViewInventory))
            }
            (None, None) | (Some(_), Some(_)) => {
                let message = format!("`{}` needs exactly one of `action` and `access`", rpc.rpc.value);
                self.faults.add(place, message);
                None
            }
        }
    }

    fn place<T>(&self, value: &Spanned<T>) -> Place {
        Place::of(self.document, value)
    }
}

/// The action of that name.
pub(super) fn action(word: &Spanned<String>) -> Result<Action, String> {
    word.value.parse().map_err(|_| {
        let known: Vec<&str> = Action::ALL.iter().map(|action| action.label()).collect();
        format!("unknown action `{}`: write one of {}", word.value, known.join(", "))
    })
}
