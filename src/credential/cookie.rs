//! FlyteAdmin's encrypted cookies: what gorilla/securecookie v1.1.1 makes of a text, read in one strict way.
//!
//! ```text
//! cookie = base64url( time "|" box "|" HMAC-SHA256(hash key, name "|" time "|" box) )
//! box    = base64url( initial counter || AES-256-CTR(block key, gob(text)) )
//! ```

use crate::secret::Secret;
use aws_lc_rs::cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::{FixedLength, IV_LEN_128_BIT};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
use zeroize::Zeroizing;

/// The longest cookie that FlyteAdmin writes or reads, in characters.
pub const MAX_CHARS: usize = 4096;

/// How old a cookie may be for FlyteAdmin, in seconds: 30 days.
pub const MAX_AGE: u64 = 30 * 24 * 60 * 60;

const MIN_HASH_KEY_BYTES: usize = 32;
const BLOCK_KEY_BYTES: usize = 32;

/// In gob, a message that holds a string: its type, then one unnamed value.
const GOB_STRING: &[u8] = &[0x0c, 0x00];

/// The key that cookies are signed with: FlyteAdmin's secret `cookie_hash_key`.
#[derive(Debug)]
pub struct HashKey(hmac::Key);

impl HashKey {
    /// Reads a key of at least 32 bytes (FlyteAdmin makes 64) in base64 without padding. Line ends after it are left out.
    ///
    /// # Errors
    /// What is wrong with it, to follow its name; says nothing of what is in it but the length.
    pub fn from_base64(text: &Secret) -> Result<Self, String> {
        let key = key_bytes(text)?;
        if key.len() < MIN_HASH_KEY_BYTES {
            return Err(wrong_length(key.len(), "at least 32"));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }
}

/// The key that cookies are encrypted with: FlyteAdmin's secret `cookie_block_key`.
#[derive(Debug)]
pub struct BlockKey(DecryptingKey);

impl BlockKey {
    /// Reads a key of 32 bytes in base64 without padding. Line ends after it are left out.
    ///
    /// # Errors
    /// What is wrong with it, to follow its name; says nothing of what is in it but the length.
    pub fn from_base64(text: &Secret) -> Result<Self, String> {
        let key = key_bytes(text)?;
        if key.len() != BLOCK_KEY_BYTES {
            return Err(wrong_length(key.len(), "32"));
        }
        UnboundCipherKey::new(&AES_256, &key)
            .and_then(DecryptingKey::ctr)
            .map(Self)
            .map_err(|_| "cannot be used as an AES-256 key".to_owned())
    }
}

fn key_bytes(text: &Secret) -> Result<Zeroizing<Vec<u8>>, String> {
    STANDARD_NO_PAD
        .decode(text.expose().trim_end_matches(['\r', '\n']))
        .map(Zeroizing::new)
        .map_err(|_| "is not base64 without `=` at the end; write it as FlyteAdmin's own secret has it".to_owned())
}

fn wrong_length(bytes: usize, wanted: &str) -> String {
    format!("has {bytes} bytes, but needs {wanted}; write it as FlyteAdmin's own secret has it")
}

/// The two keys of FlyteAdmin's cookies. `Debug` shows neither.
#[derive(Debug)]
pub struct CookieKeys {
    /// Signs.
    pub hash: HashKey,
    /// Encrypts.
    pub block: BlockKey,
}

impl CookieKeys {
    /// The text in a cookie, if it was made under this name with these keys and is not older than [`MAX_AGE`] at the
    /// time `now` (seconds since the Unix epoch). Like FlyteAdmin, accepts one from a clock that is ahead.
    #[must_use]
    pub fn open(&self, name: &str, cookie: &str, now: u64) -> Option<Secret> {
        if cookie.len() > MAX_CHARS {
            return None;
        }
        let decoded = URL_SAFE.decode(cookie).ok()?;
        // The signature is bytes, which may be bars themselves.
        let mut parts = decoded.splitn(3, |byte| *byte == b'|');
        let (time, sealed, signature) = (parts.next()?, parts.next()?, parts.next()?);
        let signed = [name.as_bytes(), time, sealed].join(&b'|');
        hmac::verify(&self.hash.0, &signed, signature).ok()?;
        let made_at = seconds(time)?;
        if now > made_at.saturating_add(MAX_AGE) {
            return None;
        }
        let sealed = URL_SAFE.decode(sealed).ok()?;
        let (counter, encrypted) = sealed.split_first_chunk::<IV_LEN_128_BIT>()?;
        let mut text = Zeroizing::new(encrypted.to_vec());
        let context = DecryptionContext::Iv128(FixedLength::from(counter));
        self.block.0.decrypt(&mut text, context).ok()?;
        gob_string(&text).map(Secret::from)
    }
}

fn seconds(digits: &[u8]) -> Option<u64> {
    let plain = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

/// The string in a gob message (<https://pkg.go.dev/encoding/gob>) that holds one and nothing else, in the one form that Go
/// writes.
fn gob_string(message: &[u8]) -> Option<&str> {
    let text = counted(counted(message)?.strip_prefix(GOB_STRING)?)?;
    std::str::from_utf8(text).ok()
}

/// What follows a length, if that is how much follows. Lengths below 128 are one byte; others are as many big-endian
/// bytes as they need, behind the negated number of these.
fn counted(bytes: &[u8]) -> Option<&[u8]> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        return (rest.len() == usize::from(*first)).then_some(rest);
    }
    let (length, rest) = rest.split_at_checked(usize::from(first.wrapping_neg()))?;
    let needed = rest.len().to_be_bytes();
    let needed: Vec<u8> = needed.into_iter().skip_while(|byte| *byte == 0).collect();
    (rest.len() >= 0x80 && *length == needed).then_some(rest)
}

#[cfg(test)]
mod tests;
