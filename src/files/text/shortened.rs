//! What the readers of text share: how many rows a batch has, and what errors say.
//! Runs on: any thread; pure.
//! Never: shows a whole value that is long.

/// Rows of a batch at most.
pub(super) const BATCH_ROWS: usize = 8_192;

/// What errors say besides what is wrong.
#[derive(Debug)]
pub(super) struct ErrorContext {
    pub(super) shown: String,
    pub(super) advice: &'static str,
    /// The types are the table's.
    pub(super) typed: bool,
}

/// Said of a record that is broken and that no newline ends, which only the last one of a file can be.
pub(super) const CUT: &str = "the file ends within this line, without a newline: it is cut short, or is still written to; load it again \
                              when it is whole (--follow waits for the end of a line)";

/// Whether a record, its newline included, is the end of a file that stops in the middle of a line, as far as that shows.
pub(super) fn is_open(record: &str) -> bool {
    !record.ends_with('\n')
}

/// A value as errors show it.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
