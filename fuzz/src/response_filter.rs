//! Answers: what is left is a part of what came, in its order, without what is not shown and with all that is; filtering it again
//! changes nothing.

use crate::routes::{catalog, message};
use flyte_authz_proxy::catalog::answer::{ItemPart, ItemShape, ItemStep, Items};
use flyte_authz_proxy::filter::page::Page;
use flyte_authz_proxy::filter::pieces::Pieces;
use flyte_authz_proxy::filter::{Item, json, protobuf};
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
        self.page(items, answer, None, shown)
    }

    fn page(
        self,
        items: &Items,
        answer: &[u8],
        page: Option<Page<'_>>,
        shown: impl FnMut(&Item<'_>) -> bool,
    ) -> Option<Vec<u8>> {
        let is_whole = page.is_none();
        let mut pieces = match self {
            Self::Protobuf => Pieces::default(),
            Self::Json => Pieces::in_one(answer.len()),
        };
        pieces.push(answer.to_vec().into());
        let edits = match self {
            Self::Protobuf => protobuf::filter(&pieces, items, page, shown)?,
            Self::Json => json::filter(pieces.one().expect("one piece"), items, page, shown)?,
        };
        let length = edits.length(pieces.len());
        let left = pieces.edited(&edits, &[]).concat();
        assert_eq!(left.len(), length, "another length than was announced");
        if is_whole {
            assert_eq!(edits.withheld == 0, left.len() == answer.len());
        }
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

    /// A page of it: its items, its token, and nothing else is another.
    fn pages(self, items: &Items, answer: &[u8]) {
        let Some(next) = items
            .narrow
            .as_ref()
            .and_then(|narrow| narrow.whole.as_ref())
            .map(|whole| &whole.next)
        else {
            return;
        };
        for (offset, limit) in [(0, 0), (0, 1), (1, 2), (3, 0)] {
            let page = Page {
                offset,
                limit,
                ..Page::first(next)
            };
            let Some(paged) = self.page(items, answer, Some(page), |_| true) else {
                continue;
            };
            let mut before = self.decoded(items, answer).expect("it was read before");
            let mut after = self.decoded(items, &paged).expect("a page can be read");
            let list = |answer: &DynamicMessage| {
                let list = answer.get_field_by_name(&items.list.name).expect("a list").into_owned();
                list.as_list().expect("a list").to_vec()
            };
            let all = list(&before);
            let most = if limit == 0 { usize::MAX } else { limit };
            let wanted: Vec<Value> = all.iter().skip(offset).take(most).cloned().collect();
            assert_eq!(list(&after), wanted, "a page has other items");
            let is_full = limit > 0 && all.len() >= offset + limit;
            let token = if is_full {
                (offset + limit).to_string()
            } else {
                String::new()
            };
            let field = after.get_field_by_name(&next.name).expect("a token").into_owned();
            assert_eq!(field.as_str(), Some(&*token));
            for answer in [&mut before, &mut after] {
                answer.clear_field_by_name(&next.name);
                answer.clear_field_by_name(&items.list.name);
            }
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
