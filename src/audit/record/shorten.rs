//! Keeps records short, however long what a request holds is: texts are cut, and what is left of lists has an end.

use super::{AskedRecord, CandidateRecord, PrincipalRecord, Record, RunRecord, TargetRecord};
use crate::audit::MAX_TARGETS;
use crate::model::setting::Asked;
use serde::Serialize;
use std::borrow::Cow;
use std::ops::Deref;

/// The longest line, in bytes.
pub(in crate::audit) const MAX_LINE: usize = 64 << 10;
/// The longest text, in bytes as it is written: with what JSON escapes.
const MAX_TEXT: usize = 512;
/// The same for the texts of refusals.
const MAX_MESSAGE: usize = 2 << 10;
/// In how many bytes a byte is written at most.
const LONGEST: usize = 6;
/// Room for what is said of a text that was cut.
const MARK: usize = 64;
/// What a line that would be too long keeps of the targets, of the settings that are asked for, and of the names of rules,
/// in bytes as they are written.
const TARGETS_KEPT: usize = 24 << 10;
const SETTINGS_KEPT: usize = 12 << 10;
const RULES_KEPT: usize = 4 << 10;

impl Record {
    /// Adds settings that the request asks for, at most 100. A value can be as long as the request, and is not copied whole.
    pub(in crate::audit) fn ask(&mut self, asked: &[Asked]) {
        let mut is_short = asked.len() <= MAX_TARGETS;
        for asked in asked.iter().take(MAX_TARGETS) {
            let (value, field) = (within(&asked.value, MAX_TEXT), within(&asked.field, MAX_TEXT));
            is_short &= matches!((&value, &field), (Cow::Borrowed(_), Cow::Borrowed(_)));
            self.asks_for.push(AskedRecord {
                setting: asked.setting.label(),
                value: value.into(),
                field: field.into(),
            });
        }
        if !is_short {
            self.shortened.insert("asks_for");
        }
    }

    /// Cuts the other texts.
    pub(in crate::audit) fn shorten(&mut self) {
        let would_refuse = self.would_refuse.as_mut();
        let shortened = [
            ("message", cut_all(self.message.as_mut(), MAX_MESSAGE)),
            (
                "would_refuse",
                cut_all(would_refuse.map(|one| &mut one.message), MAX_MESSAGE),
            ),
            (
                "principal",
                self.principal.as_mut().is_some_and(PrincipalRecord::shorten),
            ),
            ("set", cut_all(self.set.values_mut(), MAX_TEXT)),
            ("targets", any_shortened(&mut self.targets, TargetRecord::shorten)),
        ];
        let fields = shortened
            .into_iter()
            .filter_map(|(field, is_shortened)| is_shortened.then_some(field));
        self.shortened.extend(fields);
    }

    /// The line that is written, with its line feed. Leaves out items of lists if it would be longer than [`MAX_LINE`]; texts
    /// must be cut already.
    pub(in crate::audit) fn line(&self) -> serde_json::Result<Vec<u8>> {
        let line = self.whole_line()?;
        if line.len() <= MAX_LINE {
            return Ok(line);
        }
        drop(line);
        let mut short = self.clone();
        short.shorten_lists();
        short.whole_line()
    }

    fn whole_line(&self) -> serde_json::Result<Vec<u8>> {
        /// Room for a usual line, in bytes.
        const USUAL: usize = 1024;
        let mut line = Vec::with_capacity(USUAL);
        serde_json::to_writer(&mut line, self)?;
        line.push(b'\n');
        Ok(line)
    }

    fn shorten_lists(&mut self) {
        self.targets_omitted += keep(&mut self.targets, TARGETS_KEPT);
        let candidate = self.candidate.as_mut();
        let omitted = [
            ("asks_for", keep(&mut self.asks_for, SETTINGS_KEPT)),
            ("rules", keep(&mut self.rules, RULES_KEPT)),
            (
                "candidate",
                candidate.map_or(0, |one: &mut CandidateRecord| keep(&mut one.rules, RULES_KEPT)),
            ),
        ];
        let fields = omitted
            .into_iter()
            .filter_map(|(field, omitted)| (omitted > 0).then_some(field));
        self.shortened.extend(fields);
    }
}

impl PrincipalRecord {
    fn shorten(&mut self) -> bool {
        let texts = [&mut self.issuer, &mut self.subject].into_iter();
        cut_all(texts.chain(&mut self.email).chain(&mut self.client_id), MAX_TEXT)
    }
}

impl TargetRecord {
    fn shorten(&mut self) -> bool {
        let texts = [
            &mut self.project,
            &mut self.domain,
            &mut self.name,
            &mut self.execution,
            &mut self.reference,
        ];
        let is_shortened = cut_all(texts.into_iter().flatten(), MAX_TEXT);
        self.runs.as_mut().is_some_and(RunRecord::shorten) | is_shortened
    }
}

impl RunRecord {
    fn shorten(&mut self) -> bool {
        cut_all([&mut self.project, &mut self.domain, &mut self.name], MAX_TEXT)
    }
}

/// Shortens all and says whether one was too long.
fn any_shortened<T>(all: impl IntoIterator<Item = T>, shorten: impl Fn(T) -> bool) -> bool {
    all.into_iter().fold(false, |any, one| shorten(one) | any)
}

fn cut_all<'t, T>(texts: impl IntoIterator<Item = &'t mut T>, limit: usize) -> bool
where
    T: Deref<Target = str> + From<String> + 't,
{
    any_shortened(texts, |text| match within(text, limit) {
        Cow::Borrowed(_) => false,
        Cow::Owned(short) => {
            *text = short.into();
            true
        }
    })
}

/// The text, or its beginning and how much that is, if it is written in more bytes than that.
fn within(text: &str, limit: usize) -> Cow<'_, str> {
    // Nearly all are, whatever is in them.
    if text.len() <= limit / LONGEST {
        return Cow::Borrowed(text);
    }
    let (mut written, mut kept) = (0, 0);
    for (start, character) in text.char_indices() {
        written += match character {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            '\0'..'\u{20}' => LONGEST,
            _ => character.len_utf8(),
        };
        if written <= limit.saturating_sub(MARK) {
            kept = start + character.len_utf8();
        }
        if written > limit {
            let beginning = text.get(..kept).unwrap_or_default();
            return Cow::Owned(format!("{beginning}… (the first {kept} of {} bytes)", text.len()));
        }
    }
    Cow::Borrowed(text)
}

/// Keeps as many of the first items as are written in so many bytes, and says how many were left out.
fn keep<T: Serialize>(list: &mut Vec<T>, bytes: usize) -> usize {
    let mut written = 0;
    let fits = |item: &&T| {
        written += json_len(*item) + 1;
        written <= bytes
    };
    let kept = list.iter().take_while(fits).count();
    let omitted = list.len() - kept;
    list.truncate(kept);
    omitted
}

/// How many bytes a value is written in.
pub(super) fn json_len(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |json| json.len())
}

#[cfg(test)]
mod tests;
