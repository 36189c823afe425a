//! The books themselves: each kind of loss, doubling and alteration is found.

use super::*;

fn found(table: &str, put: i64, rows: &[i64]) -> Found {
    let mut found = Found::new();
    for row in rows {
        found.entry(table.to_owned()).or_default().entry((1, put)).or_default().add(*row);
    }
    found
}

fn told(fate: Fate) -> Books {
    let books = Books::default();
    let id = books.open("test", 1, 7, &[("t", 3)]);
    books.close(id, fate);
    books
}

/// What was told and what is stored, in every way they can differ.
#[test]
fn every_difference_is_seen() {
    let whole = found("t", 7, &[0, 1, 2]);
    let part = found("t", 7, &[0, 2]);
    let more = found("t", 7, &[0, 1, 2, 3]);
    let other = found("t", 8, &[0]);
    let none = Found::from([("t".to_owned(), HashMap::new())]);
    for (fate, stored, is_right) in [
        (Fate::Stored, &whole, true),
        (Fate::Stored, &part, false),
        (Fate::Stored, &more, false),
        (Fate::Stored, &none, false),
        (Fate::Absent, &none, true),
        (Fate::Absent, &whole, false),
        (Fate::Absent, &other, false),
        (Fate::Unknown, &none, true),
        (Fate::Unknown, &whole, true),
        (Fate::Unknown, &part, false),
        (Fate::Open, &none, false),
    ] {
        let differences = told(fate).compare(stored, &[]);
        assert_eq!(differences.is_empty(), is_right, "{fate:?}: {differences:?}");
    }
}

/// What has been seen of an unanswered put must stay.
#[test]
fn an_unanswered_put_is_settled_once_it_is_seen() {
    let books = told(Fate::Unknown);
    assert!(books.compare(&found("t", 7, &[0, 1, 2]), &[]).is_empty());
    assert!(!books.compare(&Found::new(), &[]).is_empty());
}

/// Tables of one transaction agree.
#[test]
fn a_transaction_is_in_all_tables_or_in_none() {
    let books = Books::default();
    let id = books.open("test", 1, 7, &[("t", 2), ("u", 2)]);
    books.close(id, Fate::Unknown);
    let mut both = found("t", 7, &[0, 1]);
    assert!(!books.compare(&both, &[]).is_empty());
    both.extend(found("u", 7, &[0, 1]));
    assert!(books.compare(&both, &[]).is_empty());
}

/// Rows go with what took them away, and only with that.
#[test]
fn erasers_take_what_was_there_before() {
    for (is_before, fate, stored, is_right) in [
        (true, Fate::Stored, false, true),
        (true, Fate::Stored, true, false),
        (true, Fate::Absent, false, false),
        (true, Fate::Unknown, false, true),
        (true, Fate::Unknown, true, true),
        (false, Fate::Stored, false, false),
        (false, Fate::Stored, true, true),
    ] {
        let books = Books::default();
        let put = |books: &Books| {
            let id = books.open("test", 1, 7, &[("t", 1)]);
            books.close(id, Fate::Stored);
        };
        if is_before {
            put(&books);
        }
        let eraser = books.erase("t");
        books.erased(eraser, fate);
        if !is_before {
            put(&books);
        }
        let stored = if stored { found("t", 7, &[0]) } else { Found::new() };
        let differences = books.compare(&stored, &[]);
        assert_eq!(differences.is_empty(), is_right, "{is_before} {fate:?}: {differences:?}");
    }
}

/// Of puts that replace each other one stays, and a moved row is in one table.
#[test]
fn replaced_and_moved_rows_are_in_one_place() {
    let books = Books::default();
    for put in [7, 8] {
        let entry = books.open_in_place("test", 1, put, "t", 1);
        books.close_in_place(entry, Fate::Stored);
    }
    assert!(books.compare(&found("t", 8, &[0]), &["t"]).is_empty());
    assert!(!books.compare(&found("t", 7, &[0]), &["t"]).is_empty(), "the older one");
    assert!(!books.compare(&Found::new(), &["t"]).is_empty());
    let books = Books::default();
    let id = books.open("test", 1, 7, &[("t", 1)]);
    books.close(id, Fate::Stored);
    books.moving(id, "u");
    books.moved(id, Fate::Unknown);
    assert!(books.compare(&found("u", 7, &[0]), &[]).is_empty());
    let mut both = found("t", 7, &[0]);
    both.extend(found("u", 7, &[0]));
    assert!(!books.compare(&both, &[]).is_empty());
    assert!(!books.compare(&Found::new(), &[]).is_empty());
}
