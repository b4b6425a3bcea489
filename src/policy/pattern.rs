//! Names and patterns: globs with `*`, capture patterns, and templates with `${…}`.

use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeMap;
use std::fmt;
use std::str;

/// The longest name Flyte accepts for a project or domain (DNS-1123 label).
const MAX_LABEL: usize = 63;
/// The longest value that is put into a name of an allow-list.
const MAX_VALUE: usize = 255;
/// How much memory, in bytes, a compiled capture pattern may take.
const MAX_PATTERN: usize = 1 << 20;

/// Whether a text is a plain project or domain name: a DNS-1123 label, as `FlyteAdmin` requires.
#[must_use]
pub fn is_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.len() <= MAX_LABEL
        && bytes.first().is_some_and(plain)
        && bytes.last().is_some_and(plain)
        && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
}

/// Whether a value taken from a claim may become part of the name of a task, workflow or launch plan.
fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= MAX_VALUE
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        && value.bytes().any(|byte| byte != b'.')
}

/// A name in which `*` stands for any run of characters. Exact and case-sensitive otherwise; never matches an empty text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Glob {
    /// Any text.
    Any,
    /// This text.
    Exact(Box<str>),
    /// What lies between the wildcards; the first and the last are anchored.
    Parts(Box<[Box<str>]>),
}

impl Glob {
    /// Reads a glob. Any text is one.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if !text.contains('*') {
            return Self::Exact(text.into());
        }
        if text.bytes().all(|byte| byte == b'*') {
            return Self::Any;
        }
        Self::Parts(text.split('*').map(Box::from).collect())
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        if text.is_empty() {
            return false;
        }
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *text,
            Self::Parts(parts) => matches_parts(parts, text),
        }
    }
}

impl Glob {
    /// Whether it certainly matches whatever the other one matches.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        // What stands between the wildcards of one holds no `*`, so that those of the other fall into its wildcards.
        self == other || self.matches(&other.to_string())
    }
}

/// As it is written.
impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(text) => f.write_str(text),
            Self::Parts(parts) => f.write_str(&parts.join("*")),
        }
    }
}

fn matches_parts(parts: &[Box<str>], text: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return false;
    };
    let Some(mut rest) = between(first, text, last) else {
        return false;
    };
    // Taking the first place where each part fits leaves the most for the others: no need to try another.
    for part in middle {
        let Some((_, after)) = rest.split_once(&**part) else {
            return false;
        };
        rest = after;
    }
    true
}

/// What is left of a text between a beginning and an end.
///
/// Byte by byte: handed to the C library's comparison, an empty end, whose address is none, costs a hundred cycles with
/// AVX-512, and a thousand names are looked at for one list.
fn between<'t>(first: &str, text: &'t str, last: &str) -> Option<&'t str> {
    let rest = text.get(first.len()..text.len().checked_sub(last.len())?)?;
    let begins = first.bytes().zip(text.bytes()).all(|(one, other)| one == other);
    let ends = || {
        last.bytes()
            .rev()
            .zip(text.bytes().rev())
            .all(|(one, other)| one == other)
    };
    (begins && ends()).then_some(rest)
}

/// The texts that the named groups of a pattern matched.
pub type Captures = BTreeMap<Box<str>, Box<str>>;

/// A regular expression that must match a whole value. Runs in linear time; classes such as `\w` are ASCII.
#[derive(Clone, Debug)]
pub struct CapturePattern(Regex);

impl CapturePattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, on one line.
    pub fn new(pattern: &str) -> Result<Self, String> {
        // The pattern must be one by itself: `a)|(b` would otherwise slip out of the anchors.
        compile(pattern)?;
        compile(&format!(r"\A(?:{pattern})\z")).map(Self)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        let anchored = self.0.as_str();
        let text = anchored
            .strip_prefix(r"\A(?:")
            .and_then(|rest| rest.strip_suffix(r")\z"));
        text.unwrap_or(anchored)
    }

    /// The names of its groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.capture_names().flatten()
    }

    /// What the groups matched, if the whole value matches. Groups without a match or with an empty one are left out.
    #[must_use]
    pub fn captures(&self, value: &str) -> Option<Captures> {
        let found = self.0.captures(value.as_bytes())?;
        let captured = |name: &str| {
            let text = str::from_utf8(found.name(name)?.as_bytes()).ok()?;
            (!text.is_empty()).then(|| (Box::from(name), Box::from(text)))
        };
        Some(self.names().filter_map(captured).collect())
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(MAX_PATTERN)
        .build()
        .map_err(|error| {
            if matches!(error, regex::Error::CompiledTooBig(_)) {
                return "it is too large; use fewer or smaller repetitions".to_owned();
            }
            // The lines before the last draw the pattern.
            let text = error.to_string();
            let fault = text.lines().last().unwrap_or_default();
            fault.trim_start_matches("error: ").to_owned()
        })
}

/// What a `${…}` stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// A named group of the subject's pattern.
    Capture(Box<str>),
    /// Every value of the claim at this path.
    Claim(Vec<String>),
}

/// A text with variables in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Variable(Variable),
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Variable(Variable::Capture(name)) => write!(f, "${{{name}}}"),
            Piece::Variable(Variable::Claim(path)) => write!(f, "${{claims.{}}}", path.join(".")),
        })
    }
}

impl Template {
    /// Reads a template; a text without `${` is one without variables.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("`${{` without `}}` in `{text}`"));
            };
            let is_name = |name: &str| {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            };
            let variable = match name.strip_prefix("claims.") {
                Some(path) if path.split('.').all(is_name) => {
                    Variable::Claim(path.split('.').map(str::to_owned).collect())
                }
                None if is_name(name) => Variable::Capture(name.into()),
                _ => {
                    return Err(format!(
                        "`${{{name}}}` is no variable; write `${{NAME}}` for a named group of the subject's pattern or \
                         `${{claims.PATH}}` for a claim"
                    ));
                }
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Variable(variable));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }

    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(variable),
            Piece::Text(_) => None,
        })
    }

    /// The template with those variables replaced that have a value; `None` as for [`Self::expand`], unless `left` says
    /// that a variable stays.
    #[must_use]
    pub fn expand_partly(
        &self,
        value_of: &dyn Fn(&Variable) -> Option<Box<str>>,
        left: &dyn Fn(&Variable) -> bool,
    ) -> Option<Self> {
        let complete = |piece: &Piece| match piece {
            Piece::Variable(variable) if !left(variable) => {
                Some(Piece::Text(value_of(variable).filter(|value| is_plain(value))?))
            }
            Piece::Text(_) | Piece::Variable(_) => Some(piece.clone()),
        };
        self.0.iter().map(complete).collect::<Option<_>>().map(Self)
    }

    /// The text with every variable replaced. `None` where one has no value or one that is no plain name: a claim's
    /// value never brings a wildcard, a slash or a dot-dot into a rule.
    #[must_use]
    pub fn expand(&self, value_of: &dyn Fn(&Variable) -> Option<Box<str>>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Variable(variable) => text.push_str(&value_of(variable).filter(|value| is_plain(value))?),
            }
        }
        Some(text)
    }
}

/// A part of a template as it is matched.
#[derive(Clone, Copy)]
enum Token<'a> {
    Literal(&'a str),
    Any,
    Variable(&'a Variable),
}

/// How many ways to complete one template are looked for.
const MAX_SOLUTIONS: usize = 100;

impl Template {
    /// The values of its variables with which it becomes this text, or a glob that matches it.
    #[must_use]
    pub fn solutions(&self, text: &str) -> Vec<BTreeMap<Variable, Box<str>>> {
        let mut tokens = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Variable(variable) => tokens.push(Token::Variable(variable)),
                Piece::Text(text) => {
                    for (index, literal) in text.split('*').enumerate() {
                        if index > 0 {
                            tokens.push(Token::Any);
                        }
                        tokens.push(Token::Literal(literal));
                    }
                }
            }
        }
        let mut found = Vec::new();
        solve(&tokens, text, &BTreeMap::new(), &mut found);
        found
    }

    /// The glob that matches at least what it can become.
    #[must_use]
    pub fn widened(&self) -> Glob {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => &**text,
            Piece::Variable(_) => "*",
        });
        Glob::new(&pieces.collect::<String>())
    }
}

fn solve(
    tokens: &[Token<'_>],
    text: &str,
    so_far: &BTreeMap<Variable, Box<str>>,
    found: &mut Vec<BTreeMap<Variable, Box<str>>>,
) {
    let Some((token, tokens)) = tokens.split_first() else {
        if text.is_empty() && found.len() < MAX_SOLUTIONS && !found.contains(so_far) {
            found.push(so_far.clone());
        }
        return;
    };
    let splits = || (0..=text.len()).filter_map(|length| text.split_at_checked(length));
    match *token {
        Token::Literal(literal) => {
            if let Some(rest) = text.strip_prefix(literal) {
                solve(tokens, rest, so_far, found);
            }
        }
        Token::Any => {
            for (_, rest) in splits() {
                solve(tokens, rest, so_far, found);
            }
        }
        Token::Variable(variable) => match so_far.get(variable) {
            Some(value) => {
                if let Some(rest) = text.strip_prefix(&**value) {
                    solve(tokens, rest, so_far, found);
                }
            }
            None => {
                for (value, rest) in splits().filter(|(value, _)| is_plain(value)) {
                    let mut with = so_far.clone();
                    with.insert(variable.clone(), value.into());
                    solve(tokens, rest, &with, found);
                }
            }
        },
    }
}

/// As it is written.
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters_and_nothing_else_is_special() {
        for (glob, text, expected) in [
            ("ml", "ml", true),
            ("ml", "ML", false),
            ("ml", "ml2", false),
            ("ml-*", "ml-a", true),
            ("ml-*", "ml-", true),
            ("ml-*", "ml", false),
            ("ml-*", "xml-a", false),
            ("*-ml", "a-ml", true),
            ("*-ml", "a-mlx", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("a*a", "a", false),
            ("*a*", "bab", true),
            ("*a*", "b", false),
            ("*", "x", true),
            ("**", "x", true),
            ("*", "", false),
            ("", "", false),
            ("a?c", "abc", false),
            ("a.c", "abc", false),
            ("[ab]", "a", false),
        ] {
            assert_eq!(Glob::new(glob).matches(text), expected, "{glob} on {text:?}");
        }
    }

    fn reference(glob: &[u8], text: &[u8]) -> bool {
        match (glob, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| reference(rest, text.split_at(skipped).1)),
            ([first, glob @ ..], [other, text @ ..]) => first == other && reference(glob, text),
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn globs_match_what_trying_every_split_matches(glob in "[ab*]{0,6}", text in "[ab]{1,8}") {
            proptest::prop_assert_eq!(Glob::new(&glob).matches(&text), reference(glob.as_bytes(), text.as_bytes()));
        }
    }

    proptest::proptest! {
        #[test]
        fn a_glob_that_covers_another_matches_all_that_it_matches(
            wide in "[ab*]{0,5}",
            narrow in "[ab*]{0,5}",
            text in "[ab]{1,7}",
        ) {
            let (wide, narrow) = (Glob::new(&wide), Glob::new(&narrow));
            proptest::prop_assert!(!wide.covers(&narrow) || !narrow.matches(&text) || wide.matches(&text));
        }
    }

    #[test]
    fn patterns_and_templates_are_shown_as_they_are_written_and_widened() {
        assert_eq!(CapturePattern::new("a(?<x>b)").unwrap().text(), "a(?<x>b)");
        for (text, widened) in [("team-${x}", "team-*"), ("${claims.a.b}", "*"), ("ml", "ml")] {
            let template = Template::new(text).unwrap();
            assert_eq!(
                (template.to_string().as_str(), template.widened()),
                (text, Glob::new(widened))
            );
        }
        assert!(Glob::Any.covers(&Glob::new("a*")) && Glob::new("a*").covers(&Glob::new("ab*")));
        assert!(!Glob::new("ab*").covers(&Glob::new("a*")) && !Glob::new("a*").covers(&Glob::Any));
    }

    #[test]
    fn a_capture_pattern_matches_whole_values_only() {
        let pattern = CapturePattern::new("flyte-(?<project>[a-z0-9-]+)-(?<role>viewer|contributor)").unwrap();
        let captures = pattern.captures("flyte-ml-x-viewer").unwrap();
        assert_eq!(captures.get("project").map(|text| &**text), Some("ml-x"));
        assert_eq!(captures.get("role").map(|text| &**text), Some("viewer"));
        for value in [
            "xflyte-ml-viewer",
            "flyte-ml-viewer\n",
            "flyte-ml-viewers",
            "flyte-ML-viewer",
            "flyte--viewer",
            "",
        ] {
            assert!(pattern.captures(value).is_none(), "{value:?}");
        }
        assert!(
            CapturePattern::new("a|ab").unwrap().captures("ab").is_some(),
            "the longer branch counts"
        );
        assert!(CapturePattern::new("(?m)^a$").unwrap().captures("a\nb").is_none());
        assert!(
            CapturePattern::new(r"(?<p>\w+)").unwrap().captures("mé").is_none(),
            "classes are ASCII"
        );
    }

    #[test]
    fn a_pattern_cannot_slip_out_of_its_anchors_or_grow_without_bound() {
        for pattern in [
            "a)|(b",
            "a)|(?:b",
            "(?x)a # ",
            "(",
            "(?<1>a)",
            "((a{1000}){1000}){1000}",
        ] {
            assert!(CapturePattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn substituted_values_are_plain_names() {
        let template = Template::new("team-${x}").unwrap();
        let expand = |value: &str| template.expand(&|_| Some(value.into()));
        assert_eq!(expand("ml").as_deref(), Some("team-ml"));
        for value in [
            "*",
            "a*",
            "a/b",
            "..",
            ".",
            "",
            "a b",
            "mé",
            "ｍｌ",
            "${x}",
            "a\u{202E}b",
        ] {
            assert_eq!(expand(value), None, "{value:?}");
        }
        assert!(expand(&"a".repeat(255)).is_some() && expand(&"a".repeat(256)).is_none());
        assert_eq!(template.expand(&|_| None), None);
    }

    #[test]
    fn templates_name_captures_or_claims() {
        for text in ["${", "${}", "${a b}", "${claims.}", "${claims.a..b}", "${a.b}"] {
            assert!(Template::new(text).is_err(), "{text}");
        }
        let template = Template::new("a-${x}-${claims.team.name}").unwrap();
        let variables: Vec<_> = template.variables().cloned().collect();
        let path = vec!["team".to_owned(), "name".to_owned()];
        assert_eq!(variables, [Variable::Capture("x".into()), Variable::Claim(path)]);
    }

    #[test]
    fn templates_are_solved_for_a_text() {
        let solved = |template: &str, text: &str| {
            let found = Template::new(template).unwrap().solutions(text);
            let shown = |solution: &BTreeMap<Variable, Box<str>>| solution.values().map(ToString::to_string).collect();
            found.iter().map(shown).collect::<Vec<Vec<String>>>()
        };
        assert_eq!(solved("team-${x}", "team-ml"), [["ml"]]);
        assert_eq!(solved("${x}-${x}", "a-a"), [["a"]]);
        assert_eq!(solved("ml-*", "ml-1"), [[""; 0]]);
        assert_eq!(solved("${x}*", "ab"), [["a"], ["ab"]]);
        for (template, text) in [("team-${x}", "ml"), ("team-${x}", "a-team-ml"), ("${x}-${x}", "a-b")] {
            assert!(solved(template, text).is_empty(), "{template} {text}");
        }
        assert_eq!(solved("${x}${y}", &"a".repeat(300)).len(), 100);
    }

    #[test]
    fn labels_are_dns_1123() {
        for (name, expected) in [
            ("ml", true),
            ("a-1", true),
            ("-a", false),
            ("a-", false),
            ("", false),
            ("A", false),
            ("a.b", false),
            ("a_b", false),
        ] {
            assert_eq!(is_label(name), expected, "{name}");
        }
        assert!(is_label(&"a".repeat(63)) && !is_label(&"a".repeat(64)));
    }
}
