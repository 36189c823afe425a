//! What was found: files that are loaded, and what was left out and why.
//! Runs on: any thread; values.
//! Never: looks at a disk.

use pintail::files::found::FoundFile;
use pintail::files::input::Stamp;
use pintail::files::sniff::{Format, Refusal};

/// How the arguments are understood.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::cli::load) struct Finding {
    /// Take columns from `key=value` folders.
    pub(in crate::cli::load) hive: bool,
    /// The folders grow: nothing found is no error.
    pub(in crate::cli::load) follow: bool,
    /// What is named and cannot be loaded is left out with a word, instead of an error for all.
    pub(in crate::cli::load) keep_going: bool,
}

/// What the arguments mean at one moment.
#[derive(Debug, Default)]
pub(in crate::cli::load) struct Found {
    /// In the order of the arguments, and of names in each.
    pub(in crate::cli::load) files: Vec<DataFile>,
    /// URLs with the places of their arguments.
    pub(in crate::cli::load) urls: Vec<(usize, String)>,
    pub(in crate::cli::load) skipped: Vec<Skipped>,
    /// How many names below folders began with `_` or `.`.
    pub(in crate::cli::load) hidden: usize,
    /// Hard links: the name of a file in `files`, and another of its names.
    pub(in crate::cli::load) other_names: Vec<(String, String)>,
}

/// A file that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::load) struct DataFile {
    pub(in crate::cli::load) file: FoundFile,
    pub(in crate::cli::load) format: Format,
    /// What it was when it was looked at.
    pub(in crate::cli::load) stamp: Stamp,
    /// Place of the argument that led to it.
    pub(in crate::cli::load) argument: usize,
}

/// A file or folder that is not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::load) struct Skipped {
    pub(in crate::cli::load) shown: String,
    pub(in crate::cli::load) refusal: Refusal,
}

impl Skipped {
    /// The file and why it is left out, as one sentence.
    pub(in crate::cli::load) fn told(&self) -> String {
        format!("{}: it {}", self.shown, self.refusal.why)
    }
}
