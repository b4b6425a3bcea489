//! Keys that stand for settings are found wherever a decoder could find them.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::extract::example::bytes;

/// Looks through a `google.protobuf.Struct`: the settings found and their values.
fn found(object: &[u8]) -> Result<Vec<(String, String)>, Stopped> {
    found_by(|search| search.object(Meaning::default(), object, 1))
}

fn found_by<'a>(
    look: impl FnOnce(&mut Search<'_, 'a>) -> Result<(), Stopped>,
) -> Result<Vec<(String, String)>, Stopped> {
    let mut values = Values::default();
    let mut search = Search {
        slot: 0,
        meaning: Meaning::default(),
        values: &mut values,
        fields_left: &mut 1000,
    };
    look(&mut search)?;
    let part = |occurrence: &Occurrence<'_>, part| occurrence.part(part).to_owned();
    let found = values.occurrences.iter();
    Ok(found
        .map(|one| (part(one, Part::Kind), part(one, Part::Value)))
        .collect())
}

fn member(key: &str, value: &[u8]) -> Vec<u8> {
    bytes(1, [bytes(1, key), bytes(2, value)].concat())
}

fn account(value: &str) -> (String, String) {
    ("service_account".to_owned(), value.to_owned())
}

#[test]
fn what_comes_twice_is_found_twice() {
    let key = "serviceAccountName";
    let text = |text: &str| bytes(3, text);
    let two = [account("a"), account("b")];
    // Two members, two texts in one value, two objects in one value.
    assert_eq!(
        found(&[member(key, &text("a")), member(key, &text("b"))].concat()).unwrap(),
        two
    );
    assert_eq!(found(&member(key, &[text("a"), text("b")].concat())).unwrap(), two);
    let inner = [bytes(5, member(key, &text("a"))), bytes(5, member(key, &text("b")))].concat();
    assert_eq!(found(&member("spec", &inner)).unwrap(), two);
    // In lists, also without order of key and value.
    let element = bytes(1, bytes(5, bytes(1, [bytes(2, text("a")), bytes(1, key)].concat())));
    assert_eq!(found(&member("list", &bytes(6, element))).unwrap(), [account("a")]);
}

#[test]
fn where_everything_stands_for_a_setting_keys_are_not_understood() {
    let entry = |key: &str, value: &str| [bytes(1, key), bytes(2, value)].concat();
    let label = |setting: Setting| setting.label().to_owned();
    for (key, value) in [("serviceAccountName", "a"), ("defaultIamRole", ""), ("", "a")] {
        let entry = entry(key, value);
        let found = found_by(|search| {
            search.meaning = Meaning::whole(Setting::ClusterResource);
            search.text_entry(&entry)
        });
        assert_eq!(found.unwrap(), [(label(Setting::ClusterResource), value.to_owned())]);
    }
    let found = found_by(|search| {
        search.meaning = Meaning::whole(Setting::QueueTag);
        search.element(b"a")?;
        search.element(b"a")?;
        assert_eq!(search.element(&[0xff]), Err(Stopped::Malformed));
        Ok(())
    });
    let tag = (label(Setting::QueueTag), "a".to_owned());
    assert_eq!(found.unwrap(), [tag.clone(), tag]);
}

#[test]
fn what_is_no_object_or_too_deep_is_not_passed_over() {
    let key = "serviceAccountName";
    for broken in [
        vec![0x0a],
        bytes(1, [0x0a, 0x05, b'a']),
        bytes(1, bytes(3, "x")),
        bytes(1, [0x08, 0x01]),
        member(key, &[0x1a, 0x02, 0xff, 0xfe]),
        bytes(1, bytes(1, [0xff])),
        member("a", &bytes(5, [0x0a])),
        member("a", &bytes(6, [0x0a])),
    ] {
        assert_eq!(found(&broken), Err(Stopped::Malformed), "{broken:?}");
    }
}

#[test]
fn a_search_goes_as_deep_as_messages_may_nest_and_no_deeper() {
    let text = bytes(3, "x");
    let empty = bytes(5, "");
    let in_objects =
        |levels, inner: &Vec<u8>| (0..levels).fold(inner.clone(), |inner, _| bytes(5, member("a", &inner)));
    let in_lists = |levels, inner: &Vec<u8>| (0..levels).fold(inner.clone(), |inner, _| bytes(6, bytes(1, inner)));
    // The outermost object is at the first level and its values at the second. An object in a value is one level
    // further down and its values two, an element of a list is one.
    for (content, deepest) in [
        (in_objects(49, &text), 100),
        (in_objects(49, &empty), 101),
        (in_objects(50, &text), 102),
        (in_lists(98, &text), 100),
        (in_lists(99, &text), 101),
        (in_lists(1, &in_objects(48, &empty)), 100),
        (in_lists(1, &in_objects(49, &text)), 101),
        (in_objects(1_000, &text), 2_002),
    ] {
        let outcome = found(&member("a", &content));
        if deepest <= MAX_DEPTH {
            assert_eq!(outcome, Ok(Vec::new()), "{deepest}");
        } else {
            assert_eq!(outcome, Err(Stopped::Malformed), "{deepest}");
        }
    }
}

#[test]
fn key_and_value_of_an_entry_of_a_map_of_texts_are_found_in_either_order() {
    let key = bytes(1, "serviceAccountName");
    for (entry, values) in [
        ([key.clone(), bytes(2, "a")].concat(), &["a"][..]),
        ([bytes(2, "a"), key.clone()].concat(), &["a"]),
        (key.clone(), &[""]),
        (bytes(2, "a"), &[]),
    ] {
        let expected = values.iter().map(|value| account(value)).collect();
        assert_eq!(found_by(|search| search.text_entry(&entry)), Ok(expected), "{entry:?}");
    }
    for broken in [bytes(2, [0xff]), bytes(1, [0xff]), bytes(3, "a"), vec![0x0a]] {
        assert_eq!(
            found_by(|search| search.text_entry(&broken)),
            Err(Stopped::Malformed),
            "{broken:?}"
        );
    }
}

#[test]
fn a_secret_is_known_by_its_name_or_by_the_annotation_that_asks_for_it() {
    for (key, expected) in [
        ("secretName", ("secret", "value")),
        ("flyte.secrets/s0", ("secret", "flyte.secrets/s0")),
        (
            "spark.kubernetes.driver.secrets.s",
            ("secret", "spark.kubernetes.driver.secrets.s"),
        ),
        ("iam.amazonaws.com/role", ("iam_role", "value")),
        ("spark.hadoop.fs.s3a.assumed.role.arn", ("iam_role", "value")),
    ] {
        let (setting, value) = expected;
        assert_eq!(
            found(&member(key, &bytes(3, "value"))),
            Ok(vec![(setting.to_owned(), value.to_owned())])
        );
    }
}

#[test]
fn a_search_ends_when_it_has_read_as_much_as_may_be_read() {
    let many: Vec<u8> = (0..400).flat_map(|_| member("a", &[])).collect();
    assert_eq!(found(&many), Err(Stopped::TooMany));
}

#[test]
fn an_entry_with_two_keys_or_two_values_is_refused() {
    let key = || bytes(1, "serviceAccountName");
    let (as_text, as_value) = (|| bytes(2, "a"), || bytes(2, bytes(3, "a")));
    for (text, member) in [
        ([key(), key(), as_text()].concat(), [key(), key(), as_value()].concat()),
        ([bytes(1, ""), key()].concat(), [bytes(1, ""), key()].concat()),
        (
            [key(), as_text(), as_text()].concat(),
            [key(), as_value(), as_value()].concat(),
        ),
        ([as_text(), bytes(2, "")].concat(), [as_value(), bytes(2, "")].concat()),
    ] {
        assert_eq!(
            found_by(|search| search.text_entry(&text)),
            Err(Stopped::Twice),
            "{text:?}"
        );
        assert_eq!(found(&bytes(1, &member)), Err(Stopped::Twice), "{member:?}");
    }
}

/// Texts under one key, in a list.
fn texts(key: &str, count: usize) -> Vec<u8> {
    let list: Vec<u8> = (0..count).flat_map(|_| bytes(1, bytes(3, ""))).collect();
    member(key, &bytes(6, list))
}

#[test]
fn a_secret_that_its_key_names_is_found_once_however_much_lies_under_it() {
    let key = format!("flyte.secrets/{}", "k".repeat(1000));
    assert_eq!(found(&texts(&key, 100)), Ok(vec![("secret".to_owned(), key)]));
    assert_eq!(found(&texts("secretName", 3)).unwrap().len(), 3);
}

#[test]
fn no_more_settings_are_collected_than_may_be_asked_for() {
    let object = texts("serviceAccountName", MOST + 200);
    let mut values = Values::default();
    let mut search = Search {
        slot: 0,
        meaning: Meaning::default(),
        values: &mut values,
        fields_left: &mut 100_000,
    };
    search.object(Meaning::default(), &object, 1).unwrap();
    assert_eq!((values.occurrences.len(), values.noted), (MOST, MOST + 200));
}

#[test]
fn a_search_takes_time_by_the_length_of_the_message_and_not_by_keys_times_values() {
    // Each of these took minutes when the key was understood anew for each text under it.
    let key = "k".repeat(1 << 20);
    let names: Vec<u8> = (0..40_000)
        .flat_map(|_| bytes(1, bytes(5, member("name", &bytes(3, "x")))))
        .collect();
    for object in [texts(&key, 100_000), member(&key, &bytes(6, names))] {
        let mut values = Values::default();
        let mut search = Search {
            slot: 0,
            meaning: Meaning::default(),
            values: &mut values,
            fields_left: &mut 1_000_000,
        };
        search.object(Meaning::default(), &object, 1).unwrap();
        assert_eq!(values, Values::default());
    }
}
