//! Console sessions as FlyteAdmin makes them, for tests.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};

/// The keys of session cookies.
#[derive(Clone)]
pub struct SessionKeys {
    hash: [u8; 64],
    block: [u8; 32],
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys").finish_non_exhaustive()
    }
}

impl SessionKeys {
    /// Makes new keys.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, Unspecified> {
        let mut keys = Self {
            hash: [0; 64],
            block: [0; 32],
        };
        rand::fill(&mut keys.hash)?;
        rand::fill(&mut keys.block)?;
        Ok(keys)
    }

    /// The keys that the secrets `cookie_hash_key` and `cookie_block_key` hold, or `None` if they hold none.
    #[must_use]
    pub fn read(hash_key: &str, block_key: &str) -> Option<Self> {
        Some(Self {
            hash: STANDARD_NO_PAD.decode(hash_key).ok()?.try_into().ok()?,
            block: STANDARD_NO_PAD.decode(block_key).ok()?.try_into().ok()?,
        })
    }

    /// The secret `cookie_hash_key`.
    #[must_use]
    pub fn hash_key(&self) -> String {
        STANDARD_NO_PAD.encode(self.hash)
    }

    /// The secret `cookie_block_key`.
    #[must_use]
    pub fn block_key(&self) -> String {
        STANDARD_NO_PAD.encode(self.block)
    }

    /// The value of a cookie made at a time in seconds since the Unix epoch. Unlike FlyteAdmin, makes it however long it
    /// gets.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn cookie(&self, name: &str, text: &str, made_at: u64) -> Result<String, Unspecified> {
        self.seal(name, &gob(text), &made_at.to_string())
    }

    /// The same around any bytes in place of the encoded text, and with the time as it is given.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn seal(&self, name: &str, content: &[u8], made_at: &str) -> Result<String, Unspecified> {
        let mut counter = [0; 16];
        rand::fill(&mut counter)?;
        let mut encrypted = content.to_vec();
        EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, &self.block)?)?
            .less_safe_encrypt(&mut encrypted, EncryptionContext::Iv128(FixedLength::from(counter)))?;
        let sealed = URL_SAFE.encode([&counter[..], &encrypted].concat());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.hash);
        let signature = hmac::sign(&key, format!("{name}|{made_at}|{sealed}").as_bytes());
        let signed = [format!("{made_at}|{sealed}|").as_bytes(), signature.as_ref()].concat();
        Ok(URL_SAFE.encode(signed))
    }

    /// The `cookie` header of somebody who is logged in: the ID token and the two halves of the access token.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn cookies(&self, id_token: &str, access_token: &str, made_at: u64) -> Result<String, Unspecified> {
        let cookies = self.session(id_token, access_token, made_at)?;
        let cookies = cookies.map(|(name, value)| format!("{name}={value}"));
        Ok(cookies.join("; "))
    }

    /// The cookies in it, each with its name.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn session(
        &self,
        id_token: &str,
        access_token: &str,
        made_at: u64,
    ) -> Result<[(&'static str, String); 3], Unspecified> {
        let (first, second) = access_token
            .split_at_checked(access_token.len() / 2)
            .ok_or(Unspecified)?;
        let sealed = |name, text| self.cookie(name, text, made_at).map(|cookie| (name, cookie));
        Ok([
            sealed("flyte_at_1", first)?,
            sealed("flyte_at_2", second)?,
            sealed("flyte_idt", id_token)?,
        ])
    }
}

/// A text as Go's encoding/gob writes it.
fn gob(text: &str) -> Vec<u8> {
    let value = [&[0x0c, 0x00], &*length(text.len()), text.as_bytes()].concat();
    [length(value.len()), value].concat()
}

fn length(length: usize) -> Vec<u8> {
    match u8::try_from(length) {
        Ok(byte) if byte < 0x80 => vec![byte],
        _ => {
            let bytes = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0);
            let bytes: Vec<u8> = bytes.collect();
            let negated = u8::try_from(bytes.len()).unwrap_or_default().wrapping_neg();
            [&[negated], &*bytes].concat()
        }
    }
}
