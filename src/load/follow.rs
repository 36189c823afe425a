//! Following folders: new files are loaded as they are finished, until something fails for good.
//! Runs on: the task of the load. Never: loads a file that is still written to; stops for one that cannot be loaded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use futures::future::BoxFuture;
use pintail_protocol::header::Mode;

use super::find::{Finder, Found};
use super::report::Output;
use super::{Clients, Failed, Load, blocking};
use crate::client::Client;
use crate::files::input::Stamp;

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

/// What is known from the listings before.
#[derive(Default)]
struct Listings {
    seen: HashMap<String, Seen>,
    /// What was said last about a name; below `""` what was said about the server.
    said: HashMap<String, String>,
    gone_since: Option<Instant>,
}

/// Makes a connection to the server, for each wave of files.
pub type Connect<'a> = &'a (dyn Fn() -> BoxFuture<'a, Result<Client>> + Sync);

/// Lists and loads until something fails for good.
///
/// Errors: what was named is not there; a server that stays away.
pub async fn follow(
    load: &Load,
    connect: Connect<'_>,
    output: &dyn Output,
) -> std::result::Result<(), Failed> {
    let mut finder = Finder::new(load.files.clone(), load.finding());
    let mut listings = Listings::default();
    let mut load = Load { keep_going: true, ..load.clone() };
    loop {
        let listed = blocking(move || {
            let found = finder.find();
            Ok((found, finder))
        });
        let (found, back) = listed.await?;
        finder = back;
        let found = found.map_err(Failed::NotFound)?;
        match super::objects::with_objects(found, load.hive).await {
            Ok(mut found) => {
                listings.say_skipped(&found, output);
                listings.keep_finished(&mut found);
                if !found.files.is_empty() {
                    listings.load(&mut load, found, connect, output).await?;
                }
                tokio::time::sleep(LIST_EVERY).await;
            }
            // A prefix may have nothing below it yet, and a store may be gone for a while.
            Err(error) => {
                output.tell(&format!("{error}; trying again"));
                tokio::time::sleep(LIST_EVERY * 5).await;
            }
        }
    }
}

impl Listings {
    /// Says why files are left out, once for each reason.
    fn say_skipped(&mut self, found: &Found, output: &dyn Output) {
        for skipped in &found.skipped {
            let why = skipped.told();
            if self.is_news(&skipped.shown, &why) {
                output.tell(&format!("left out {why}"));
            }
        }
    }

    fn is_news(&mut self, name: &str, text: &str) -> bool {
        let is_news = self.said.get(name).is_none_or(|said| said != text);
        if is_news {
            self.said.insert(name.to_owned(), text.to_owned());
        }
        is_news
    }

    /// Leaves the files that have not changed since the last listing and are not done.
    fn keep_finished(&mut self, found: &mut Found) {
        found.files.retain(|file| match self.seen.get(&file.file.name) {
            Some(before) if before.stamp == file.stamp => !before.is_done,
            _ => {
                self.seen.insert(file.file.name.clone(), Seen { stamp: file.stamp, is_done: false });
                false
            }
        });
    }

    /// Loads what is finished; what fails and may pass is tried again with the next listing.
    ///
    /// Errors: what has not passed for [`GIVE_UP`].
    async fn load(
        &mut self,
        load: &mut Load,
        found: Found,
        connect: Connect<'_>,
        output: &dyn Output,
    ) -> Result<()> {
        let names: Vec<String> = found.files.iter().map(|file| file.file.name.clone()).collect();
        match wave(load, found, connect, output).await {
            Ok(()) => self.gone_since = None,
            Err(error) if is_passing(&error) => {
                let since = *self.gone_since.get_or_insert_with(Instant::now);
                if since.elapsed() > GIVE_UP {
                    return Err(error);
                }
                let text = error.to_string();
                if self.is_news("", &text) {
                    output.tell(&format!("{text}; trying again"));
                }
                return Ok(());
            }
            Err(error) => output.tell(&error.to_string()),
        }
        for name in names {
            if let Some(file) = self.seen.get_mut(&name) {
                file.is_done = true;
            }
        }
        Ok(())
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
async fn wave(load: &mut Load, found: Found, connect: Connect<'_>, output: &dyn Output) -> Result<()> {
    let started = Instant::now();
    let mut client = connect().await?;
    let prepared = load.prepare(&mut client, found.files).await?;
    let (tally, names) = load.load(Clients::one(client), prepared, output).await?;
    if tally.has_put && load.is_new() {
        // What makes the table anew was for the first part of the whole run.
        load.mode = Mode::Append;
    }
    if let Some(error) =
        tally.files.iter().find_map(|file| file.failed.as_ref().filter(|error| is_passing(error)))
    {
        return Err(error.clone());
    }
    if tally.has_stored() {
        // A reader of our output that is gone stops nothing.
        let _ = output.say(&tally.summary(&load.table, started.elapsed(), false).text);
    }
    for line in tally.failures(|file| &names[file]) {
        output.tell(&line);
    }
    Ok(())
}
