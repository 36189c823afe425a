//! What `pintail load` is given -> the files it means, each once.
//! Runs on: the task of the command. Never: opens a file; follows a loop of links for ever.

use std::collections::HashSet;
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pintail::error::{Error, Result};

use super::source::{ending, unreadable};

/// Files, globs and folders -> the files, sorted within each argument, none twice: a file that has several names, or is
/// reached by several ways, is the one that was named first.
pub(super) fn find_files(arguments: &[String]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut seen = Seen::default();
    for argument in arguments {
        let path = Path::new(argument);
        let mut found = Vec::new();
        let mut matched = true;
        if path.is_dir() {
            // The same folder may stand in two arguments.
            seen.folders.clear();
            matched = walk(path, &mut seen, &mut found)?;
        } else if path.exists() {
            seen.add(path.to_owned(), &mut found)?;
        } else {
            let matches = glob::glob(argument).map_err(|error| {
                Error::invalid(format!("\"{argument}\" is not a file, folder or glob: {error}"))
            })?;
            matched = false;
            for path in matches {
                let path = path.map_err(|error| unreadable(error.path(), error.error()))?;
                if path.is_file() {
                    matched = true;
                    seen.add(path, &mut found)?;
                }
            }
        }
        if !matched {
            return Err(Error::invalid(format!("no .parquet, .arrow or .arrows file at \"{argument}\"")));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// Files and folders met so far, by what they are and not by what they are called.
#[derive(Default)]
struct Seen {
    files: HashSet<(u64, u64)>,
    folders: HashSet<(u64, u64)>,
}

impl Seen {
    fn add(&mut self, path: PathBuf, found: &mut Vec<PathBuf>) -> Result<()> {
        if self.files.insert(identity(&path)?) {
            found.push(path);
        }
        Ok(())
    }
}

/// Device and number of what a path leads to, through all links.
fn identity(path: &Path) -> Result<(u64, u64)> {
    let data = path.metadata().map_err(|error| unreadable(path, error))?;
    Ok((data.dev(), data.ino()))
}

/// Every file below a folder, links followed; whether there is any. A folder that was met before, as in a loop of
/// links, is not walked again.
fn walk(folder: &Path, seen: &mut Seen, found: &mut Vec<PathBuf>) -> Result<bool> {
    if !seen.folders.insert(identity(folder)?) {
        return Ok(false);
    }
    let list = || -> std::io::Result<Vec<(bool, bool, PathBuf)>> {
        let entry = |entry: std::io::Result<DirEntry>| {
            let entry = entry?;
            Ok((entry.file_type()?.is_symlink(), entry.path().is_dir(), entry.path()))
        };
        std::fs::read_dir(folder)?.map(entry).collect()
    };
    let mut entries = list()
        .map_err(|error| Error::invalid(format!("cannot read folder {}: {error}", folder.display())))?;
    // A file keeps the name that is nearest, whatever leads to it besides.
    entries.sort();
    let mut matched = false;
    for (_, is_folder, path) in entries {
        if is_folder {
            matched |= walk(&path, seen, found)?;
        } else if ending(&path).is_some_and(|ending| ["parquet", "arrow", "arrows"].contains(&ending)) {
            matched = true;
            seen.add(path, found)?;
        }
    }
    Ok(matched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::source::Source;

    /// A file is one file, whatever it is called and however it is reached; a loop of links ends; the order is that of
    /// the arguments, and of the names in each.
    #[test]
    fn a_file_is_found_once() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        std::fs::create_dir_all(root.join("in/deep")).unwrap();
        for name in ["b.parquet", "in/c.arrow", "in/deep/d.arrows", "notes.txt"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        std::fs::hard_link(root.join("b.parquet"), root.join("in/hard.parquet")).unwrap();
        symlink(root.join("in/c.arrow"), root.join("a.arrow")).unwrap();
        symlink(root, root.join("in/deep/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let text = |name: &str| root.join(name).display().to_string();
        let check = |arguments: &[String], expected: &[&str]| {
            let found = find_files(arguments).unwrap();
            let found: Vec<_> = found.iter().map(|path| path.strip_prefix(root).unwrap_or(path)).collect();
            assert_eq!(found, expected.iter().map(Path::new).collect::<Vec<_>>(), "{arguments:?}");
        };
        check(&[text("")], &["b.parquet", "in/c.arrow", "in/deep/d.arrows"]);
        check(&[text("in"), text("")], &["in/c.arrow", "in/deep/d.arrows", "in/hard.parquet"]);
        check(
            &[text("in/deep/up/b.parquet"), text("in/./../b.parquet"), text("in/hard.parquet")],
            &["in/deep/up/b.parquet"],
        );
        check(
            &[text("a.arrow"), text("in/*.arrow"), text("in/deep")],
            &["a.arrow", "in/deep/d.arrows", "in/deep/up/b.parquet"],
        );
        let nothing = find_files(&[text("nothing*")]).unwrap_err();
        assert!(nothing.message().contains("no .parquet"), "{nothing}");
        let looped = Source::open(&root.join("loop")).err().unwrap();
        assert!(looped.message().contains("cannot read"), "{looped}");
        let folder = Source::open(root).err().unwrap();
        assert!(folder.message().contains("expected a file"), "{folder}");
    }
}
