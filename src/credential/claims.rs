//! Claims: from what an issuer says about a caller to the caller's names and groups.

use super::rules::{invalid, missing};
use crate::document::is_deceptive;
use crate::model::denial::Denial;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::reason::Reason;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// The most groups a caller may have.
pub const MAX_GROUPS: usize = 10_000;

/// Where a claim is: the names of nested objects, and of the claim last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// From a dotted path such as `realm_access.roles`. `None` if a name is empty.
    #[must_use]
    pub fn dotted(path: &str) -> Option<Self> {
        Self::from_names(path.split('.').map(str::to_owned).collect())
    }

    /// From the single names, for claims with dots in them such as `https://example.com/groups`. `None` if there is
    /// none or one is empty.
    #[must_use]
    pub fn from_names(names: Vec<String>) -> Option<Self> {
        let complete = !names.is_empty() && names.iter().all(|name| !name.is_empty());
        complete.then_some(Self(names))
    }

    /// The claim. One that is `null`, or in an object that is `null`, counts as absent.
    ///
    /// # Errors
    /// `claim_invalid` if the path leads through something that is no object.
    pub fn find<'c>(&self, claims: &'c Map<String, Value>) -> Result<Option<&'c Value>, Denial> {
        let found = self
            .object(claims)?
            .zip(self.0.last())
            .and_then(|(object, last)| object.get(last));
        Ok(found.filter(|value| !value.is_null()))
    }

    /// The object that has the claim, if it is there: the claims themselves unless the path is nested.
    fn object<'c>(&self, claims: &'c Map<String, Value>) -> Result<Option<&'c Map<String, Value>>, Denial> {
        let outer = self.0.split_last().map_or(&[][..], |(_, outer)| outer);
        let mut object = claims;
        for name in outer {
            match object.get(name) {
                None | Some(Value::Null) => return Ok(None),
                Some(Value::Object(inner)) => object = inner,
                Some(_) => return Err(invalid(self, "inside objects")),
            }
        }
        Ok(Some(object))
    }

    /// A claim that must be a string if it is there.
    fn find_text<'c>(&self, claims: &'c Map<String, Value>) -> Result<Option<&'c str>, Denial> {
        match self.find(claims)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(plain(text, self)?)),
            Some(_) => Err(invalid(self, "a string")),
        }
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Which claims name the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimMapping {
    /// The subject: must be there.
    pub subject: ClaimPath,
    /// The e-mail address, left out when `email_verified` is false, beside it or at the top.
    pub email: Option<ClaimPath>,
    /// The groups: a list of strings, or one string.
    pub groups: Option<ClaimPath>,
    /// Whether groups in one string are split at spaces and commas. Names in a list are never split.
    pub split_groups: bool,
    /// The client: the first of these that is there and not empty.
    pub client_id: Vec<ClaimPath>,
}

impl Default for ClaimMapping {
    fn default() -> Self {
        let top = |name: &str| ClaimPath(vec![name.to_owned()]);
        Self {
            subject: top("sub"),
            email: Some(top("email")),
            groups: Some(top("groups")),
            split_groups: true,
            client_id: ["client_id", "azp", "cid", "appid"].map(top).to_vec(),
        }
    }
}

impl ClaimMapping {
    /// The caller that verified claims name.
    ///
    /// # Errors
    /// `claim_missing` without a subject; `claim_invalid` if a mapped claim has another type than it must, an e-mail
    /// address is none, or a name has characters that deceive the eye; `groups_overage` if the groups are not in the
    /// token.
    pub fn principal(
        &self,
        issuer: &Arc<str>,
        claims: &Arc<Map<String, Value>>,
        expires_at: Option<u64>,
    ) -> Result<Principal, Denial> {
        let subject = self.subject.find_text(claims)?.ok_or_else(|| missing(&self.subject))?;
        if subject.is_empty() {
            return Err(invalid(&self.subject, "a name: it is empty"));
        }
        Ok(Principal {
            kind: PrincipalKind::Token,
            issuer: Arc::clone(issuer),
            subject: Arc::from(subject),
            email: self.email(claims)?.map(Arc::from),
            client_id: self.client_id(claims)?.map(Arc::from),
            groups: self.groups(claims)?,
            claims: Arc::clone(claims),
            expires_at,
        })
    }

    /// The e-mail address. What has no `@` is no address and is left out; what has two could be read as two addresses
    /// and is refused.
    fn email<'c>(&self, claims: &'c Map<String, Value>) -> Result<Option<&'c str>, Denial> {
        let Some(path) = &self.email else { return Ok(None) };
        let mut verified = is_verified(claims)?;
        if let Some(beside) = path.object(claims)? {
            verified &= is_verified(beside)?;
        }
        let Some((email, (local, host))) = path
            .find_text(claims)?
            .and_then(|text| Some((text, text.split_once('@')?)))
        else {
            return Ok(None);
        };
        if local.is_empty() || host.is_empty() || host.contains('@') || email.contains(char::is_whitespace) {
            return Err(invalid(path, "one e-mail address"));
        }
        Ok(verified.then_some(email))
    }

    fn client_id<'c>(&self, claims: &'c Map<String, Value>) -> Result<Option<&'c str>, Denial> {
        for path in &self.client_id {
            match path.find_text(claims)? {
                None | Some("") => {}
                found => return Ok(found),
            }
        }
        Ok(None)
    }

    /// The groups, exactly as spelled. Empty names are left out: no policy can name them.
    fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<Arc<str>>, Denial> {
        refuse_overage("groups", claims)?;
        let Some(path) = &self.groups else {
            return Ok(Vec::new());
        };
        if let Some(outermost) = path.0.first() {
            refuse_overage(outermost, claims)?;
        }
        if let (Some(beside), Some(name)) = (path.object(claims)?, path.0.last()) {
            refuse_overage("groups", beside)?;
            refuse_overage(name, beside)?;
        }
        let names: Vec<&str> = match path.find(claims)? {
            None => Vec::new(),
            Some(Value::String(text)) if self.split_groups => text.split([' ', ',']).collect(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => {
                let names: Option<_> = items.iter().map(Value::as_str).collect();
                names.ok_or_else(|| invalid(path, "a list of strings only"))?
            }
            Some(_) => return Err(invalid(path, "a list of strings or a string")),
        };
        if names.len() > MAX_GROUPS {
            return Err(invalid(path, &format!("a list of at most {MAX_GROUPS} groups")));
        }
        let filled = names.into_iter().filter(|name| !name.is_empty());
        filled.map(|name| plain(name, path).map(Arc::from)).collect()
    }
}

/// The flag beside an e-mail address; without it the issuer is taken to vouch for the address.
fn is_verified(claims: &Map<String, Value>) -> Result<bool, Denial> {
    match claims.get("email_verified") {
        None | Some(Value::Null | Value::Bool(true)) => Ok(true),
        Some(Value::Bool(false)) => Ok(false),
        // Some issuers write the flag as a string.
        Some(Value::String(word)) if word == "true" => Ok(true),
        Some(Value::String(word)) if word == "false" => Ok(false),
        Some(_) => Err(invalid("email_verified", "true or false")),
    }
}

/// Microsoft Entra leaves the groups out of the token when there are many and points to its directory instead. The
/// caller must not be taken for one without groups: rules that deny a group would not hold. That goes for `groups` even
/// where the mapping looks elsewhere, because a rule can name any claim.
fn refuse_overage(name: &str, claims: &Map<String, Value>) -> Result<(), Denial> {
    let elsewhere = match claims.get("_claim_names") {
        None | Some(Value::Null) => false,
        Some(Value::Object(names)) => names.contains_key(name),
        Some(_) => true,
    };
    // The same in tokens that go through a browser's address bar.
    let elided = !matches!(claims.get("hasgroups"), None | Some(Value::Null | Value::Bool(false)));
    if elsewhere || elided {
        let message = format!(
            "the token does not list the caller's `{name}`: there are too many, and it refers to the directory instead. \
             Logging in again does not help: let the identity provider write only the groups that are assigned to this \
             application, or application roles in place of groups"
        );
        return Err(Denial::new(Reason::GroupsOverage, message));
    }
    Ok(())
}

fn plain<'t>(text: &'t str, path: &ClaimPath) -> Result<&'t str, Denial> {
    if text.chars().any(is_deceptive) {
        return Err(invalid(path, "plain text: it has control or invisible characters"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
