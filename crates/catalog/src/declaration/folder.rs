//! A folder of declarations -> its files, in the order of their names.
//! Runs on: any thread; blocks for the file system.
//! Never: looks below the folder, or at files that do not end in .toml.

use std::path::Path;

use super::read::SchemaFile;
use crate::error::{Error, Result};

/// The `*.toml` files of `folder`, by name.
///
/// Errors: `Invalid` for a folder or file that cannot be read.
pub fn read_folder(folder: &Path) -> Result<Vec<SchemaFile>> {
    let unreadable = |path: &Path, error: &std::io::Error| {
        Error::invalid(format!("cannot read the declarations in {}: {error}", path.display()))
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            Ok(SchemaFile { name: path.display().to_string(), text })
        })
        .collect()
}
