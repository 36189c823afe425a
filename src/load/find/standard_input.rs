//! Standard input -> a file that can be read twice.
//! Runs on: the thread that finds files; blocks until the input ends.
//! Never: leaves the copy behind.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};

use crate::files::found::{Copied, FoundFile, Place};
use crate::files::input::{Input, unreadable};
use crate::files::sniff::{Format, Naming, sniff};

/// Copies standard input into a temporary file.
///
/// Errors: `Invalid` when it cannot be read or holds no data, `Exhausted` when there is no room for it.
pub(super) fn standard_input(input: &mut dyn Read) -> Result<(FoundFile, Input, Format)> {
    const SHOWN: &str = "standard input";
    let folder = std::env::temp_dir();
    let no_room = |error: std::io::Error| {
        let text = format!(
            "cannot copy standard input into {}: {error}; set TMPDIR to another folder",
            folder.display()
        );
        Error::new(Kind::Exhausted, text)
    };
    let mut copy = tempfile::tempfile().map_err(no_room)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match input.read(&mut block) {
            Ok(0) => break,
            Ok(count) => copy.write_all(&block[..count]).map_err(no_room)?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(SHOWN, error)),
        }
    }
    let file = FoundFile {
        place: Place::Copied(Copied(Arc::new(copy))),
        // Each is another one, also with the same content, so it is remembered by a name that never comes again.
        name: format!("-:{:032x}", rand::random::<u128>()),
        shown: SHOWN.into(),
        partitions: Vec::new(),
    };
    let input = file.open()?;
    let format = sniff(&input, &Naming { path: None, named: true })?
        .map_err(|refusal| Error::invalid(format!("{SHOWN} {}", refusal.why)))?;
    Ok((file, input, format))
}
