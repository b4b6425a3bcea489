//! Nothing is lost, doubled or moved, however an answer is parted and cut.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

/// Bytes of which no two runs are alike.
fn numbered(length: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(length).collect()
}

/// Cuts by the lengths of what stays before each and of what is cut, and what is inserted at one of them.
fn edits(length: usize, runs: &[(usize, usize)], inserted: Option<(usize, Vec<u8>)>) -> Edits {
    let mut edits = Edits::default();
    let mut at = 0;
    for (stays, cut) in runs {
        let start = length.min(at + stays);
        at = length.min(start + cut);
        edits.cut(start..at);
    }
    edits.inserted = inserted.filter(|(place, _)| *place < edits.cuts.len());
    edits
}

fn expected(whole: &[u8], edits: &Edits, front: &[u8]) -> Vec<u8> {
    let mut expected = front.to_vec();
    let mut at = 0;
    for (index, cut) in edits.cuts.iter().enumerate() {
        expected.extend_from_slice(whole.get(at..cut.start).unwrap());
        at = cut.end;
        if let Some((_, text)) = edits.inserted.as_ref().filter(|(place, _)| *place == index) {
            expected.extend_from_slice(text);
        }
    }
    expected.extend_from_slice(whole.get(at..).unwrap());
    expected
}

/// Lengths around those at which something else is done.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0_usize..300,
        1 => SHORT - 2..SHORT + 2,
        1 => BLOCK - 7..BLOCK + 2,
        1 => 0..3 * BLOCK,
    ]
}

proptest! {
    #[test]
    fn t_resp_02_what_is_passed_on_is_what_stays_however_it_came(
        lengths in proptest::collection::vec(length(), 0..12),
        runs in proptest::collection::vec((length(), length()), 0..12),
        inserted in proptest::option::of((0_usize..12, proptest::collection::vec(any::<u8>(), 0..40))),
        front in proptest::collection::vec(any::<u8>(), 0..6),
        in_one in any::<bool>(),
    ) {
        let whole = numbered(lengths.iter().sum());
        let mut pieces = if in_one { Pieces::in_one(0) } else { Pieces::default() };
        let mut rest = &whole[..];
        for length in lengths {
            let (piece, behind) = rest.split_at(length);
            pieces.push(Bytes::copy_from_slice(piece));
            rest = behind;
        }
        prop_assert_eq!(pieces.iter().collect::<Vec<_>>().concat(), &whole[..]);
        prop_assert_eq!((pieces.len(), pieces.is_empty()), (whole.len(), whole.is_empty()));
        let mut again = Pieces::default();
        pieces.iter().for_each(|piece| again.push(Bytes::copy_from_slice(piece)));
        prop_assert_eq!(again.joined(), &whole[..]);
        let edits = edits(whole.len(), &runs, inserted);
        let expected = expected(&whole, &edits, &front);
        prop_assert_eq!(expected.len(), front.len() + edits.length(whole.len()));
        let passed = pieces.edited(&edits, &front);
        prop_assert!(passed.iter().all(|piece| !piece.is_empty()));
        prop_assert_eq!(passed.concat(), expected);
    }
}

#[test]
fn many_short_pieces_become_few_and_long_ones_are_not_copied() {
    let whole = numbered(5 * BLOCK);
    let mut pieces = Pieces::default();
    for byte in &whole {
        pieces.push(Bytes::copy_from_slice(&[*byte]));
    }
    assert!(pieces.list.len() <= 5, "{}", pieces.list.len());
    let long = Bytes::from(whole);
    let mut pieces = Pieces::default();
    pieces.push(long.clone());
    let cut = Edits {
        cuts: std::iter::once(0..1).collect(),
        ..Edits::default()
    };
    let passed = pieces.edited(&cut, &[]);
    assert_eq!(
        passed.iter().map(|piece| piece.as_ptr()).collect::<Vec<_>>(),
        [long.slice(1..).as_ptr()]
    );
    // Runs that are short are passed on together.
    let mut pieces = Pieces::default();
    pieces.push(long.clone());
    let holes = (0..5 * BLOCK / 100)
        .map(|number| number * 100..number * 100 + 50)
        .collect();
    let holes = Edits {
        cuts: holes,
        ..Edits::default()
    };
    let passed: Vec<usize> = pieces.edited(&holes, &[]).iter().map(Bytes::len).collect();
    assert_eq!(passed.split_last().unwrap().1, [BLOCK, BLOCK]);
}

#[test]
fn what_is_in_front_is_taken_off_wherever_it_is_parted() {
    for length in 1..9 {
        let mut pieces = Pieces::parted(b"12345678", length);
        assert_eq!(pieces.take_front().unwrap(), *b"12345");
        assert_eq!(
            (pieces.len(), pieces.iter().collect::<Vec<_>>().concat()),
            (3, b"678".to_vec())
        );
        assert_eq!(pieces.take_front::<4>(), None);
        assert_eq!(pieces.take_front().unwrap(), *b"678");
        assert!(pieces.is_empty() && pieces.edited(&Edits::default(), &[]).is_empty());
    }
    assert_eq!(Pieces::default().take_front(), Some([]));
}

#[test]
fn only_what_was_to_be_one_piece_is() {
    let mut one = Pieces::in_one(3);
    one.push(Bytes::from_static(b"abc"));
    one.push(numbered(BLOCK).into());
    assert_eq!(one.one().unwrap().len(), 3 + BLOCK);
    let mut several = Pieces::default();
    several.push(Bytes::from_static(b"abc"));
    several.push(numbered(BLOCK).into());
    assert_eq!(several.one(), None);
}
