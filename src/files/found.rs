//! A file that a load means, found but not opened.
//! Runs on: any thread; values.
//! Never: reads.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::fence::Fence;

/// A file that a load means, found but not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Where its bytes are.
    pub place: Place,
    /// What it is remembered by: the real path with all links followed, or the URL.
    pub name: String,
    /// What people call it: the path as it was reached, or the URL.
    pub shown: String,
    /// Columns of `key=value` folders, from the outer one to the inner one; `None` for NULL.
    pub partitions: Vec<(String, Option<String>)>,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On a disk of this machine.
    Path(PathBuf),
    /// A real path that is to lie in some folders, also when it is opened.
    Within(PathBuf, Arc<Fence>),
    /// Standard input, copied so that it can be read twice.
    Copied(Copied),
    /// Behind a URL; read by ranges.
    #[cfg(feature = "object-store")]
    Object(super::store::object::Object),
}

/// A temporary file without a name: nothing of it stays, however the process ends.
#[derive(Debug, Clone)]
pub struct Copied(pub Arc<File>);

impl PartialEq for Copied {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Copied {}
