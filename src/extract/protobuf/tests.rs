//! The wire reader on a small plan, attack by attack.
#![expect(clippy::unwrap_used, reason = "tests")]

use crate::catalog::Part;
use crate::extract::example::{OWN, account, bytes, occurrence, read_wire, reference, referred};
use crate::model::reason::Reason;

fn reason(message: &[u8]) -> Reason {
    read_wire(message).unwrap_err().reason
}

#[test]
fn an_empty_message_is_one_empty_occurrence_of_the_scope() {
    assert_eq!(read_wire(&[]).unwrap(), [occurrence(OWN, &[])]);
}

#[test]
fn parts_are_read_in_any_order() {
    let message = [bytes(2, "dev"), bytes(3, "skipped"), bytes(1, "ml")].concat();
    let own = occurrence(OWN, &[(Part::Project, "ml"), (Part::Domain, "dev")]);
    assert_eq!(read_wire(&message).unwrap(), [own]);
}

#[test]
fn references_are_found_wherever_they_lie() {
    let leaf = bytes(2, reference("leaf", "l"));
    let node = [bytes(3, &leaf), bytes(2, reference("node", "n")), bytes(3, &leaf)].concat();
    let entry = [bytes(1, "key"), bytes(2, reference("map", "m"))].concat();
    let message = [
        bytes(6, &node),
        bytes(10, &entry),
        bytes(8, reference("one", "o")),
        bytes(1, "ml"),
    ]
    .concat();
    let expected = [
        occurrence(OWN, &[(Part::Project, "ml")]),
        referred("leaf", "l"),
        referred("node", "n"),
        referred("leaf", "l"),
        referred("map", "m"),
        referred("one", "o"),
    ];
    assert_eq!(read_wire(&message).unwrap(), expected);
}

#[test]
fn t_pb_01_scalar_twice_is_refused() {
    assert_eq!(reason(&[bytes(1, "a"), bytes(1, "b")].concat()), Reason::ScopeAmbiguous);
    assert_eq!(reason(&[bytes(1, "a"), bytes(1, "a")].concat()), Reason::ScopeAmbiguous);
    assert_eq!(reason(&[bytes(1, "a"), bytes(1, "")].concat()), Reason::ScopeAmbiguous);
}

#[test]
fn t_pb_01_skipped_scalar_twice_is_the_control_planes_business() {
    assert!(read_wire(&[bytes(3, "a"), bytes(3, "b")].concat()).is_ok());
}

#[test]
fn t_pb_02_message_twice_is_refused() {
    let message = [bytes(5, bytes(2, "a")), bytes(5, bytes(3, "dev"))].concat();
    assert_eq!(reason(&message), Reason::ScopeAmbiguous);
}

#[test]
fn t_pb_04_wrong_wire_type_is_refused_in_every_known_field() {
    for wrong in [
        &[0x08, 1][..],      // project as a varint
        &[0x1d, 0, 0, 0, 0], // a skipped text as fixed32
        &[0x28, 1],          // a message as a varint
        &[0x48 | 2, 1, 1],   // a bool as bytes: only repeated ones are packed
        &[0x60, 1],          // fixed64 as a varint
        &[0x2a, 2, 0x0a, 0], // an enum as bytes
    ] {
        assert_eq!(reason(wrong), Reason::BodyMalformed, "{wrong:?}");
    }
}

#[test]
fn a_value_of_another_type_is_refused_with_what_the_field_takes() {
    for (wrong, field, expected) in [
        (&[0x08, 1][..], "project", "a text in UTF-8"),
        (&[0x21, 0, 0, 0, 0, 0, 0, 0, 0], "counts", "a list, each an integer"),
        (&[0x28, 1], "launch_plan", "a message"),
        (&[0x4a, 1, 1], "flag", "true or false"),
        (&[0x50, 1], "refs", "a map"),
        (&[0x60, 1], "size", "a number"),
        (
            &[0x2a, 2, 0x0a, 0],
            "resource_type",
            "a value of the enum `example.Kind`",
        ),
    ] {
        let denial = read_wire(wrong).unwrap_err();
        assert_eq!(denial.reason, Reason::BodyMalformed, "{wrong:?}");
        let (named, takes) = (format!("field `{field}` of"), format!("it takes {expected}"));
        assert!(
            denial.message.contains(&named) && denial.message.ends_with(&takes),
            "{}",
            denial.message
        );
    }
}

#[test]
fn settings_are_found_in_maps_of_texts_and_in_objects() {
    let key = bytes(1, "serviceAccountName");
    let entry = |text: &str| bytes(16, [key.clone(), bytes(2, text)].concat());
    let object = |text: &str| bytes(17, bytes(1, [key.clone(), bytes(2, bytes(3, text))].concat()));
    let message = [entry("a"), object("b"), entry("c")].concat();
    let own = occurrence(OWN, &[]);
    assert_eq!(
        read_wire(&message).unwrap(),
        [own, account("a"), account("b"), account("c")]
    );
    assert_eq!(reason(&[object("a"), object("a")].concat()), Reason::ScopeAmbiguous);
    assert_eq!(reason(&bytes(16, bytes(3, "x"))), Reason::BodyMalformed);
    assert_eq!(reason(&bytes(17, [0x0a])), Reason::BodyMalformed);
    // An entry counts as three fields: itself, its key and its value.
    assert!(read_wire(&entry("a").repeat(333)).is_ok());
    assert_eq!(reason(&entry("a").repeat(334)), Reason::MessageTooLarge);
}

#[test]
fn t_pb_05_kept_text_must_be_utf8() {
    assert_eq!(reason(&bytes(1, [0xff])), Reason::BodyMalformed);
    assert_eq!(reason(&bytes(1, [0xed, 0xa0, 0x80])), Reason::BodyMalformed);
}

#[test]
fn t_pb_06_overlong_varints_are_refused() {
    for overlong in [
        &[0x8a, 0x00, 1, b'a'][..],                     // tag 1 in two bytes
        &[0x8a, 0x80, 0x80, 0x80, 0x80, 0x00, 1, b'a'], // in six
        &[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // eleven bytes
        &[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], // 65 bits
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], // as a length
    ] {
        assert_eq!(reason(overlong), Reason::BodyMalformed, "{overlong:?}");
    }
    assert!(read_wire(&[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_ok());
}

#[test]
fn t_pb_07_every_cut_inside_a_field_is_refused() {
    let message = [bytes(1, "ml"), bytes(2, "dev")].concat();
    for end in 1..message.len() {
        let cut = message.get(..end).unwrap();
        assert_eq!(read_wire(cut).is_ok(), end == 4, "{end}");
    }
    assert_eq!(reason(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]), Reason::BodyMalformed);
    assert_eq!(reason(&[0x61, 0, 0, 0]), Reason::BodyMalformed);
}

#[test]
fn t_pb_08_nesting_is_bounded() {
    let nested = |depth| (0..depth).fold(Vec::new(), |inner: Vec<u8>, _| bytes(3, inner));
    assert!(read_wire(&bytes(6, nested(98))).is_ok());
    assert_eq!(reason(&bytes(6, nested(99))), Reason::BodyMalformed);
    assert_eq!(reason(&bytes(6, nested(10_000))), Reason::BodyMalformed);
}

#[test]
fn t_pb_09_groups_are_refused() {
    assert_eq!(reason(&[0x0b, 0x0c]), Reason::BodyMalformed);
    assert_eq!(reason(&[0x0c]), Reason::BodyMalformed);
    assert_eq!(reason(&[0x0e]), Reason::BodyMalformed);
    assert_eq!(reason(&[0x0f]), Reason::BodyMalformed);
}

#[test]
fn t_pb_10_unknown_fields_are_refused_by_name_of_the_message_and_number() {
    for number in [11_u8, 14] {
        let denial = read_wire(&bytes(number, "x")).unwrap_err();
        assert_eq!(denial.reason, Reason::FieldUnknown);
        assert!(denial.message.contains("example.Request") && denial.message.contains(&number.to_string()));
    }
    assert_eq!(reason(&bytes(5, bytes(9, "x"))), Reason::FieldUnknown);
}

#[test]
fn t_pb_11_repeated_numbers_come_packed_or_not() {
    let message = [vec![0x20, 1], bytes(4, [1, 2, 3]), vec![0x20, 2]].concat();
    assert!(read_wire(&message).is_ok());
}

#[test]
fn t_pb_12_field_numbers_outside_the_range_are_refused() {
    assert_eq!(reason(&[0x02, 0]), Reason::BodyMalformed);
    assert_eq!(reason(&[0x82, 0x80, 0x80, 0x80, 0x10, 0]), Reason::BodyMalformed);
    assert_eq!(reason(&[0xfa, 0xff, 0xff, 0xff, 0x0f, 0]), Reason::FieldUnknown);
}

#[test]
fn t_pb_13_two_members_of_a_judged_oneof_are_refused_in_both_orders() {
    let target = bytes(8, reference("a", "n"));
    let label = bytes(7, "l");
    assert_eq!(
        reason(&[target.clone(), label.clone()].concat()),
        Reason::ScopeAmbiguous
    );
    assert_eq!(reason(&[label.clone(), target].concat()), Reason::ScopeAmbiguous);
    assert!(read_wire(&[label, vec![0x48, 1]].concat()).is_ok());
}

#[test]
fn t_pb_18_enum_numbers_beyond_32_bits_are_refused() {
    assert_eq!(
        reason(&bytes(5, [0x08, 0x81, 0x80, 0x80, 0x80, 0x10])),
        Reason::BodyMalformed
    );
    let negative = bytes(5, [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    assert_eq!(read_wire(&negative).unwrap().last().unwrap().part(Part::Kind), "-1");
}

#[test]
fn a_map_entry_has_one_key_and_one_value() {
    let value = bytes(2, reference("a", "n"));
    assert_eq!(
        reason(&bytes(10, [value.clone(), value].concat())),
        Reason::ScopeAmbiguous
    );
    assert_eq!(reason(&bytes(10, bytes(3, "x"))), Reason::BodyMalformed);
    assert_eq!(reason(&bytes(10, [0x10, 1])), Reason::BodyMalformed);
    assert_eq!(read_wire(&bytes(10, bytes(1, "k"))).unwrap().len(), 2);
}

#[test]
fn fields_are_counted_over_all_messages() {
    let many = (0..1000).flat_map(|_| vec![0x20, 1]).collect::<Vec<u8>>();
    assert!(read_wire(&many).is_ok());
    assert_eq!(reason(&[many, vec![0x20, 1]].concat()), Reason::MessageTooLarge);
}

#[test]
fn a_repeated_field_that_is_judged_has_one_value() {
    assert_eq!(
        read_wire(&bytes(15, "a")).unwrap(),
        [occurrence(OWN, &[(Part::Name, "a")])]
    );
    assert_eq!(
        reason(&[bytes(15, "a"), bytes(15, "b")].concat()),
        Reason::ScopeAmbiguous
    );
}
