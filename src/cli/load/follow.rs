//! `pintail load --follow`: new files are loaded as they are finished, until the command is stopped.
//! Runs on: the task of the command. Never: loads a file that is still written to; stops for one that cannot be loaded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pintail::catalog::TableName;
use pintail::error::{Error, Kind, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::super::Failure;
use super::find::{Finder, Found};
use super::input::Stamp;
use super::{Load, blocking};

/// How often the folders are listed. A file that has not changed from one listing to the next is finished.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// How long a server may be gone before the command gives up.
const GIVE_UP: Duration = Duration::from_secs(300);

/// What is known of a file, by its name.
struct Seen {
    stamp: Stamp,
    /// Loaded, or found not to be loadable, in this state.
    is_done: bool,
}

pub(super) async fn run(load: &Load, table: &TableName, mut finder: Finder) -> Result<(), Failure> {
    let mut seen: HashMap<String, Seen> = HashMap::new();
    let mut told: HashMap<String, String> = HashMap::new();
    let mut gone_since: Option<Instant> = None;
    let cannot = |error| Error::internal(format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    loop {
        let listed = blocking(move || {
            let found = finder.find();
            Ok((found, finder))
        });
        let (found, back) = listed.await?;
        finder = back;
        let found = found.map_err(Failure::Usage)?;
        let mut found = match super::objects::with_objects(found, !load.no_hive).await {
            Ok(found) => found,
            // A prefix may have nothing below it yet, and a store may be gone for a while.
            Err(error) => {
                eprintln!("{error}; trying again");
                tokio::select! {
                    () = tokio::time::sleep(LIST_EVERY * 5) => continue,
                    _ = interrupt.recv() => return Ok(()),
                    _ = terminate.recv() => return Ok(()),
                }
            }
        };
        for skipped in &found.skipped {
            let (name, why) = (skipped.shown.clone(), skipped.told());
            if told.get(&name) != Some(&why) {
                eprintln!("left out {why}");
                told.insert(name, why);
            }
        }
        found.files.retain(|file| match seen.get(&file.file.name) {
            Some(before) if before.stamp == file.stamp => !before.is_done,
            _ => {
                seen.insert(file.file.name.clone(), Seen { stamp: file.stamp, is_done: false });
                false
            }
        });
        if !found.files.is_empty() {
            let names: Vec<String> = found.files.iter().map(|file| file.file.name.clone()).collect();
            let done = tokio::select! {
                done = wave(load, table, found) => done,
                // What is under way is taken back, and loaded by the next command.
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
            };
            match done {
                Ok(()) => gone_since = None,
                Err(error) if is_passing(&error) => {
                    let since = *gone_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > GIVE_UP {
                        return Err(error.into());
                    }
                    let text = error.to_string();
                    if told.get("") != Some(&text) {
                        eprintln!("{text}; trying again");
                        told.insert(String::new(), text);
                    }
                    tokio::select! {
                        () = tokio::time::sleep(LIST_EVERY) => continue,
                        _ = interrupt.recv() => return Ok(()),
                        _ = terminate.recv() => return Ok(()),
                    }
                }
                Err(error) => eprintln!("{error}"),
            }
            for name in names {
                if let Some(file) = seen.get_mut(&name) {
                    file.is_done = true;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LIST_EVERY) => {}
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// A failure that goes away by itself.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Unavailable | Kind::Exhausted | Kind::Deadline | Kind::Cancelled | Kind::Aborted
    )
}

/// Loads the files that are finished.
async fn wave(load: &Load, table: &TableName, found: Found) -> Result<()> {
    let started = Instant::now();
    let mut client = load.remote.connect().await.map_err(Failure::into_error)?;
    let load = Load { keep_going: true, ..load.clone() };
    let prepared = load.prepare(&mut client, table, found.files).await?;
    let (tally, names) = load.load(client, table, prepared).await?;
    if let Some(error) =
        tally.files.iter().find_map(|file| file.failed.as_ref().filter(|error| is_passing(error)))
    {
        return Err(error.clone());
    }
    if tally.has_stored() {
        // A reader of our output that is gone stops nothing.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stdout(),
            format_args!("{}\n", tally.summary(table, started.elapsed(), false)),
        );
    }
    for line in tally.failures(|file| &names[file]) {
        eprintln!("{line}");
    }
    Ok(())
}
