//! A body in the pieces in which it came: it is not copied while it grows, and what stays of an answer is passed on as
//! slices of them.

use super::Edits;
use bytes::{Buf, Bytes};
use std::{mem, vec};

/// Pieces shorter than this many bytes are put together: a handle to each would cost more than a copy.
const SHORT: usize = 4 << 10;
/// How long what is put together becomes, in bytes: what fits into one frame of HTTP/2, and one record of TLS.
const BLOCK: usize = 16 << 10;

/// Bytes in pieces, in order.
#[derive(Debug, Default)]
pub struct Pieces {
    list: Vec<Bytes>,
    /// What lies behind all of them, and is still short.
    last: Vec<u8>,
    /// Whether everything is put together.
    in_one: bool,
    len: usize,
}

impl Pieces {
    /// What will be one piece, of about so many bytes.
    #[must_use]
    pub fn in_one(len: usize) -> Self {
        Self {
            last: Vec::with_capacity(len),
            in_one: true,
            ..Self::default()
        }
    }

    /// The length of all together, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The length of the longest piece, in bytes.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.iter().map(<[u8]>::len).max().unwrap_or_default()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds what has come.
    pub fn push(&mut self, data: Bytes) {
        self.len += data.len();
        if self.in_one || data.len() < SHORT {
            self.last.extend_from_slice(&data);
            if !self.in_one && self.last.len() >= BLOCK {
                self.settle();
            }
        } else {
            self.settle();
            self.list.push(data);
        }
    }

    fn settle(&mut self) {
        if !self.last.is_empty() {
            self.list.push(mem::take(&mut self.last).into());
        }
    }

    /// Each piece in order; some may be empty.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.list.iter().map(|piece| &**piece).chain([&*self.last])
    }

    /// Everything, if it was to be one piece.
    #[must_use]
    pub fn one(&self) -> Option<&[u8]> {
        self.list.is_empty().then_some(&*self.last)
    }

    /// Everything in one piece. What it came in is given back as it is copied.
    #[must_use]
    pub fn joined(mut self) -> Bytes {
        self.settle();
        if let [_] = &*self.list {
            return self.list.pop().unwrap_or_default();
        }
        let mut whole = Vec::with_capacity(self.len);
        for piece in self.list {
            whole.extend_from_slice(&piece);
        }
        whole.into()
    }

    /// Takes so many bytes from the front, if there are.
    pub fn take_front<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.len < N {
            return None;
        }
        self.settle();
        let mut front = [0; N];
        let mut missing = &mut front[..];
        for piece in &mut self.list {
            let here = piece.len().min(missing.len());
            let (there, still) = mem::take(&mut missing).split_at_mut_checked(here)?;
            piece.copy_to_slice(there);
            missing = still;
        }
        self.len -= N;
        Some(front)
    }

    /// What is passed on: some bytes in front, then what is left when the edits are made. Short runs are copied together,
    /// long ones stay where they are.
    #[must_use]
    pub fn edited(mut self, edits: &Edits, front: &[u8]) -> Vec<Bytes> {
        self.settle();
        let mut passed = Passed::of(front.len() + edits.length(self.len));
        passed.copy(front);
        let mut rest = Rest {
            piece: Bytes::new(),
            behind: self.list.into_iter(),
        };
        let mut at = 0;
        for (index, cut) in edits.cuts.iter().enumerate() {
            rest.go(cut.start.saturating_sub(at), |piece, run| passed.run(piece, run));
            rest.go(cut.len(), Bytes::advance);
            at = cut.end;
            if let Some((_, text)) = edits.inserted.as_ref().filter(|(place, _)| *place == index) {
                passed.copy(text);
            }
        }
        rest.go(self.len.saturating_sub(at), |piece, run| passed.run(piece, run));
        passed.end()
    }
}

/// What of the pieces has not been dealt with.
struct Rest {
    piece: Bytes,
    behind: vec::IntoIter<Bytes>,
}

impl Rest {
    /// Deals with so many bytes: `run` takes each part of them from the front of its piece.
    fn go(&mut self, mut length: usize, mut run: impl FnMut(&mut Bytes, usize)) {
        while length > 0 {
            if self.piece.is_empty() {
                let Some(piece) = self.behind.next() else { return };
                self.piece = piece;
                continue;
            }
            let here = length.min(self.piece.len());
            run(&mut self.piece, here);
            length -= here;
        }
    }
}

/// What is passed on.
struct Passed {
    list: Vec<Bytes>,
    block: Vec<u8>,
    /// How much is to come, with what is in the block.
    left: usize,
}

impl Passed {
    fn of(length: usize) -> Self {
        Self {
            list: Vec::with_capacity(length.div_ceil(BLOCK)),
            block: Vec::new(),
            left: length,
        }
    }

    /// Takes so many bytes from the front of a piece, which has them.
    fn run(&mut self, piece: &mut Bytes, length: usize) {
        let begun = if self.block.is_empty() {
            0
        } else {
            length.min(BLOCK - self.block.len())
        };
        let short = if length - begun < SHORT { length } else { begun };
        self.copy(piece.get(..short).unwrap_or_default());
        piece.advance(short);
        if short < length {
            self.settle();
            self.left = self.left.saturating_sub(length - short);
            self.list.push(piece.split_to(length - short));
        }
    }

    fn copy(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.block.is_empty() {
                self.block.reserve_exact(self.left.clamp(bytes.len().min(BLOCK), BLOCK));
            }
            let room = BLOCK - self.block.len();
            let (here, behind) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.block.extend_from_slice(here);
            bytes = behind;
            if self.block.len() == BLOCK {
                self.settle();
            }
        }
    }

    fn settle(&mut self) {
        if !self.block.is_empty() {
            self.left = self.left.saturating_sub(self.block.len());
            self.list.push(mem::take(&mut self.block).into());
        }
    }

    fn end(mut self) -> Vec<Bytes> {
        self.settle();
        self.list
    }
}

#[cfg(test)]
impl Pieces {
    /// Exactly these pieces, however short.
    pub(in crate::filter) fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let pieces: Vec<Bytes> = pieces.into_iter().map(Bytes::copy_from_slice).collect();
        Self {
            len: pieces.iter().map(Bytes::len).sum(),
            list: pieces,
            ..Self::default()
        }
    }

    /// Pieces of exactly this length.
    pub(in crate::filter) fn parted(whole: &[u8], length: usize) -> Self {
        Self::of(whole.chunks(length))
    }
}

#[cfg(test)]
mod tests;
