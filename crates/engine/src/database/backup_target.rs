//! Where a backup goes.
//! Never: leads out of the server's backup folder, or to a name that is taken; shows the folder to a client.

use std::path::{Component, Path, PathBuf};

use super::files::with_ending;
use crate::error::{Error, Kind, Result};

/// What the file is called until it is whole.
const PARTIAL: &str = "partial";
/// Endings that DuckDB, or this module, gives to files of its own.
const RESERVED: [&str; 5] = ["wal", "checkpoint", "recovery", "tmp", PARTIAL];

/// Where a copy goes: inside one folder, to a name that is not taken.
#[derive(Debug, Clone)]
pub struct BackupTarget {
    pub(crate) shown: String,
    pub(crate) path: PathBuf,
}

impl BackupTarget {
    /// `name`, relative to `directory` or absolute and below it.
    ///
    /// Errors: `Denied` for a name that leads out of the folder, `Exists` for one that is taken, `NotFound` for
    /// a folder that is not there. Texts show the name, never the folder.
    pub fn find(directory: &Path, name: &str) -> Result<Self> {
        let shown = crate::error::shorten(name, 300);
        let outside = || {
            Error::new(
                Kind::Denied,
                format!(
                    "\"{shown}\" is not below the server's backup folder (setting database.backup_directory); \
                     give a name such as \"backup.duckdb\""
                ),
            )
        };
        let given = Path::new(name);
        let up = given.components().any(|part| part == Component::ParentDir);
        if up || name.contains('\0') {
            return Err(outside());
        }
        let Some(file_name) = given
            .file_name()
            .filter(|file| !name.ends_with('/') && !file.to_string_lossy().trim().is_empty())
        else {
            return Err(Error::invalid(format!("expected the name of a file to write, found \"{shown}\"")));
        };
        if given
            .extension()
            .is_some_and(|ending| RESERVED.iter().any(|reserved| ending.eq_ignore_ascii_case(reserved)))
        {
            return Err(Error::invalid(format!(
                "\"{shown}\": names ending in .{} are the engine's own; give a name such as \"backup.duckdb\"",
                RESERVED.join(", .")
            )));
        }
        let directory = directory.canonicalize().map_err(|error| {
            Error::not_found(format!("the server's backup folder (database.backup_directory): {error}"))
        })?;
        let joined = directory.join(given);
        let folder = joined.parent().unwrap_or(&directory);
        // Links are followed before the comparison, so that none leads out.
        let folder = match folder.canonicalize() {
            Ok(folder) => folder,
            Err(_) if !folder.starts_with(&directory) => return Err(outside()),
            Err(_) => {
                return Err(Error::not_found(format!(
                    "\"{shown}\": there is no such folder below the server's backup folder; make it first"
                )));
            }
        };
        if !folder.starts_with(&directory) {
            return Err(outside());
        }
        let target = Self { path: folder.join(file_name), shown };
        target.check_free()?;
        Ok(target)
    }

    /// Errors: `Exists` when the name is taken.
    pub(crate) fn check_free(&self) -> Result<()> {
        // A log beside the copy would be taken for the copy's own.
        for (path, what) in [(self.path.clone(), "there is"), (with_ending(&self.path, "wal"), "the log of")]
        {
            if path.symlink_metadata().is_ok() {
                return Err(Error::new(
                    Kind::Exists,
                    format!(
                        "\"{}\": {what} such a file already, and a backup overwrites nothing; give another name",
                        self.shown
                    ),
                ));
            }
        }
        Ok(())
    }

    /// What the file is called until it is whole.
    pub(crate) fn partial(&self) -> PathBuf {
        with_ending(&self.path, PARTIAL)
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        let written = self.partial().metadata().or_else(|_| self.path.metadata());
        written.map_or(0, |data| data.len())
    }

    /// `text` with the name the client gave in place of the server's path.
    pub(crate) fn hide(&self, text: &str) -> String {
        text.replace(&self.partial().display().to_string(), &self.shown)
            .replace(&self.path.display().to_string(), &self.shown)
    }
}
