//! What a load has done: progress while it runs, and the lines at its end.
//! Runs on: the task of the load; threads that read advance the progress.
//! Never: counts a row as stored before its commit was confirmed.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{TableName, rejected_name};
use crate::client::PutAnswer;
use crate::error::{Error, Result};

/// Files that failed and are named, of very many.
const NAMED: usize = 20;

/// Where a load says what it does.
pub trait Output: Send + Sync {
    /// A line of what the load is asked for.
    ///
    /// Errors: nobody listens any more.
    fn say(&self, line: &str) -> Result<()>;
    /// A line about what is amiss, or left out.
    fn tell(&self, line: &str);
    /// Shows how far the load is, of so many rows, where the files say.
    fn progress(&self, rows: Option<u64>) -> Arc<dyn Progress>;
}

/// How far a load is.
pub trait Progress: Send + Sync {
    /// So many more rows were read and are on their way.
    fn advance(&self, rows: u64);
    /// The load is over.
    fn finish(&self);
}

/// What a load came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// In words.
    pub text: String,
    /// Rows that were dealt with.
    pub rows: u64,
    /// Of those, rows that were left as they are in the table, that took the place of another, and that were set aside.
    pub ignored: u64,
    /// See [`Summary::ignored`].
    pub replaced: u64,
    /// See [`Summary::ignored`].
    pub rejected: u64,
    /// Files.
    pub files: usize,
    /// Files of which everything was there already.
    pub left_out: usize,
}

/// What became of one file.
#[derive(Debug, Default, Clone)]
pub(super) struct FileState {
    /// Pieces that were stored now.
    pub(super) stored: usize,
    /// Pieces that were there already.
    pub(super) left_out: usize,
    /// Pieces of the file.
    pub(super) pieces: usize,
    /// Rows that were stored now.
    pub(super) rows: u64,
    /// Pieces that were there already, with other columns of folders than they would get now.
    pub(super) unlike: usize,
    /// Pieces that are stored and are not in the file any more.
    pub(super) old: u64,
    /// Why the rest is not there.
    pub(super) failed: Option<Error>,
}

impl FileState {
    /// Whether all of it is in the table.
    pub(super) fn is_there(&self) -> bool {
        self.stored + self.left_out == self.pieces
    }

    /// What may surprise about a file that was loaded before.
    pub(super) fn notes(&self, shown: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if self.old > 0 {
            notes.push(changed(shown, (self.stored, self.pieces), Some(self.rows)));
        }
        if self.unlike > 0 {
            notes.push(format!(
                "left out {shown}: its rows were stored with other columns of key=value folders (--no-hive, or an earlier \
                 version), and stay as they are; to load them anew, delete them and use --again"
            ));
        }
        notes
    }
}

/// A file that holds other content than when it was loaded: so many pieces of it are new.
pub(super) fn changed(shown: &str, (new, all): (usize, usize), rows: Option<u64>) -> String {
    let rows = match rows {
        Some(rows) => format!("{} row{}", count(rows), if rows == 1 { "" } else { "s" }),
        None => "rows not known before they are read".to_owned(),
    };
    let are = if new == 1 { "is" } else { "are" };
    format!(
        "changed: {shown}: {} of {} pieces {are} new ({rows}); rows of the old content stay",
        count(new as u64),
        count(all as u64)
    )
}

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Rows that were dealt with, and of those the ones that are not in the table, or in the place of another.
    rows: u64,
    ignored: u64,
    replaced: u64,
    rejected: u64,
    /// Whether anything was put, if only a table without rows.
    pub(super) has_put: bool,
    pub(super) files: Vec<FileState>,
}

impl Tally {
    pub(super) fn of(files: usize) -> Self {
        Self { files: vec![FileState::default(); files], ..Self::default() }
    }

    /// Counts what a put has stored.
    pub(super) fn add(&mut self, answer: &PutAnswer) {
        self.has_put = true;
        self.rows += answer.rows;
        self.ignored += answer.ignored.unwrap_or_default();
        self.replaced += answer.replaced.unwrap_or_default();
        self.rejected += answer.rejected.unwrap_or_default();
    }

    pub(super) fn has_failed(&self) -> bool {
        self.files.iter().any(|file| file.failed.is_some())
    }

    /// Whether anything of this load is in the table.
    pub(super) fn has_stored(&self) -> bool {
        self.rows > 0 || self.files.iter().any(|file| file.stored > 0)
    }

    /// Rows that are in the table because of this load, and what became of the others.
    pub(super) fn rows(&self, table: &TableName) -> String {
        let stored = self.rows.saturating_sub(self.ignored + self.rejected);
        let mut text = format!("{} row{}", count(stored), if stored == 1 { "" } else { "s" });
        for (rows, what) in [(self.replaced, "replaced"), (self.ignored, "ignored")] {
            if rows > 0 {
                text = format!("{text}, {} {what}", count(rows));
            }
        }
        if self.rejected > 0 {
            text = format!("{text}, {} rejected (see {})", count(self.rejected), rejected_name(table));
        }
        text
    }

    /// What the load came to.
    pub(super) fn summary(&self, table: &TableName, took: Duration, is_again: bool) -> Summary {
        let seconds = took.as_secs_f64();
        let rate = self.rows as f64 / seconds.max(1e-9);
        let whole = |file: &&FileState| file.failed.is_none();
        let done = self.files.iter().filter(whole).count();
        let old = |file: &&FileState| file.failed.is_none() && file.stored == 0 && file.left_out > 0;
        let old = self.files.iter().filter(old).count();
        let grown = |file: &&FileState| file.stored > 0 && file.left_out > 0;
        let grown: Vec<&FileState> = self.files.iter().filter(grown).collect();
        let rows = self.rows(table);
        let comma = if self.ignored + self.replaced + self.rejected > 0 { "," } else { "" };
        let mut text = format!(
            "loaded {rows}{comma} from {} into {table} in {seconds:.2} s ({} rows/s)",
            files(done),
            grouped(rate as i64)
        );
        if old > 0 {
            let was = if old == 1 { "was" } else { "were" };
            text =
                format!("{text}; {} of {} {was} there already", count(old as u64), files(self.files.len()));
        }
        if !grown.is_empty() {
            let pieces: usize = grown.iter().map(|file| file.left_out).sum();
            text = format!(
                "{text}; of {} that {} in part, {} piece{} {} there already",
                files(grown.len()),
                if grown.len() == 1 { "was stored" } else { "were stored" },
                count(pieces as u64),
                if pieces == 1 { "" } else { "s" },
                if pieces == 1 { "was" } else { "were" },
            );
        }
        let changed = self.files.iter().filter(|file| file.old > 0).count();
        if changed > 0 {
            let had = if changed == 1 { "has" } else { "have" };
            text = format!(
                "{text}; {} {had} changed since, and the rows of the old content stay in {table}",
                files(changed)
            );
        }
        let unlike = self.files.iter().filter(|file| file.unlike > 0).count();
        if unlike > 0 {
            let was = if unlike == 1 { "was" } else { "were" };
            text = format!("{text}; {} {was} stored with other columns of folders", files(unlike));
        }
        if old > 0 && self.rows == 0 && !is_again {
            text.push_str(" (--again loads them again)");
        }
        let Self { rows, ignored, replaced, rejected, .. } = *self;
        Summary { text, rows, ignored, replaced, rejected, files: self.files.len(), left_out: old }
    }

    /// What is in the table after a failure.
    pub(super) fn stored(&self, table: &TableName, name: impl Fn(usize) -> String) -> String {
        let whole = self.files.iter().filter(|file| file.failed.is_none() && file.is_there()).count();
        let mut halves =
            self.files.iter().enumerate().filter(|(_, file)| file.stored > 0 && !file.is_there());
        let half = match (halves.next(), halves.count()) {
            (None, _) => String::new(),
            (Some((number, file)), 0) => {
                format!(" and {} of {} pieces of {}", file.stored + file.left_out, file.pieces, name(number))
            }
            (Some(_), more) => format!(" and pieces of {} others", count(more as u64 + 1)),
        };
        let comma = if half.is_empty() { "" } else { "," };
        let of = files(self.files.len());
        format!(
            "{} of {of}{half}{comma} with {}{comma} were committed to {table}",
            count(whole as u64),
            self.rows(table)
        )
    }

    /// A line for each file that failed.
    pub(super) fn failures<'a>(&'a self, names: impl Fn(usize) -> &'a str) -> Vec<String> {
        let failed =
            self.files.iter().enumerate().filter_map(|(file, state)| Some((file, state.failed.as_ref()?)));
        let mut lines: Vec<String> = failed
            .map(|(file, error)| {
                let name = names(file);
                if error.message().contains(name) {
                    error.message().to_owned()
                } else {
                    format!("{name}: {error}")
                }
            })
            .collect();
        let more = lines.len().saturating_sub(NAMED);
        lines.truncate(NAMED);
        if more > 0 {
            lines.push(format!("… and {} more", files(more)));
        }
        lines
    }
}

pub(super) fn files(number: usize) -> String {
    format!("{} file{}", count(number as u64), if number == 1 { "" } else { "s" })
}

pub(super) fn count(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A number with commas between its thousands.
pub fn grouped(count: i64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
