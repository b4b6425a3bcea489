//! What an answer may show: which of its items are compared with the caller's rights, and how the control plane can be
//! asked for only those.

use super::{EnumShape, Route};
use crate::model::action::Action;
use crate::model::scope::Resource;
use std::sync::Arc;

/// How an answer that names projects, domains or things is handled.
#[derive(Debug)]
pub enum Answer {
    /// It is what the scope holds that was judged, and passes as it is.
    OwnScope,
    /// It passes as it is, for this reason.
    Unfiltered(Box<str>),
    /// Each of its items is shown or left out.
    Items(Items),
}

impl Answer {
    /// What it shows, in words.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::OwnScope => "what the scope holds".to_owned(),
            Self::Unfiltered(why) => format!("all: {why}"),
            Self::Items(items) => items.described(),
        }
    }
}

impl Items {
    fn described(&self) -> String {
        let list = &self.list.name;
        let runs = self
            .shape
            .fields
            .iter()
            .any(|field| field.reads(ItemPart::NamedProject));
        match self.show {
            Show::Viewable => format!("{list} in which the caller may view something"),
            Show::Allowed(action) => format!("{list} where the caller may {action}"),
            Show::Listed if runs => format!("{list} of things whose names are allowed"),
            Show::Listed => format!("{list} whose names are allowed"),
        }
    }
}

impl ItemField {
    fn reads(&self, part: ItemPart) -> bool {
        match &self.step {
            ItemStep::Descend(shape) => shape.fields.iter().any(|field| field.reads(part)),
            ItemStep::Keep(kept) => *kept == part,
            ItemStep::Kind(_) => part == ItemPart::Kind,
        }
    }
}

/// The items of an answer.
#[derive(Debug)]
pub struct Items {
    /// The full name of the response message.
    pub response: Box<str>,
    /// The repeated field that holds them.
    pub list: Label,
    /// Where in an item the fields are that say what it is.
    pub shape: ItemShape,
    /// Who is shown an item.
    pub show: Show,
    /// How the control plane is asked for the items shown only, where it can be.
    pub narrow: Option<Narrow>,
}

/// A field by all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The field number.
    pub number: u32,
    /// The proto name.
    pub name: Box<str>,
    /// The JSON name.
    pub json: Box<str>,
}

/// The fields of a message that are read, and only those: newer servers may send others.
#[derive(Debug, Default)]
pub struct ItemShape {
    /// The fields.
    pub fields: Vec<ItemField>,
}

/// One field that is read.
#[derive(Debug)]
pub struct ItemField {
    /// The field.
    pub label: Label,
    /// What is done with it.
    pub step: ItemStep,
}

/// What is done with a field of an item.
#[derive(Debug)]
pub enum ItemStep {
    /// Go into the message.
    Descend(ItemShape),
    /// Keep the text.
    Keep(ItemPart),
    /// Keep the enum, as its number.
    Kind(Arc<EnumShape>),
}

/// What the fields of an item say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ItemPart {
    /// The project it lies in.
    Project,
    /// The domain it lies in.
    Domain,
    /// The name of the thing it is, or runs.
    Name,
    /// What kind of thing that is (`flyteidl.core.ResourceType`).
    Kind,
    /// The project of the thing it runs.
    NamedProject,
    /// The domain of the thing it runs.
    NamedDomain,
    /// The workflow it is about.
    Workflow,
    /// The launch plan it is about.
    LaunchPlan,
}

impl ItemPart {
    /// How many parts there are.
    pub const COUNT: usize = 8;
}

/// Who is shown an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Whoever may view something in some domain of its project.
    Viewable,
    /// Whoever may do this where it lies: without a domain in every domain of the project. What lies in no project is
    /// shown to those who administer the platform, and they are shown everything.
    Allowed(Action),
    /// Whoever may make the call for the thing by its name. Lets callers whose rules list names make the call.
    Listed,
}

/// How the control plane is asked for only some items, so that pages stay full and their tokens exact.
#[derive(Debug)]
pub struct Narrow {
    /// The number of the request field that takes filters.
    pub number: u32,
    /// Its name, also as query key.
    pub key: Box<str>,
    /// The column to be compared.
    pub column: Box<str>,
    /// The filter that holds where a request has none, and that any filter turns off.
    pub default: Option<Box<str>>,
    /// How it is asked for the whole list, where the items shown cannot be told beforehand.
    pub whole: Option<Box<Whole>>,
}

/// How the control plane is asked for a whole list, so that it is parted into pages after it is filtered, and no page or
/// token tells of an item that is not shown. A limit of zero means none to it, and a token is the number of items before.
#[derive(Debug)]
pub struct Whole {
    /// The request field with the limit of a page.
    pub limit: Label,
    /// The request field with the token of a page.
    pub token: Label,
    /// The response field with the token of the next page.
    pub next: Label,
}

impl Route {
    /// The items of its answers, if each is shown or left out.
    #[must_use]
    pub fn items(&self) -> Option<&Items> {
        match &self.answer {
            Some(Answer::Items(items)) => Some(items),
            Some(Answer::OwnScope | Answer::Unfiltered(_)) | None => None,
        }
    }

    /// What the call touches, given that its answer may be filtered by name: then naming nothing means what is listed.
    #[must_use]
    pub fn as_listed(&self, resource: Option<Resource>) -> Option<Resource> {
        if self.items().is_none_or(|items| items.show != Show::Listed) {
            return resource;
        }
        Some(match resource {
            None | Some(Resource::Unnamed) => Resource::Listed(None),
            Some(Resource::Every(kind)) => Resource::Listed(Some(kind)),
            Some(named @ (Resource::Named { .. } | Resource::Listed(_) | Resource::Object(_) | Resource::RunBy(_))) => {
                named
            }
        })
    }
}
