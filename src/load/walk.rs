//! A folder -> the files below it that may hold data.
//! Runs on: threads that read; blocks. Never: opens a file; follows a loop of links for ever; stops at what has gone.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fence::Fence;
use crate::files::sniff::{Cause, Refusal};

/// Ends of names that writers give to files they have not finished, and people to those they set aside.
const SET_ASIDE: [&str; 14] = [
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".inprogress",
    ".incomplete",
    ".crdownload",
    ".filepart",
    "._copying_",
    ".bak",
    ".orig",
    ".old",
    ".swp",
    "~",
];

/// A file below a folder.
pub(super) struct Candidate {
    /// As it was reached.
    pub(super) path: PathBuf,
    /// All links followed.
    pub(super) real: PathBuf,
    pub(super) data: Metadata,
}

/// Goes through a folder in rounds: first without following links, then what their targets hold, and so on. So a file
/// keeps the name that is its own, whatever leads to it besides.
pub(super) struct Walk {
    folders: Vec<(PathBuf, PathBuf)>,
    links: Vec<PathBuf>,
    met: HashSet<(u64, u64)>,
    /// What is left out, with the reason.
    pub(super) skipped: Vec<(PathBuf, Refusal)>,
    /// How many names began with `_` or `.`.
    pub(super) hidden: usize,
    /// Where files may lie, and links that lead elsewhere.
    fence: Option<Arc<Fence>>,
    pub(super) outside: Vec<PathBuf>,
}

/// Whether a name says that it is no data: `_SUCCESS`, `_temporary`, `.part.crc`.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    matches!(name.as_bytes().first(), Some(b'_' | b'.'))
}

/// `_key=value`: a partition by a column whose name begins with an underscore, as Spark writes and reads it.
pub(super) fn is_partition(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'_') && name.as_bytes().contains(&b'=')
}

/// Whether a name says that the file is unfinished or a copy.
pub(super) fn is_set_aside(name: &OsStr) -> bool {
    let name = name.to_string_lossy().to_lowercase();
    SET_ASIDE.iter().any(|end| name.ends_with(end))
}

/// Why a path could not be looked at, when it was there a moment ago.
pub(super) fn lost(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::NotFound => Refusal::new(Cause::Gone, "is no longer there"),
        _ => Refusal::new(Cause::Broken, format!("cannot be read: {error}")),
    }
}

impl Walk {
    /// `real` is where `top` leads to.
    pub(super) fn new(top: PathBuf, real: PathBuf, fence: Option<Arc<Fence>>) -> Self {
        Self {
            folders: vec![(top, real)],
            links: Vec::new(),
            met: HashSet::new(),
            skipped: Vec::new(),
            hidden: 0,
            fence,
            outside: Vec::new(),
        }
    }

    /// The files of the next round by name, and the real paths of the folders they lie in; `None` at the end.
    pub(super) fn round(&mut self) -> Option<(Vec<Candidate>, Vec<PathBuf>)> {
        let (mut files, mut entered) = (Vec::new(), Vec::new());
        self.links.sort();
        for link in std::mem::take(&mut self.links) {
            let followed = || io::Result::Ok((link.metadata()?, link.canonicalize()?));
            match followed() {
                Ok((_, real)) if self.fence.as_ref().is_some_and(|fence| !fence.holds(&real)) => {
                    self.outside.push(link);
                }
                Ok((data, real)) if data.is_dir() => self.folders.push((link, real)),
                Ok((data, real)) => self.file(link, real, data, &mut files),
                Err(error) => {
                    let why = format!("is a link that leads nowhere: {error}");
                    self.skipped.push((link, Refusal::new(Cause::Broken, why)));
                }
            }
        }
        if self.folders.is_empty() && files.is_empty() {
            return None;
        }
        // The first by name is met first, whatever number of ways leads to a folder.
        self.folders.sort_by(|one, other| other.cmp(one));
        while let Some((folder, real)) = self.folders.pop() {
            match self.enter(&folder, &real, &mut files) {
                Ok(true) => entered.push(real),
                Ok(false) => {}
                Err(error) => self.skipped.push((folder, lost(&error))),
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Some((files, entered))
    }

    /// Whether the folder was not met before.
    fn enter(&mut self, folder: &Path, real: &Path, files: &mut Vec<Candidate>) -> io::Result<bool> {
        let data = folder.metadata()?;
        if !self.met.insert((data.dev(), data.ino())) {
            return Ok(false);
        }
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            if is_hidden(&name) && (kind.is_file() || !is_partition(&name)) {
                self.hidden += 1;
                continue;
            }
            let path = folder.join(&name);
            if kind.is_symlink() {
                self.links.push(path);
            } else if kind.is_dir() {
                self.folders.push((path, real.join(&name)));
            } else {
                match entry.metadata() {
                    Ok(data) => self.file(path, real.join(&name), data, files),
                    Err(error) => self.skipped.push((path, lost(&error))),
                }
            }
        }
        Ok(true)
    }

    fn file(&mut self, path: PathBuf, real: PathBuf, data: Metadata, files: &mut Vec<Candidate>) {
        let why = if !data.is_file() {
            "is a pipe, device or socket"
        } else if path.file_name().is_some_and(is_set_aside) {
            "is named like a file that is unfinished or was set aside; name the file itself to load it"
        } else {
            files.push(Candidate { path, real, data });
            return;
        };
        self.skipped.push((path, Refusal::new(Cause::NotData, why)));
    }
}
