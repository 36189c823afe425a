//! The image of the ledger in memory: what is kept, in what order it is forgotten, what a line stands at.

use super::*;
use crate::ingest::{Counts, OnConflict};

fn line(producer: impl Into<String>) -> Line {
    Line { producer: producer.into().into(), table: "main.t".into() }
}

fn batch(producer: impl Into<String>, epoch: u64, seq: u64) -> Entry {
    Entry::Batch { line: line(producer), epoch, seq, rows: seq + 1, checksum: seq }
}

fn key(name: String) -> Entry {
    let (counts, on_conflict) = (Counts::default(), OnConflict::Error);
    Entry::Key {
        key: name.into(),
        entry: KeyEntry { table: "main.t".into(), checksum: 1, counts, on_conflict },
    }
}

#[test]
fn what_was_used_longest_ago_is_forgotten_first() {
    let mut state = LedgerImage::new(Bounds { keys: 2, lines: 2 });
    for name in ["a", "b", "a", "c"] {
        state.remember(&key(name.to_owned()));
        state.remember(&batch(name, 0, 0));
    }
    for (name, is_known) in [("a", true), ("b", false), ("c", true)] {
        assert_eq!(state.key(name).is_some(), is_known, "{name}");
        assert_eq!(state.status(name).is_some(), is_known, "{name}");
    }
    assert_eq!(state.rows_needed(), 4);
}

/// A stream that is open keeps its line and its epoch, however many others come; once it ends, its turn comes.
#[test]
fn a_producer_at_work_is_not_forgotten() {
    let mut state = LedgerImage::new(Bounds { keys: 1, lines: 10 });
    state.remember(&batch("old", 7, 3));
    let epochs = state.epochs("old");
    let turn = state.turn(TurnOf::Line(line("old")));
    // It writes to another table as well, and that line may go.
    let other = Line { table: "main.other".into(), ..line("old") };
    state.remember(&Entry::Batch { line: other.clone(), epoch: 7, seq: 9, rows: 1, checksum: 0 });
    let crowd =
        |state: &mut LedgerImage| (0..1000).for_each(|n| state.remember(&batch(format!("p{n}"), 0, 0)));
    crowd(&mut state);
    assert_eq!(state.line(&line("old")).last, Some(3));
    assert_eq!(state.line(&other).last, None);
    assert_eq!(state.kept_by_use(), [line("old")]);
    assert!(state.was_forgotten(&other) && !state.was_forgotten(&line("old")));
    drop(turn);
    // Between two streams, the epoch has nothing else to be known by.
    crowd(&mut state);
    assert_eq!(state.line(&line("old")).last, Some(3));
    assert!(Arc::ptr_eq(&state.epochs("old"), &epochs) && state.epochs("old").raise(0) == 7);
    drop(epochs);
    crowd(&mut state);
    assert_eq!(state.line(&line("old")).last, None);
    assert!(state.lines.len() == 10 && state.producers.len() == 10);
}

/// A thousand times what is remembered goes through in a moment, whatever is remembered.
#[test]
fn forgetting_takes_no_longer_the_more_is_known() {
    let started = std::time::Instant::now();
    let mut state = LedgerImage::new(Bounds { keys: 50_000, lines: 50_000 });
    for n in 0..200_000 {
        state.remember(&key(format!("k{n}")));
        state.remember(&batch(format!("p{n}"), 1, 0));
    }
    assert_eq!(state.rows_needed(), 100_000);
    assert_eq!((state.key_order.len(), state.producers.len()), (50_000, 50_000));
    let taken = started.elapsed();
    assert!(taken < std::time::Duration::from_secs(10), "{taken:?}");
}

/// What older rows say of a line that was forgotten does not hold for what came after.
#[test]
fn a_line_begins_anew_after_it_was_forgotten() {
    let mut state = LedgerImage::new(Bounds { keys: 1, lines: 1 });
    let anew = |epoch| Entry::Epoch { line: line("p"), epoch, anew: true };
    let log =
        [batch("p", 1, 6), batch("p", 1, 7), batch("q", 0, 0), anew(1), batch("p", 1, 0), batch("p", 1, 1)];
    for (entry, last) in log[..3].iter().zip([Some(6), Some(7), None]) {
        state.remember(entry);
        assert_eq!(state.line(&line("p")).last, last);
    }
    let clock = state.clock();
    assert!(state.was_forgotten(&line("p")));
    state.table_has(&HashSet::from([line("p")]), clock);
    assert!(state.was_forgotten(&line("p")));
    state.table_has(&HashSet::new(), clock - 1);
    assert!(state.was_forgotten(&line("p")), "forgotten after the look");
    state.table_has(&HashSet::new(), clock);
    assert!(!state.was_forgotten(&line("p")));
    // A start that remembers more reads the same log to the same end, with the row that says so or without.
    for skipped in [vec![], vec![2], vec![2, 3], vec![0, 1]] {
        let mut state = LedgerImage::new(Bounds { keys: 1, lines: 10 });
        for (index, entry) in log.iter().enumerate() {
            if !skipped.contains(&index) {
                state.remember(entry);
            }
            if index == 3 && !skipped.contains(&3) {
                assert_eq!(state.line(&line("p")).last, None);
            }
        }
        let LineEntry { last, rows, recent, .. } = state.line(&line("p"));
        assert_eq!((last, rows, recent.0.len()), (Some(1), 2, 2), "{skipped:?}");
        assert_eq!(state.checksums, 2 + usize::from(!skipped.contains(&2)));
    }
}

#[test]
fn checksums_of_the_highest_numbers_stay() {
    let mut recent = Recent::default();
    for seq in [5, 3, 4, 3].into_iter().chain(6..80) {
        recent.push(seq, seq * 10);
    }
    assert_eq!(recent.0.len(), CHECKSUMS_KEPT);
    assert_eq!((recent.checksum(79), recent.checksum(16), recent.checksum(15)), (Some(790), Some(160), None));
}
