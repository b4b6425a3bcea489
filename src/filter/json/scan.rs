//! Reads a JSON text (RFC 8259) from its beginning to its end, once, and to the letter.

use std::borrow::Cow;
use std::ops::Range;

/// How deep arrays and objects may lie in one another. What `FlyteAdmin` can read is not a quarter of that.
pub(super) const MAX_DEPTH: usize = 512;

/// Where a reader is in a text. Whatever is read and is not as JSON has it yields `None`, and the reading is over.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// What stands between two quotation marks.
#[derive(Clone, Debug)]
pub(super) struct Quoted {
    range: Range<usize>,
    escaped: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where the next byte is.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// The next byte that is no white space.
    pub(super) fn token(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\r' | b'\t' => {}
                byte => return Some(byte),
            }
        }
    }

    /// Whether nothing but white space is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.token().is_none()
    }

    /// Reads an object behind its brace; `member` reads the value of each key.
    pub(super) fn members(&mut self, mut member: impl FnMut(&mut Self, Quoted) -> Option<()>) -> Option<()> {
        match self.token()? {
            b'}' => return Some(()),
            b'"' => {}
            _ => return None,
        }
        loop {
            let key = self.quoted()?;
            if self.token()? != b':' {
                return None;
            }
            member(self, key)?;
            match self.token()? {
                b'}' => return Some(()),
                b',' if self.token()? == b'"' => {}
                _ => return None,
            }
        }
    }

    /// Reads an array behind its bracket; `element` reads each of its values, of which it is given the first byte, and
    /// where the comma before it is.
    pub(super) fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self, u8, Option<usize>) -> Option<()>,
    ) -> Option<()> {
        let mut comma = None;
        let mut first = self.token()?;
        if first == b']' {
            return Some(());
        }
        loop {
            element(self, first, comma)?;
            match self.token()? {
                b']' => return Some(()),
                b',' => {}
                _ => return None,
            }
            comma = Some(self.at - 1);
            first = self.token()?;
        }
    }

    /// Reads a value of which nothing is needed.
    pub(super) fn skip(&mut self) -> Option<()> {
        let first = self.token()?;
        self.skip_from(first, MAX_DEPTH)
    }

    /// The same, and where the value lies.
    pub(super) fn value(&mut self) -> Option<Range<usize>> {
        let first = self.token()?;
        let start = self.at - 1;
        self.skip_from(first, MAX_DEPTH)?;
        Some(start..self.at)
    }

    /// Reads a value of which nothing is needed, where many are alike: an array that is the same as the last one, byte by
    /// byte, ends where that ended, and need not be read again.
    pub(super) fn skip_repeated(&mut self, last: &mut &'a str) -> Option<()> {
        let start = self.at;
        let is_array = self.peek() == Some(b'[');
        if is_array && !last.is_empty() && self.text.get(start..)?.starts_with(*last) {
            self.at += last.len();
            return Some(());
        }
        self.skip()?;
        if is_array {
            *last = self.text.get(start..self.at)?;
        }
        Some(())
    }

    /// Reads a value behind its first byte, as deep as this.
    fn skip_from(&mut self, first: u8, depth: usize) -> Option<()> {
        match first {
            b'"' => self.quoted().map(|_| ()),
            b'{' => {
                let depth = depth.checked_sub(1)?;
                self.members(|scan, _| {
                    let first = scan.token()?;
                    scan.skip_from(first, depth)
                })
            }
            b'[' => {
                let depth = depth.checked_sub(1)?;
                self.elements(|scan, first, _| scan.skip_from(first, depth))
            }
            b't' => self.word("rue"),
            b'f' => self.word("alse"),
            b'n' => self.null(),
            first => self.number(first).map(|_| ()),
        }
    }

    /// Reads `null` behind its first letter.
    pub(super) fn null(&mut self) -> Option<()> {
        self.word("ull")
    }

    fn word(&mut self, rest: &str) -> Option<()> {
        let end = self.at + rest.len();
        let is_there = self.text.get(self.at..end) == Some(rest);
        self.at = end;
        is_there.then_some(())
    }

    /// Reads a number behind its first byte.
    pub(super) fn number(&mut self, first: u8) -> Option<&'a str> {
        let start = self.at - 1;
        let leading = if first == b'-' { self.byte()? } else { first };
        match leading {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        self.text.get(start..self.at)
    }

    fn some_digits(&mut self) -> Option<()> {
        self.byte()?.is_ascii_digit().then(|| self.digits())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    /// Reads a text behind its first quotation mark.
    pub(super) fn quoted(&mut self) -> Option<Quoted> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.plain();
            match self.byte()? {
                b'"' => {
                    return Some(Quoted {
                        range: start..self.at - 1,
                        escaped,
                    });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    /// Goes on to a byte of a text that stands for more than itself, or near its end.
    fn plain(&mut self) {
        while let Some(eight) = self.text.as_bytes().get(self.at..).and_then(|rest| rest.first_chunk()) {
            let special = special(u64::from_le_bytes(*eight));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return;
            }
            self.at += eight.len();
        }
    }

    /// Reads an escape behind its backslash. Surrogates need a partner only where the text is needed.
    fn escape(&mut self) -> Option<()> {
        match self.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => (0..4).try_for_each(|_| self.byte()?.is_ascii_hexdigit().then_some(())),
            _ => None,
        }
    }

    /// Reads a text that is needed, behind its first quotation mark.
    pub(super) fn read_text(&mut self) -> Option<Cow<'a, str>> {
        let quoted = self.quoted()?;
        self.text(&quoted)
    }

    /// Whether a text is one of two. `None` for one with half a surrogate pair.
    pub(super) fn is(&self, quoted: &Quoted, one: &str, other: &str) -> Option<bool> {
        if quoted.escaped {
            let text = self.text(quoted)?;
            return Some(*text == *one || *text == *other);
        }
        let raw = self.text.as_bytes().get(quoted.range.clone())?;
        Some(*raw == *one.as_bytes() || *raw == *other.as_bytes())
    }

    /// A text with its escapes undone. `None` for one with half a surrogate pair.
    pub(super) fn text(&self, quoted: &Quoted) -> Option<Cow<'a, str>> {
        let raw = self.text.get(quoted.range.clone())?;
        if !quoted.escaped {
            return Some(Cow::Borrowed(raw));
        }
        serde_json::from_str(&format!("\"{raw}\"")).ok().map(Cow::Owned)
    }
}

/// Marks those of eight bytes that a text cannot hold as themselves: the first of them rightly, which is all that counts.
/// (<https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>)
fn special(eight: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let below = |bytes: u64, limit: u64| bytes.wrapping_sub(ONES * limit) & !bytes;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    (below(eight, 0x20) | is(b'"') | is(b'\\')) & HIGH
}
