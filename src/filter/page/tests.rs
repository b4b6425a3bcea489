//! Which items a page has, and its token.

use super::*;

fn page(label: &Label, offset: usize, limit: usize, items: usize) -> (Page<'_>, Vec<usize>) {
    let mut page = Page {
        next: label,
        offset,
        limit,
        counted: 0,
    };
    let taken = (0..items).filter(|_| page.takes()).collect();
    (page, taken)
}

fn label() -> Label {
    Label {
        number: 2,
        name: "token".into(),
        json: "token".into(),
    }
}

#[test]
fn pages_follow_each_other_and_a_full_one_has_a_token() {
    let label = label();
    for (offset, limit, items, taken, token) in [
        (0, 2, 5, vec![0, 1], "2"),
        (2, 2, 5, vec![2, 3], "4"),
        (4, 2, 5, vec![4], ""),
        (4, 1, 5, vec![4], "5"),
        (5, 1, 5, vec![], ""),
        (9, 2, 5, vec![], ""),
        (0, 0, 3, vec![0, 1, 2], ""),
        (1, 0, 3, vec![1, 2], ""),
        (0, 2, 0, vec![], ""),
        (usize::MAX, usize::MAX, 3, vec![], ""),
    ] {
        let (page, shown) = page(&label, offset, limit, items);
        assert_eq!(
            (shown, page.token().unwrap_or_default().as_str()),
            (taken, token),
            "{offset} {limit} {items}"
        );
    }
}
