//! What a load has done: progress while it runs, and the lines at its end.
//! Runs on: the task of the command; threads that read advance the progress.
//! Never: counts a row as stored before its commit was confirmed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pintail::catalog::{TableName, rejected_name};
use pintail::client::PutAnswer;
use pintail::error::Error;

use super::super::figures::grouped;
use super::super::is_terminal;

/// How often a line is printed where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Files that failed and are named, of very many.
const NAMED: usize = 20;

/// What became of one file.
#[derive(Debug, Default, Clone)]
pub(super) struct FileState {
    /// Pieces that were stored now.
    pub(super) stored: usize,
    /// Pieces that were there already.
    pub(super) left_out: usize,
    /// Pieces of the file.
    pub(super) pieces: usize,
    /// Why the rest is not there.
    pub(super) failed: Option<Error>,
}

impl FileState {
    /// Whether all of it is in the table.
    pub(super) fn is_there(&self) -> bool {
        self.stored + self.left_out == self.pieces
    }
}

/// What has been done so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Rows that were dealt with, and of those the ones that are not in the table, or in the place of another.
    rows: u64,
    ignored: u64,
    replaced: u64,
    rejected: u64,
    pub(super) files: Vec<FileState>,
}

impl Tally {
    pub(super) fn of(files: usize) -> Self {
        Self { files: vec![FileState::default(); files], ..Self::default() }
    }

    /// Counts what a put has stored.
    pub(super) fn add(&mut self, answer: &PutAnswer) {
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

    /// The line at the end.
    pub(super) fn summary(&self, table: &TableName, took: Duration, is_again: bool) -> String {
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
        if old > 0 && self.rows == 0 && !is_again {
            text.push_str(" (--again loads them again)");
        }
        text
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

/// A bar on a terminal, a line now and then elsewhere.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    plain: Option<Arc<Mutex<Instant>>>,
    started: Instant,
}

impl Progress {
    /// For so many rows, where the files say.
    pub(super) fn start(total: Option<u64>) -> Self {
        let bar = match total {
            Some(rows) => ProgressBar::new(rows)
                .with_style(style("{bar:32} {human_pos} of {human_len} rows, {per_sec}, {eta} left")),
            None => ProgressBar::no_length().with_style(style("{spinner} {human_pos} rows, {per_sec}")),
        };
        if !is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let started = Instant::now();
        let plain = (!is_terminal()).then(|| Arc::new(Mutex::new(started)));
        Self { bar, plain, started }
    }

    pub(super) fn advance(&self, rows: u64) {
        self.bar.inc(rows);
        let Some(last) = &self.plain else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let sent = self.bar.position();
            let of = self.bar.length().map_or(String::new(), |total| format!(" of {}", count(total)));
            let rate = sent as f64 / self.started.elapsed().as_secs_f64();
            eprintln!("sent {}{of} rows, {} rows/s", count(sent), grouped(rate as i64));
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
