//! Objects of stores among the files of a load.
//! Runs on: the task of the command lists; a thread looks at first bytes. Never: opens an object that is known.

use std::path::Path;

use crate::error::{Error, Result};

use super::blocking;
use super::find::{DataFile, Found, Skipped};
use super::partition::folders_of;
use crate::files::sniff::{Naming, sniff};
use crate::files::store;

/// Lists the URLs of `found` and puts their objects where their arguments stand.
///
/// Errors: what the store says; an object that was named and is no data.
pub(super) async fn with_objects(mut found: Found, hive: bool) -> Result<Found> {
    for (argument, url) in std::mem::take(&mut found.urls) {
        let objects = store::find(&url).await?;
        let is_named = objects.len() == 1;
        let looked = blocking(move || {
            let mut files = Vec::new();
            let mut skipped = Vec::new();
            for (mut file, key) in objects {
                if hive {
                    // By the whole name, whatever part of it was listed.
                    file.partitions = folders_of(Path::new(&file.name))?;
                }
                let input = file.open()?;
                let naming = Naming { path: Some(Path::new(&key)), named: is_named };
                match sniff(&input, &naming)? {
                    Ok(format) => files.push(DataFile { stamp: input.stamp(), file, format, argument }),
                    Err(refusal) => skipped.push(Skipped { shown: file.shown, refusal }),
                }
            }
            Ok((files, skipped))
        });
        let (files, skipped) = looked.await?;
        if let (true, [only]) = (files.is_empty(), skipped.as_slice()) {
            return Err(Error::unsupported(only.told()));
        }
        let at = found.files.partition_point(|file| file.argument <= argument);
        let known: std::collections::HashSet<String> =
            found.files.iter().map(|file| file.file.name.clone()).collect();
        let new = files.into_iter().filter(|file| !known.contains(&file.file.name));
        found.files.splice(at..at, new.collect::<Vec<_>>());
        found.skipped.extend(skipped);
    }
    Ok(found)
}
