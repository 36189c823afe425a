//! Room on the disks that the server writes to.

use std::path::{Path, PathBuf};

use pintail::config::Config;

use super::Finding;
use crate::cli::figures::rounded;

/// Less than this is too little to work with.
const LEAST_BYTES: u64 = 1 << 30;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    if config.database.path == ":memory:" {
        return vec![Finding::note("disk", "the database is in memory, and gone when the server stops")];
    }
    let folder = folder_of(&config.database.path);
    let temp = config
        .database
        .temp_directory
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{}.tmp", config.database.path)));
    let mut findings = Vec::new();
    // A checkpoint writes what is in the log once more, beside what it replaces.
    let needed = LEAST_BYTES.max(config.database.checkpoint_bytes.0.saturating_mul(4));
    findings.push(match free(&folder) {
        Ok(free) => database(free, needed, &folder),
        Err(why) => {
            Finding::wrong("disk", format!("folder {} of database.path: {why}; make it", folder.display()))
        }
    });
    if let Ok(free) = free(&nearest(&temp)) {
        findings.push(spilling(free, config.database.max_temp_size.0, &temp));
    }
    findings
}

fn database(free: u64, needed: u64, folder: &Path) -> Finding {
    let text = format!("{} free in {}", rounded(free), folder.display());
    if free < needed {
        let more = rounded(needed);
        return Finding::wrong(
            "disk",
            format!("{text}, and {more} should be; make room, or move database.path"),
        );
    }
    Finding::right("disk", text)
}

fn spilling(free: u64, max: u64, temp: &Path) -> Finding {
    let text = format!("{} free for {}", rounded(free), temp.display());
    if free < max {
        return Finding::note(
            "spill",
            format!("{text}, and database.max_temp_size lets queries take {}; set it lower", rounded(max)),
        );
    }
    Finding::right("spill", text)
}

fn folder_of(path: &str) -> PathBuf {
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// The folder itself, or the nearest one above it that is there.
fn nearest(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find(|folder| folder.is_dir());
    there.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// Bytes that this user may still write where a folder is.
fn free(folder: &Path) -> Result<u64, String> {
    let room = rustix::fs::statvfs(folder).map_err(|error| std::io::Error::from(error).to_string())?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn a_disk_that_is_nearly_full_is_wrong() {
        assert_eq!(database(LEAST_BYTES, LEAST_BYTES, Path::new(".")).verdict, Verdict::Right);
        let full = database(LEAST_BYTES - 1, LEAST_BYTES, Path::new("/data"));
        assert_eq!(full.verdict, Verdict::Wrong);
        assert!(full.text.contains("/data") && full.text.contains("1.0 GiB should be"), "{}", full.text);
        assert_eq!(spilling(10, 11, Path::new(".")).verdict, Verdict::Note);
        assert_eq!(spilling(11, 11, Path::new(".")).verdict, Verdict::Right);
    }

    #[test]
    fn room_is_that_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(folder.path()).unwrap() > 0);
        assert!(free(&folder.path().join("none")).is_err());
        assert_eq!(nearest(&folder.path().join("none/deeper")), folder.path());
    }
}
