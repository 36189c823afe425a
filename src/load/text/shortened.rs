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

/// A value as errors show it.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
