//! The gRPC envelope: exactly one message, decompressed within bounds.

use crate::model::denial::Denial;
use crate::model::reason::Reason;
use bytes::{BufMut, Bytes, BytesMut};
use std::io::Read;

/// Bytes before a message: one flag and the length, big-endian.
pub const PREFIX: usize = 5;

/// How gRPC messages of a request are compressed (`grpc-encoding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// By gzip, where a message's flag says so.
    Gzip,
}

impl Encoding {
    /// Reads a `grpc-encoding` header.
    ///
    /// # Errors
    /// `encoding_unsupported` for anything but `identity` and `gzip`.
    pub fn parse(header: Option<&[u8]>) -> Result<Self, Denial> {
        match header {
            None | Some(b"identity") => Ok(Self::Identity),
            Some(b"gzip") => Ok(Self::Gzip),
            Some(_) => Err(Denial::new(
                Reason::EncodingUnsupported,
                "grpc-encoding must be identity or gzip",
            )),
        }
    }
}

/// The one message of a unary request.
#[derive(Clone, Debug)]
pub struct Unary {
    /// The message itself, not compressed.
    pub message: Bytes,
    /// What goes upstream: the same message in one uncompressed frame.
    pub framed: Bytes,
}

/// Opens the body of a unary request.
///
/// # Errors
/// `frame_malformed` unless it is exactly one frame, `message_too_large` above `limit` bytes (before or after
/// decompression).
pub fn open(body: Bytes, encoding: Encoding, limit: usize) -> Result<Unary, Denial> {
    let malformed = |what: &'static str| Err(Denial::new(Reason::FrameMalformed, what));
    let [flag, a, b, c, d, rest @ ..] = &body[..] else {
        return malformed("the body has no complete gRPC frame; exactly one is needed");
    };
    let length = u32::from_be_bytes([*a, *b, *c, *d]);
    if usize::try_from(length).map_or(true, |length| length > limit) {
        return Err(too_large(u64::from(length), limit));
    }
    if u64::from(length) != rest.len() as u64 {
        return malformed("the gRPC frame's length differs from what was sent; exactly one message is accepted");
    }
    match (flag, encoding) {
        (0, _) => Ok(Unary {
            message: body.slice(PREFIX..),
            framed: body,
        }),
        (1, Encoding::Gzip) => {
            let framed = gunzip(rest, limit)?;
            Ok(Unary {
                message: framed.slice(PREFIX..),
                framed,
            })
        }
        (1, Encoding::Identity) => malformed("the gRPC frame says it is compressed but grpc-encoding does not say how"),
        _ => malformed("the gRPC frame has an unknown flag"),
    }
}

/// Puts a message into one uncompressed frame.
#[must_use]
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_slice(&prefix(message.len()));
    framed.put_slice(message);
    framed.freeze()
}

/// What stands before an uncompressed message of so many bytes.
#[must_use]
pub fn prefix(length: usize) -> [u8; PREFIX] {
    // Messages and answers are bounded far below 4 GiB.
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

/// The refusal of a message above the limit. Clients look for "message larger than max" in it.
#[must_use]
pub fn too_large(size: u64, limit: usize) -> Denial {
    Denial::new(
        Reason::MessageTooLarge,
        format!("received message larger than max ({size} vs. {limit})"),
    )
}

/// Decompresses exactly one gzip member with nothing behind it, into one uncompressed frame.
fn gunzip(compressed: &[u8], limit: usize) -> Result<Bytes, Denial> {
    let malformed = || {
        Denial::new(
            Reason::FrameMalformed,
            "the compressed gRPC message is not one whole gzip member",
        )
    };
    let mut decoder = flate2::bufread::GzDecoder::new(compressed);
    let mut framed = Vec::with_capacity(PREFIX + limit.min(compressed.len().saturating_mul(4)));
    framed.extend_from_slice(&prefix(0));
    let read = (&mut decoder)
        .take(limit as u64 + 1)
        .read_to_end(&mut framed)
        .map_err(|_| malformed())?;
    if read > limit {
        return Err(too_large(read as u64, limit));
    }
    if !decoder.into_inner().is_empty() {
        return Err(malformed());
    }
    if let Some(place) = framed.first_chunk_mut() {
        *place = prefix(read);
    }
    Ok(framed.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn framed(flag: u8, data: &[u8]) -> Bytes {
        let mut all = vec![flag];
        all.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        all.extend(data);
        all.into()
    }

    fn reason(body: Bytes, encoding: Encoding) -> Reason {
        open(body, encoding, 1000).unwrap_err().reason
    }

    #[test]
    fn one_plain_message_is_forwarded_as_it_came() {
        let body = framed(0, b"abc");
        let unary = open(body.clone(), Encoding::Identity, 3).unwrap();
        assert_eq!((&unary.message[..], unary.framed), (&b"abc"[..], body));
        assert!(open(framed(0, b""), Encoding::Gzip, 0).unwrap().message.is_empty());
    }

    #[test]
    fn a_message_is_put_into_one_plain_frame() {
        assert_eq!(frame(b"abc"), framed(0, b"abc"));
    }

    #[test]
    fn a_gzip_message_is_forwarded_decompressed() {
        let unary = open(framed(1, &gzip(b"hello")), Encoding::Gzip, 1000).unwrap();
        assert_eq!(unary.message, "hello");
        assert_eq!(unary.framed, framed(0, b"hello"));
    }

    #[test]
    fn t_grpc_01_02_anything_but_one_frame_is_refused() {
        let mut two = framed(0, b"a").to_vec();
        two.extend_from_slice(&framed(0, b"b"));
        for body in [&b""[..], b"\0\0\0", b"\0\0\0\0\x05abc", b"\0\0\0\0\x01abc", &two] {
            assert_eq!(
                reason(Bytes::copy_from_slice(body), Encoding::Identity),
                Reason::FrameMalformed,
                "{body:?}"
            );
        }
    }

    #[test]
    fn t_grpc_03_flags_and_encodings_must_agree() {
        let unsaid = open(framed(1, &gzip(b"x")), Encoding::Identity, 1000).unwrap_err();
        assert_eq!(unsaid.reason, Reason::FrameMalformed);
        assert!(unsaid.message.contains("grpc-encoding"), "{}", unsaid.message);
        assert_eq!(reason(framed(2, b"x"), Encoding::Gzip), Reason::FrameMalformed);
        assert_eq!(reason(framed(0x80, b"x"), Encoding::Gzip), Reason::FrameMalformed);
        assert_eq!(
            Encoding::parse(Some(b"br")).unwrap_err().reason,
            Reason::EncodingUnsupported
        );
        assert_eq!(
            Encoding::parse(Some(b"gzip, gzip")).unwrap_err().reason,
            Reason::EncodingUnsupported
        );
    }

    #[test]
    fn t_grpc_04_bombs_members_garbage_and_truncation_are_refused() {
        let bomb = gzip(&vec![0; 100_000]);
        assert!(bomb.len() < 1000);
        assert_eq!(reason(framed(1, &bomb), Encoding::Gzip), Reason::MessageTooLarge);
        let mut members = gzip(b"a");
        members.extend(gzip(b"b"));
        assert_eq!(reason(framed(1, &members), Encoding::Gzip), Reason::FrameMalformed);
        let mut garbage = gzip(b"a");
        garbage.push(0);
        assert_eq!(reason(framed(1, &garbage), Encoding::Gzip), Reason::FrameMalformed);
        let whole = gzip(b"some text");
        for cut in 0..whole.len() {
            let part = whole.get(..cut).unwrap();
            assert_eq!(
                reason(framed(1, part), Encoding::Gzip),
                Reason::FrameMalformed,
                "cut at {cut}"
            );
        }
        let mut wrong = whole.clone();
        let crc = wrong.len() - 8;
        *wrong.get_mut(crc).unwrap() ^= 1;
        assert_eq!(reason(framed(1, &wrong), Encoding::Gzip), Reason::FrameMalformed);
    }

    #[test]
    fn t_grpc_05_a_message_above_the_limit_names_the_known_text() {
        let denial = open(framed(0, &[0; 1001]), Encoding::Identity, 1000).unwrap_err();
        assert_eq!(denial.reason, Reason::MessageTooLarge);
        assert!(denial.message.contains("message larger than max"));
        // Decompressed, too, a message may have as many bytes as the limit and not one more.
        let zeros = |length| open(framed(1, &gzip(&vec![0; length])), Encoding::Gzip, 1000);
        assert_eq!(zeros(1000).unwrap().message, vec![0; 1000]);
        assert_eq!(zeros(1001).unwrap_err().reason, Reason::MessageTooLarge);
    }
}
