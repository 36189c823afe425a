//! What was found: files that are loaded, and what was left out and why.
//! Runs on: any thread; values.
//! Never: looks at a disk.

use std::sync::Arc;

use crate::files::found::FoundFile;
use crate::files::input::Stamp;
use crate::files::sniff::{Format, Refusal};
use crate::load::fence::Fence;

/// How the arguments are understood.
#[derive(Debug, Clone, Default)]
pub(in crate::load) struct Finding {
    /// Take columns from `key=value` folders.
    pub(in crate::load) hive: bool,
    /// The folders grow: nothing found is no error.
    pub(in crate::load) follow: bool,
    /// What is named and cannot be loaded is left out with a word, instead of an error for all.
    pub(in crate::load) keep_going: bool,
    /// Where files may lie, if not everywhere.
    pub(in crate::load) fence: Option<Arc<Fence>>,
}

/// What the arguments mean at one moment.
#[derive(Debug, Default)]
pub(in crate::load) struct Found {
    /// In the order of the arguments, and of names in each.
    pub(in crate::load) files: Vec<DataFile>,
    /// URLs with the places of their arguments.
    pub(in crate::load) urls: Vec<(usize, String)>,
    pub(in crate::load) skipped: Vec<Skipped>,
    /// How many names below folders began with `_` or `.`.
    pub(in crate::load) hidden: usize,
    /// Hard links: the name of a file in `files`, and another of its names.
    pub(in crate::load) other_names: Vec<(String, String)>,
}

/// A file that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::load) struct DataFile {
    pub(in crate::load) file: FoundFile,
    pub(in crate::load) format: Format,
    /// What it was when it was looked at.
    pub(in crate::load) stamp: Stamp,
    /// Place of the argument that led to it.
    pub(in crate::load) argument: usize,
}

/// A file or folder that is not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::load) struct Skipped {
    pub(in crate::load) shown: String,
    pub(in crate::load) refusal: Refusal,
}

impl Skipped {
    /// The file and why it is left out, as one sentence.
    pub(in crate::load) fn told(&self) -> String {
        format!("{}: it {}", self.shown, self.refusal.why)
    }
}
