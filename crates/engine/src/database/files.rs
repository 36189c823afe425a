//! The files of a database that nobody has open.

use std::fs::File;
use std::path::{Path, PathBuf};

/// `path` with `.ending` appended.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Makes the name of `path` durable.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Removes a database that nobody has open, with what lies beside it.
pub(crate) fn remove_files(path: &Path) -> std::io::Result<()> {
    let beside = ["wal", "wal.checkpoint", "wal.recovery"].map(|ending| with_ending(path, ending));
    for path in beside.iter().map(PathBuf::as_path).chain([path]) {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
