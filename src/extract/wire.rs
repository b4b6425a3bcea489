//! The protobuf wire format (<https://protobuf.dev/programming-guides/encoding/>): tags and values, in one reading only.

/// The highest field number (<https://protobuf.dev/programming-guides/proto3/#assigning>).
const MAX_NUMBER: u64 = (1 << 29) - 1;

/// One value as the wire has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32,
}

/// Takes a tag: the field number and wire type.
#[inline]
pub(crate) fn tag(rest: &mut &[u8]) -> Option<(u32, u8)> {
    // Most fields have a number below 16.
    if let [byte @ 8..0x80, tail @ ..] = *rest {
        *rest = tail;
        return Some((u32::from(byte >> 3), byte & 7));
    }
    let before = rest.len();
    let tag = varint(rest)?;
    // Some decoders stop after five bytes: only the shortest form has one reading.
    let shortest = usize::try_from((u64::BITS - tag.leading_zeros()).div_ceil(7).max(1)).ok()?;
    let number = tag >> 3;
    if before - rest.len() != shortest || number == 0 || number > MAX_NUMBER {
        return None;
    }
    Some((u32::try_from(number).ok()?, u8::try_from(tag & 7).ok()?))
}

/// Takes a value of a wire type.
#[inline]
pub(crate) fn value<'a>(rest: &mut &'a [u8], wire_type: u8) -> Option<Value<'a>> {
    match wire_type {
        0 => varint(rest).map(Value::Varint),
        1 => take(rest, 8).map(|_| Value::Fixed64),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            take(rest, length).map(Value::Bytes)
        }
        5 => take(rest, 4).map(|_| Value::Fixed32),
        // 3 and 4 are groups, which proto3 has not; 6 and 7 are nothing.
        _ => None,
    }
}

/// Appends a text field.
pub(crate) fn put_text(number: u32, text: &str, message: &mut Vec<u8>) {
    put_bytes(number, text.as_bytes(), message);
}

/// Appends a length-delimited field: text, bytes or a message.
pub(crate) fn put_bytes(number: u32, content: &[u8], message: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, message);
    put_varint(content.len() as u64, message);
    message.extend_from_slice(content);
}

/// Appends a number field.
pub(crate) fn put_number(number: u32, value: u64, message: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, message);
    put_varint(value, message);
}

fn put_varint(mut number: u64, message: &mut Vec<u8>) {
    while number > 0x7f {
        message.push(0x80 | u8::try_from(number & 0x7f).unwrap_or_default());
        number >>= 7;
    }
    message.push(u8::try_from(number).unwrap_or_default());
}

/// Takes a number of up to 64 bits.
#[inline]
pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    // Most tags and lengths.
    if let [byte @ 0..0x80, tail @ ..] = *rest {
        *rest = tail;
        return Some(u64::from(*byte));
    }
    long(rest)
}

fn long(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_their_shortest_form() {
        for (number, wire) in [
            (0, &[0x00][..]),
            (0x7f, &[0x7f]),
            (0x80, &[0x80, 0x01]),
            (300, &[0xac, 0x02]),
            (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut message = Vec::new();
            put_number(2, number, &mut message);
            assert_eq!(message, [&[0x10], wire].concat(), "{number}");
            let mut rest = &message[..];
            assert_eq!(tag(&mut rest), Some((2, 0)));
            assert_eq!((varint(&mut rest), rest), (Some(number), &[][..]));
        }
    }

    #[test]
    fn texts_are_written_with_their_length_and_read_back() {
        for (number, length) in [(1, 0), (15, 127), (16, 128), (1000, 300)] {
            let text = "x".repeat(length);
            let mut message = Vec::new();
            put_text(number, &text, &mut message);
            let mut rest = &message[..];
            assert_eq!(tag(&mut rest), Some((number, 2)));
            let read = value(&mut rest, 2);
            assert!(matches!(read, Some(Value::Bytes(bytes)) if bytes == text.as_bytes()));
            assert!(rest.is_empty());
        }
    }
}
