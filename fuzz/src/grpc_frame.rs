//! Frames: exactly one message within its limit, and what goes on is that message.

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flyte_authz_proxy::protocol::envelope::{self, Encoding, PREFIX, frame, open};
use std::io::{Read, Write};

const LIMIT: usize = 1 << 12;

/// Of the first byte, the lowest bit says how messages are compressed, the next whether the rest is compressed for the input,
/// and the others how many bytes are changed afterwards.
pub fn check(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let encoding = if mode & 1 == 0 {
        Encoding::Identity
    } else {
        Encoding::Gzip
    };
    let body = if mode & 2 == 0 {
        rest.to_vec()
    } else {
        compressed(mode >> 2, rest)
    };
    is_one_message(&body, encoding);
    let parsed = Encoding::parse(Some(rest));
    assert_eq!(parsed.is_ok(), matches!(rest, b"identity" | b"gzip"));
}

/// A frame with the content compressed, of which the last bytes are something else.
fn compressed(changes: u8, content: &[u8]) -> Vec<u8> {
    let (content, changed) = content.split_at(content.len().saturating_sub(usize::from(changes)));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("into memory");
    let mut member = encoder.finish().expect("into memory");
    for (place, byte) in member.iter_mut().rev().zip(changed) {
        *place ^= byte;
    }
    let mut body = frame(&member).to_vec();
    body[0] = 1;
    body
}

fn is_one_message(body: &[u8], encoding: Encoding) {
    let Ok(unary) = open(Bytes::copy_from_slice(body), encoding, LIMIT) else {
        return;
    };
    assert!(unary.message.len() <= LIMIT);
    assert_eq!(unary.framed, frame(&unary.message));
    assert_eq!(envelope::prefix(unary.message.len()), unary.framed[..PREFIX]);
    let again = open(unary.framed.clone(), Encoding::Identity, LIMIT).expect("what goes on is one plain frame");
    assert_eq!((&again.message, &again.framed), (&unary.message, &unary.framed));
    match body[0] {
        0 => assert_eq!(unary.framed, body),
        1 => {
            assert_eq!(encoding, Encoding::Gzip);
            let mut plain = Vec::new();
            let mut decoder = GzDecoder::new(&body[PREFIX..]);
            decoder.read_to_end(&mut plain).expect("it was read before");
            assert_eq!(unary.message, plain);
        }
        flag => panic!("a frame with the flag {flag} was opened"),
    }
}
