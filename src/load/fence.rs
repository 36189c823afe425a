//! Folders that a load may read from, for files that somebody else names.
//! Runs on: threads that read; looks at the disk.
//! Never: looks at what lies outside before it refuses it; trusts a path that was looked at before its file was opened.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Folders that a load may read from.
#[derive(Debug, PartialEq, Eq)]
pub struct Fence {
    /// As they were named.
    folders: Vec<PathBuf>,
    /// All links followed.
    real: Vec<PathBuf>,
}

impl Fence {
    /// Errors: `Unavailable` when one of the folders is not there.
    pub fn new(folders: &[PathBuf]) -> Result<Self> {
        let real = folders.iter().map(|folder| {
            folder.canonicalize().map_err(|error| {
                let text = format!("a directory of ingest.load_directories cannot be read: {}", error.kind());
                Error::new(Kind::Unavailable, text)
            })
        });
        Ok(Self { folders: folders.to_vec(), real: real.collect::<Result<_>>()? })
    }

    /// The path that a name means: in one of the folders, or below the first one where it is relative. Links are not followed
    /// yet.
    ///
    /// Errors: `Denied`, the same whether there is such a file or not.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let named = Path::new(name);
        let is_plain = named.components().all(|part| !matches!(part, Component::ParentDir));
        let Some(first) = self.folders.first().filter(|_| is_plain && !name.is_empty()) else {
            return Err(refused());
        };
        if named.is_relative() {
            return Ok(first.join(named));
        }
        let mut allowed = self.folders.iter().chain(&self.real);
        if allowed.any(|folder| named.starts_with(folder)) { Ok(named.to_owned()) } else { Err(refused()) }
    }

    /// Whether a path, all links followed, lies inside.
    pub(super) fn holds(&self, real: &Path) -> bool {
        self.real.iter().any(|folder| real.starts_with(folder))
    }

    /// Refuses a file that was opened by a path which leads somewhere else by now.
    pub(super) fn check(&self, file: &File, path: &Path) -> io::Result<()> {
        let real = opened(file, path)?;
        if self.holds(&real) {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, refused().message()))
    }

    /// A text without the folders' places on the machine.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for folder in self.real.iter().chain(&self.folders) {
            let folder = folder.display().to_string();
            // The root folder hides nothing.
            let folder = folder.trim_end_matches('/');
            if !folder.is_empty() {
                text = text.replace(&format!("{folder}/"), "").replace(folder, ".");
            }
        }
        text
    }
}

/// What a file is called that is open.
#[cfg(target_os = "linux")]
fn opened(file: &File, _path: &Path) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn opened(_file: &File, path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}

/// What everybody hears of a file outside.
pub(super) fn refused() -> Error {
    Error::new(
        Kind::Denied,
        "the path does not lie in, or leads out of, the directories that this server loads files from (setting: \
         ingest.load_directories)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_are_refused_before_they_are_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        let fence = Fence::new(std::slice::from_ref(&inside)).unwrap();
        assert_eq!(fence.path("a/b.parquet").unwrap(), inside.join("a/b.parquet"));
        assert_eq!(fence.path("s3://bucket/a").unwrap(), inside.join("s3://bucket/a"), "a name, and no URL");
        assert_eq!(fence.path(inside.join("*.csv").to_str().unwrap()).unwrap(), inside.join("*.csv"));
        for outside in [
            "/etc/passwd",
            "../secret",
            "a/../../secret",
            "",
            "/",
            inside.with_file_name("inner").to_str().unwrap(),
        ] {
            let error = fence.path(outside).unwrap_err();
            assert_eq!(error.kind(), Kind::Denied, "{outside}");
            assert!(!error.message().contains(directory.path().to_str().unwrap()), "{error}");
        }
        let text = format!("cannot read {}/a.csv: no such file in {}", inside.display(), inside.display());
        assert_eq!(fence.hide(&text), "cannot read a.csv: no such file in .");
        assert!(Fence::new(&[directory.path().join("missing")]).is_err());
    }

    /// A file that is exchanged for a link between the look and the opening.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_opened_decides() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, secret) = (directory.path().join("in"), directory.path().join("secret"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(&secret, "x").unwrap();
        std::fs::write(inside.join("plain"), "x").unwrap();
        std::os::unix::fs::symlink(&secret, inside.join("link")).unwrap();
        let fence = Fence::new(std::slice::from_ref(&inside)).unwrap();
        let check = |name: &str| {
            let path = inside.join(name);
            fence.check(&File::open(&path).unwrap(), &path)
        };
        assert!(check("plain").is_ok());
        assert_eq!(check("link").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
