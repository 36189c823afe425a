//! Files of any writer -> put streams, each piece of each file once: what `pintail load` and the action `pintail.load` do.
//! Runs on: the task of the load; threads read. Never: holds a file whole; loads a piece twice unasked; prints.

mod dry_run;
mod files;
mod find;
mod follow;
mod glob;
mod known;
mod meeting;
mod objects;
mod partition;
mod plan;
mod read;
mod reading;
mod report;
mod schema;
mod send;
mod target;
mod walk;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use pintail_protocol::header::{Mode, OnConflict};

pub use self::follow::{Connect, follow};
pub use self::report::{Output, Progress, Summary, grouped};
pub use crate::files::fence::Fence;

use self::files::{Opened, Ways};
use self::find::{DataFile, Finder, Finding};
use self::known::Known;
use self::meeting::Meeting;
use self::reading::Memory;
use self::report::Tally;
use self::send::Sending;
use self::target::Target;
use crate::catalog::TableName;
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::files::sniff::Cause;

/// Put streams at a time, where nobody says how many: some are read and sent while another is committed.
pub const JOBS: usize = 3;

/// What is loaded, where, and how.
#[derive(Clone)]
pub struct Load {
    /// Files, folders, patterns and URLs; `-` for standard input.
    pub files: Vec<OsString>,
    /// Where the rows go.
    pub table: TableName,
    /// What to do about the table. What makes it anew holds for the first part of the whole run, and the rest is appended.
    pub mode: Mode,
    /// What to do about rows whose primary key is there already.
    pub on_conflict: Option<OnConflict>,
    /// Load also what is stored already.
    pub again: bool,
    /// Put streams at a time.
    pub jobs: usize,
    /// Load the other files when one cannot be loaded.
    pub keep_going: bool,
    /// Take columns from folders named `key=value`.
    pub hive: bool,
    /// Add columns that the table does not have.
    pub add_columns: bool,
    /// Give columns of the table a wider type where values need it.
    pub widen: bool,
    /// Files may grow: a last line without its end is left for later.
    pub follow: bool,
    /// Where files may lie, if not everywhere.
    pub fence: Option<Arc<Fence>>,
}

/// Connections to the server that a load goes to.
#[derive(Clone)]
pub struct Clients {
    /// Puts rows and changes the table.
    pub puts: Client,
    /// Asks what the table is, and what of the files is stored.
    pub asks: Client,
}

impl Clients {
    /// One connection for everything.
    pub fn one(client: Client) -> Self {
        Self { puts: client.clone(), asks: client }
    }
}

/// Why nothing, or not everything, was loaded.
#[derive(Debug)]
pub enum Failed {
    /// What was named is not there.
    NotFound(Error),
    /// The load itself.
    Load(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Load(error)
    }
}

impl Load {
    /// Finds the files. What is left out, and is no data, is told.
    ///
    /// Errors: files that cannot be loaded, unless the load keeps going.
    pub async fn find(&self, output: &dyn Output) -> Result<Files, Failed> {
        let mut finder = Finder::new(self.files.clone(), self.finding());
        let found = blocking(move || finder.find()).await.map_err(|error| match error.kind() {
            Kind::NotFound => Failed::NotFound(error),
            _ => Failed::Load(error),
        })?;
        let found = objects::with_objects(found, self.hive).await?;
        let mut unread = Vec::new();
        for skipped in &found.skipped {
            if skipped.refusal.cause == Cause::NotData {
                output.tell(&format!("left out {}", skipped.told()));
            } else {
                unread.push(skipped.told());
            }
        }
        if !self.keep_going
            && let Some(first) = unread.first()
        {
            let more = match unread.len() - 1 {
                0 => String::new(),
                more => format!(" ({} more cannot be loaded either)", report::files(more)),
            };
            let text = format!("{first}{more}; --keep-going loads the others");
            return Err(Error::invalid(format!("nothing was committed to {}: {text}", self.table)).into());
        }
        Ok(Files { found: found.files, unread })
    }

    /// Opens the files, and looks at the table; nothing is sent.
    ///
    /// Errors: as [`Load::find`]; columns that do not go together, or with the table.
    pub async fn open(&self, files: Files, asks: &mut Client) -> Result<Ready> {
        let started = Instant::now();
        let Files { found, unread } = files;
        Ok(Ready { prepared: self.prepare(asks, found).await?, unread, started })
    }

    /// Loads what was opened.
    ///
    /// Errors: the files that could not be loaded; what is in the table all the same, and how to go on.
    pub async fn run(&self, clients: Clients, ready: Ready, output: &dyn Output) -> Result<Summary> {
        let Ready { prepared, unread, started } = ready;
        let (tally, names) = self.load(clients, prepared, output).await?;
        let mut failures = tally.failures(|file| &names[file]);
        failures.extend(unread);
        if failures.is_empty() {
            return Ok(tally.summary(&self.table, started.elapsed(), self.again));
        }
        Err(self.explain(&tally, &names, &failures))
    }

    fn finding(&self) -> Finding {
        let fence = self.fence.clone();
        Finding { hive: self.hive, follow: self.follow, keep_going: self.keep_going, fence }
    }

    /// Whether the table is made, whatever is there.
    fn is_new(&self) -> bool {
        send::is_new(self.mode)
    }

    /// Reads what all files say about themselves, and makes the table fit for them. Nothing is sent.
    async fn prepare(&self, client: &mut Client, files: Vec<DataFile>) -> Result<Prepared> {
        let table = &self.table;
        let target = Target::of(client, table, self.is_new()).await?;
        let begins_anew = target.is_empty || self.is_new();
        let known = if begins_anew || target.schema.is_none() {
            Known::default()
        } else {
            if !self.again {
                known::check_earlier_version(client, table).await?;
            }
            Known::of(client, table).await?
        };
        let given = target.schema.clone();
        let options = schema::Options {
            add_columns: self.add_columns,
            widen: self.widen,
            is_declared: target.is_declared,
        };
        let ways =
            Ways { keep_going: self.keep_going, leaves_open_ends: self.follow, types_are_found: self.widen };
        let files = blocking(move || Opened::open(files, given.as_ref(), options, ways)).await?;
        Ok(Prepared { target, known, files, begins_anew })
    }

    /// Changes the table's columns where the flags say so, and sends what is not there.
    async fn load(
        &self,
        mut clients: Clients,
        prepared: Prepared,
        output: &dyn Output,
    ) -> Result<(Tally, Vec<String>)> {
        let table = &self.table;
        let Prepared { target, known, files, begins_anew } = prepared;
        let mut tally = Tally::of(files.files.len());
        for (file, state) in files.files.iter().zip(&mut tally.files) {
            state.failed = file.content.as_ref().err().cloned();
            state.pieces = file.content.as_ref().map_or(0, |content| content.pieces.len());
        }
        let names = files.files.iter().map(|file| file.data.file.shown.clone()).collect();
        target::change_columns(&mut clients.puts, table, &files.joined.added, &files.joined.widened).await?;
        let parts = files.parts();
        let progress = output.progress(files.rows());
        let mut sending = Sending {
            clients,
            table: table.clone(),
            mode: self.mode,
            on_conflict: self.on_conflict,
            is_again: self.again,
            begins_anew,
            is_void: begins_anew || target.schema.is_none(),
            // Nothing is known of a table that is yet to be made.
            may_overlap: (target.schema.is_some() && !begins_anew && !self.is_new())
                .then_some(!target.has_unique_rows),
            keep_going: self.keep_going,
            jobs: self.jobs,
            files: Arc::new(files),
            known: Arc::new(known),
            meeting: Meeting::default(),
            progress: Arc::clone(&progress),
            memory: Memory::default(),
        };
        let makes_table = target.schema.is_none() || self.is_new();
        let outcome = match sending.files.any_sent() {
            Some(schema) if parts.is_empty() && makes_table => {
                sending.put_nothing(schema).await.map(|answer| tally.add(&answer))
            }
            // Made before its rows come, a new table takes several parts from the beginning.
            Some(schema) if parts.len() > 1 && makes_table && self.mode == Mode::CreateAppend => {
                match sending.make_table(schema).await {
                    Ok(()) => sending.run(parts, &mut tally, output).await,
                    Err(error) => Err(error),
                }
            }
            _ => sending.run(parts, &mut tally, output).await,
        };
        progress.finish();
        if let Err(error) = outcome
            && !tally.has_failed()
        {
            match tally.files.iter_mut().find(|file| !file.is_there()) {
                Some(file) => file.failed = Some(error),
                None => return Err(error),
            }
        }
        Ok((tally, names))
    }

    /// What failed where, what is in the table, and how to go on.
    fn explain(&self, tally: &Tally, names: &[String], failures: &[String]) -> Error {
        let table = &self.table;
        let kind =
            tally.files.iter().find_map(|file| Some(file.failed.as_ref()?.kind())).unwrap_or(Kind::Internal);
        let stored = if tally.has_stored() {
            tally.stored(table, |file| names[file].clone())
        } else if kind == Kind::Unavailable {
            // Nobody knows of a commit whose answer was lost.
            format!("nothing was confirmed for {table}")
        } else {
            format!("nothing was committed to {table}")
        };
        let mends_itself = matches!(
            kind,
            Kind::Unavailable
                | Kind::Exhausted
                | Kind::Deadline
                | Kind::Cancelled
                | Kind::Aborted
                | Kind::Internal
        );
        let next = match self.mode {
            _ if !mends_itself && tally.has_stored() && !self.again && !self.is_new() => {
                "; once that is mended, run the same command again: it loads the rest and doubles nothing"
            }
            _ if self.again && tally.has_stored() => "; run it again without --again to load the rest",
            Mode::Append | Mode::CreateAppend
                if !self.again && (tally.has_stored() || kind == Kind::Unavailable) =>
            {
                "; run the same command again: it loads the rest and doubles nothing"
            }
            Mode::Create | Mode::Replace | Mode::ReplaceExisting if tally.has_stored() => {
                "; run it again with --mode append: it loads the rest and doubles nothing"
            }
            _ => "",
        };
        Error::new(kind, format!("{stored}: {}{next}", failures.join("\n  ")))
    }
}

/// Files that were found.
pub struct Files {
    found: Vec<DataFile>,
    // Those that cannot be loaded, where the load goes on without them.
    unread: Vec<String>,
}

/// Files that were found and opened, and the table that they go into.
pub struct Ready {
    prepared: Prepared,
    unread: Vec<String>,
    started: Instant,
}

impl Ready {
    /// Says what would be loaded and what left out, and shows the table that would come out.
    ///
    /// Errors: a file's plan that is gone; what `output` says.
    pub async fn show(self, load: &Load, output: &dyn Output) -> Result<()> {
        dry_run::show(&load.table, self.prepared, load.again, output).await
    }
}

/// What a load knows before it sends anything.
struct Prepared {
    target: Target,
    known: Known,
    files: Opened,
    /// What was remembered of the table is void.
    begins_anew: bool,
}

/// Runs what reads files off the task.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    #[expect(clippy::disallowed_methods, reason = "files are read on threads of their own")]
    let done = tokio::task::spawn_blocking(work);
    done.await.map_err(|error| Error::internal(format!("the reading thread failed: {error}")))?
}
