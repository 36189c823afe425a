//! A pattern of paths -> the paths that match it.
//! Runs on: threads that read; blocks. Never: passes over a name that is not UTF-8, or matches a hidden one by a wildcard.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use glob::Pattern;

use super::walk::{is_hidden, is_partition};

/// Paths in the order of their names, and folders that could not be looked into.
#[derive(Default)]
pub(super) struct Matches {
    pub(super) paths: Vec<PathBuf>,
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
}

pub(super) fn is_pattern(argument: &str) -> bool {
    argument.contains(['*', '?', '['])
}

/// The last part of a pattern, which says what kind of files is meant.
pub(super) fn last_part(pattern: &str) -> &str {
    pattern.trim_end_matches('/').rsplit('/').next().unwrap_or(pattern)
}

/// Part by part, because the crate's own walk leaves out names that are not UTF-8 without a word.
pub(super) fn expand(pattern: &str) -> Result<Matches> {
    let mut matches = Matches::default();
    let mut paths = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "" })];
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len() && !pattern.ends_with('/');
        let mut next = Vec::new();
        if *part == "**" {
            for path in &paths {
                matches.folders_below(path, &mut next);
            }
        } else if is_pattern(part) {
            let wanted = Pattern::new(part).map_err(|error| {
                Error::not_found(format!("\"{pattern}\" is no pattern of paths: {error}"))
            })?;
            for path in &paths {
                for name in matches.list(path) {
                    let child = path.join(&name);
                    let visible = !is_hidden(&name)
                        || part.starts_with(['.', '_'])
                        || (is_partition(&name) && child.is_dir());
                    if visible && wanted.matches(&name.to_string_lossy()) && (last || child.is_dir()) {
                        next.push(child);
                    }
                }
            }
        } else {
            next.extend(
                paths.iter().map(|path| path.join(part)).filter(|path| path.symlink_metadata().is_ok()),
            );
        }
        paths = next;
    }
    paths.sort();
    paths.dedup();
    matches.paths = paths;
    Ok(matches)
}

impl Matches {
    fn list(&mut self, folder: &Path) -> Vec<OsString> {
        let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let list =
            || std::fs::read_dir(place)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>();
        list().unwrap_or_else(|error| {
            self.unreadable.push((folder.to_owned(), error));
            Vec::new()
        })
    }

    /// The folder and all folders below it, each once, links followed.
    fn folders_below(&mut self, top: &Path, found: &mut Vec<PathBuf>) {
        let mut met = HashSet::new();
        let (mut folders, mut links) = (vec![top.to_owned()], Vec::new());
        // What is reached without links keeps the name that is its own.
        while let Some(folder) = folders.pop().or_else(|| links.pop()) {
            let place = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            let Ok(data) = place.metadata() else { continue };
            if !data.is_dir() || !met.insert((data.dev(), data.ino())) {
                continue;
            }
            for name in self.list(&folder) {
                if is_hidden(&name) && !is_partition(&name) {
                    continue;
                }
                let child = folder.join(name);
                match child.symlink_metadata() {
                    Ok(data) if data.is_dir() => folders.push(child),
                    Ok(data) if data.is_symlink() && child.is_dir() => links.push(child),
                    _ => {}
                }
            }
            found.push(folder);
        }
    }
}
