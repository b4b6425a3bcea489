//! Answers: what is left is a part of what came, in its order, without what is not shown and with all that is; filtering it again
//! changes nothing.

use crate::routes::{catalog, message};
use flyte_authz_proxy::catalog::answer::{ItemPart, ItemShape, ItemStep, Items};
use flyte_authz_proxy::filter::page::Page;
use flyte_authz_proxy::filter::{Item, Withheld, json, protobuf};
use prost_reflect::{DeserializeOptions, DynamicMessage, Value};
use std::sync::LazyLock;

/// The answers that are filtered, in the order of the catalogue.
pub static ANSWERS: LazyLock<Vec<&'static Items>> = LazyLock::new(|| {
    catalog()
        .routes
        .iter()
        .filter_map(flyte_authz_proxy::catalog::Route::items)
        .collect()
});

const PARTS: [ItemPart; ItemPart::COUNT] = [
    ItemPart::Project,
    ItemPart::Domain,
    ItemPart::Name,
    ItemPart::Kind,
    ItemPart::NamedProject,
    ItemPart::NamedDomain,
    ItemPart::Workflow,
    ItemPart::LaunchPlan,
];

/// The lowest bit of the first byte says whether the answer is JSON, the others which one it is; the next byte chooses which items
/// are shown. The rest is the answer.
pub fn check(input: &[u8]) {
    let [which, choice, answer @ ..] = input else {
        return;
    };
    let items = ANSWERS[usize::from(which >> 1) % ANSWERS.len()];
    let form = if which & 1 == 0 { Form::Protobuf } else { Form::Json };
    form.check(items, answer, *choice);
}

#[derive(Clone, Copy)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
    fn check(self, items: &Items, answer: &[u8], choice: u8) {
        let shown = |item: &Item<'_>| is_shown(choice, PARTS.map(|part| said(part, item.part(part))));
        let Some(filtered) = self.filter(items, answer, shown) else {
            assert_eq!(
                self.filter(items, answer, |_| true),
                None,
                "whether it is read depends on what is shown"
            );
            return;
        };
        assert_eq!(
            self.filter(items, answer, |_| true).as_deref(),
            Some(answer),
            "what is shown whole is changed"
        );
        assert_eq!(
            self.filter(items, &filtered, shown).as_deref(),
            Some(&*filtered),
            "filtering twice changes something"
        );
        let none = self.filter(items, answer, |_| false).expect("it was read before");
        let mut left = 0;
        self.filter(items, &none, |_| {
            left += 1;
            true
        });
        assert_eq!(left, 0, "an item is left");
        let Some(before) = self.decoded(items, answer) else {
            return;
        };
        let after = self.decoded(items, &filtered).expect("what is left can be read");
        let list = |answer: &DynamicMessage| answer.get_field_by_name(&items.list.name).expect("a list").into_owned();
        let wanted = list(&before)
            .as_list()
            .expect("a list")
            .iter()
            .filter(|item| {
                let item = item.as_message().expect("an item");
                is_shown(
                    choice,
                    PARTS.map(|part| part_of(&items.shape, part, item).unwrap_or_default()),
                )
            })
            .cloned()
            .collect::<Vec<Value>>();
        assert_eq!(list(&after), Value::List(wanted));
        let rest = |mut answer: DynamicMessage| {
            answer.clear_field_by_name(&items.list.name);
            answer
        };
        assert_eq!(rest(before), rest(after), "something else is changed");
        self.pages(items, &filtered);
    }

    fn filter(self, items: &Items, answer: &[u8], shown: impl FnMut(&Item<'_>) -> bool) -> Option<Vec<u8>> {
        let withheld: Withheld = match self {
            Self::Protobuf => protobuf::filter(answer, items, shown)?,
            Self::Json => json::filter(answer, items, shown)?,
        };
        let mut left = answer.to_vec();
        let length = withheld.take_out(&mut left);
        left.truncate(length);
        assert_eq!(withheld.items == 0, left.len() == answer.len());
        Some(left)
    }

    /// The whole answer. Newer servers may send fields that are not known.
    fn decoded(self, items: &Items, answer: &[u8]) -> Option<DynamicMessage> {
        let descriptor = message(&items.response);
        match self {
            Self::Protobuf => DynamicMessage::decode(descriptor, answer).ok(),
            Self::Json => {
                let options = DeserializeOptions::new().deny_unknown_fields(false);
                let mut reader = serde_json::Deserializer::from_slice(answer);
                DynamicMessage::deserialize_with_options(descriptor, &mut reader, &options).ok()
            }
        }
    }

    /// The same with the token of a page: nothing but the token is another.
    fn pages(self, items: &Items, answer: &[u8]) {
        let Some(next) = items
            .narrow
            .as_ref()
            .and_then(|narrow| narrow.whole.as_ref())
            .map(|whole| &whole.next)
        else {
            return;
        };
        for (limit, token) in [(0, ""), (1, "3")] {
            let page = Page {
                offset: 2,
                limit,
                counted: 9,
                ..Page::first(next)
            };
            let paged = match self {
                Self::Protobuf => page.in_protobuf(answer),
                Self::Json => page.in_json(answer),
            };
            let Some(paged) = paged else {
                continue;
            };
            let mut before = self.decoded(items, answer).expect("it was read before");
            let mut after = self.decoded(items, &paged).expect("a page can be read");
            let field = after.get_field_by_name(&next.name).expect("a token").into_owned();
            assert_eq!(field.as_str(), Some(token));
            before.clear_field_by_name(&next.name);
            after.clear_field_by_name(&next.name);
            assert_eq!(before, after, "a page changes something else");
        }
    }
}

/// Whether an item is shown: a choice that looks at all of its parts.
fn is_shown(choice: u8, parts: [String; ItemPart::COUNT]) -> bool {
    let mixed = parts
        .iter()
        .flat_map(|part| part.bytes().chain([0xff]))
        .fold(choice, |mixed, byte| {
            mixed.rotate_left(3).wrapping_mul(31).wrapping_add(byte)
        });
    choice == 0xff || choice != 0 && mixed.count_ones() % 2 == 0
}

/// What a part says: an enum that is not there is its default, 0.
fn said(part: ItemPart, text: &str) -> String {
    if part == ItemPart::Kind && text == "0" {
        String::new()
    } else {
        text.to_owned()
    }
}

/// A part of an item by a full decode. `None` if it has none.
fn part_of(shape: &ItemShape, part: ItemPart, item: &DynamicMessage) -> Option<String> {
    shape.fields.iter().find_map(|field| {
        let value = item
            .get_field_by_name(&field.label.name)
            .expect("a field that is published");
        match &field.step {
            ItemStep::Descend(deeper) => part_of(deeper, part, value.as_message()?),
            ItemStep::Keep(own) => (*own == part).then(|| value.as_str().unwrap_or_default().to_owned()),
            ItemStep::Kind(_) if part == ItemPart::Kind => Some(said(part, &value.as_enum_number()?.to_string())),
            ItemStep::Kind(_) => None,
        }
    })
}
