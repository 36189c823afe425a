//! `pintail load`: files of any writer as put streams, each piece of each file once.
//! Runs on: the task of the command; threads read. Never: holds a file whole; loads a piece twice unasked.

mod dry_run;
mod files;
mod find;
mod follow;
mod glob;
mod known;
mod objects;
mod partition;
mod plan;
mod read;
mod report;
mod schema;
mod send;
mod target;
mod walk;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use pintail::catalog::TableName;
use pintail::client::Client;
use pintail::error::{Error, Kind, Result};
use pintail_protocol::action;
use pintail_protocol::header::Mode;

use self::files::{Opened, Ways};
use self::find::{DataFile, Finder, Finding};
use self::known::Known;
use self::report::{Progress, Tally};
use self::send::Sending;
use self::target::Target;
use super::{Failure, Remote};
use pintail::files::sniff::Cause;

/// Put streams at a time, where `--jobs` says nothing: some are read and sent while another is committed.
const JOBS: usize = 3;

/// Flags of `pintail load`.
#[derive(Args, Clone)]
pub(super) struct Load {
    /// Files, folders, globs, URLs (s3, gs, az, https), or - for standard input: Parquet, Arrow, CSV and NDJSON,
    /// told apart by their content
    #[arg(required_unless_present = "forget", value_name = "FILE")]
    files: Vec<OsString>,
    /// Table to load into: table, schema.table or catalog.schema.table
    #[arg(long, value_name = "TABLE", required_unless_present = "forget")]
    table: Option<String>,
    #[command(flatten)]
    remote: Remote,
    /// What to do about the table; create and replace hold for the first part of what is loaded,
    /// about a million rows, and the rest is appended
    #[arg(long, value_enum, default_value = "create-append")]
    mode: LoadMode,
    /// What to do about rows whose primary key is there already
    #[arg(long, value_enum)]
    on_conflict: Option<OnConflict>,
    /// Load everything, also what an earlier load has stored; without this, files and pieces of files that are in the
    /// table already are left out
    #[arg(long)]
    again: bool,
    /// Show what would be loaded and left out, and the columns of the table, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Load new files as they are finished, each once, until it is stopped
    #[arg(long, conflicts_with_all = ["dry_run", "again"])]
    follow: bool,
    /// Put streams at a time
    #[arg(long, value_name = "N", default_value_t = JOBS, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    jobs: usize,
    /// Load the other files when one cannot be loaded
    #[arg(long)]
    keep_going: bool,
    /// Take no columns from folders named key=value
    #[arg(long)]
    no_hive: bool,
    /// What to do about columns that the table does not have
    #[arg(long, value_enum, default_value = "reject")]
    on_new_column: OnNewColumn,
    /// Give columns of the table a wider type where the files' values need it
    #[arg(long)]
    widen: bool,
    /// Forget which files were loaded into this table, so that they can be loaded again; changes no row
    #[arg(long, value_name = "TABLE", conflicts_with_all = ["files", "table"])]
    forget: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LoadMode {
    /// The table must exist
    Append,
    /// The table must not exist
    Create,
    /// Create the table when it does not exist
    #[value(alias = "create_append")]
    CreateAppend,
    /// Make the table anew
    Replace,
}

#[derive(Clone, Copy, ValueEnum)]
enum OnConflict {
    /// Refuse that part of the files
    Error,
    /// Keep the row that is there
    Ignore,
    /// Take the new row
    Replace,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnNewColumn {
    /// Refuse the files
    Reject,
    /// Add the column to the table
    Add,
}

impl LoadMode {
    fn header(self) -> Mode {
        match self {
            LoadMode::Append => Mode::Append,
            LoadMode::Create => Mode::Create,
            LoadMode::CreateAppend => Mode::CreateAppend,
            LoadMode::Replace => Mode::Replace,
        }
    }

    /// Whether the table is made, whatever is there.
    fn is_new(self) -> bool {
        matches!(self, LoadMode::Create | LoadMode::Replace)
    }
}

impl Load {
    pub(super) async fn run(self) -> Result<(), Failure> {
        quiet_readers();
        if let Some(table) = &self.forget {
            return self.forget_files(table).await;
        }
        let table = self.table.as_deref().unwrap_or_default();
        let table = TableName::from_text(table).map_err(Failure::Usage)?;
        let finding = Finding { hive: !self.no_hive, follow: self.follow, keep_going: self.keep_going };
        let mut finder = Finder::new(self.files.clone(), finding);
        if self.follow {
            return follow::run(&self, &table, finder).await;
        }
        let found = blocking(move || finder.find()).await.map_err(|error| match error.kind() {
            // What was named is not there; else the fault is the file's.
            Kind::NotFound => Failure::Usage(error),
            _ => Failure::Work(error),
        })?;
        let found = objects::with_objects(found, !self.no_hive).await?;
        let mut unread = Vec::new();
        for skipped in &found.skipped {
            if skipped.refusal.cause == Cause::NotData {
                eprintln!("left out {}", skipped.told());
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
            return Err(Error::invalid(format!("nothing was committed to {table}: {text}")).into());
        }
        let mut client = self.remote.connect().await?;
        let started = Instant::now();
        let prepared = self.prepare(&mut client, &table, found.files).await?;
        if self.dry_run {
            return dry_run::show(&table, prepared, self.again).await;
        }
        let (tally, names) = self.load(client, &table, prepared).await?;
        let mut failures = tally.failures(|file| &names[file]);
        failures.extend(unread);
        if failures.is_empty() {
            say!("{}", tally.summary(&table, started.elapsed(), self.again));
            return Ok(());
        }
        Err(self.explain(&tally, &table, &names, &failures).into())
    }

    async fn forget_files(&self, text: &str) -> Result<(), Failure> {
        let table = TableName::from_text(text).map_err(Failure::Usage)?;
        let mut client = self.remote.connect().await?;
        // As it was typed: without its quotes, a name with a dot in it is another one.
        let body = serde_json::json!({ "table": text }).to_string();
        let answer = client.action_with(action::FORGET_LOADS, body).await?;
        let pieces = answer["forgotten"].as_u64().unwrap_or_default();
        say!(
            "forgot {} piece{} of files loaded into {table}",
            report::count(pieces),
            if pieces == 1 { "" } else { "s" }
        );
        Ok(())
    }

    /// Reads what all files say about themselves, and makes the table fit for them. Nothing is sent.
    async fn prepare(
        &self,
        client: &mut Client,
        table: &TableName,
        files: Vec<DataFile>,
    ) -> Result<Prepared> {
        let target = Target::of(client, table, self.mode.is_new()).await?;
        let begins_anew = target.is_empty || (self.mode.is_new() && target.schema.is_none());
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
            add_columns: self.on_new_column == OnNewColumn::Add,
            widen: self.widen,
            is_declared: target.is_declared,
        };
        let ways =
            Ways { keep_going: self.keep_going, leaves_open_ends: self.follow, types_are_found: self.widen };
        let is_again = self.again;
        let opened = blocking(move || {
            // All of it is loaded, so none of it is known.
            let none = Known::default();
            let told = if is_again { &none } else { &known };
            Opened::open(files, given.as_ref(), told, options, ways).map(|files| (files, known))
        });
        let (files, known) = opened.await?;
        Ok(Prepared { target, known, files, begins_anew })
    }

    /// Changes the table's columns where the flags say so, and sends what is not there.
    async fn load(
        &self,
        mut client: Client,
        table: &TableName,
        prepared: Prepared,
    ) -> Result<(Tally, Vec<String>)> {
        let Prepared { target, known, files, begins_anew } = prepared;
        let mut tally = Tally::of(files.files.len());
        for (file, state) in files.files.iter().zip(&mut tally.files) {
            state.failed = file.content.as_ref().err().cloned();
            state.pieces = file.content.as_ref().map_or(0, |content| content.pieces.len());
        }
        let names = files.files.iter().map(|file| file.data.file.shown.clone()).collect();
        target::change_columns(&mut client, table, &files.joined.added, &files.joined.widened).await?;
        let parts = files.parts();
        let progress = Progress::start(files.rows());
        let mut sending = Sending {
            client,
            table: table.clone(),
            mode: self.mode,
            on_conflict: self
                .on_conflict
                .and_then(|choice| choice.to_possible_value())
                .map(|value| value.get_name().to_owned()),
            is_again: self.again,
            begins_anew,
            // Nothing is known of a table that is yet to be made.
            may_overlap: (target.schema.is_some() && !begins_anew && !self.mode.is_new())
                .then_some(!target.has_unique_rows),
            keep_going: self.keep_going,
            jobs: self.jobs,
            files: Arc::new(files),
            known: Arc::new(known),
            progress: progress.clone(),
            memory: send::Memory::default(),
        };
        let makes_table = target.schema.is_none() || self.mode.is_new();
        let outcome = match sending.files.any_sent() {
            Some(schema) if parts.is_empty() && makes_table => {
                sending.put_nothing(schema).await.map(|answer| tally.add(&answer))
            }
            // Made before its rows come, a new table takes several parts from the beginning.
            Some(schema) if parts.len() > 1 && makes_table && matches!(self.mode, LoadMode::CreateAppend) => {
                match sending.make_table(schema).await {
                    Ok(()) => sending.run(parts, &mut tally).await,
                    Err(error) => Err(error),
                }
            }
            _ => sending.run(parts, &mut tally).await,
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
    fn explain(&self, tally: &Tally, table: &TableName, names: &[String], failures: &[String]) -> Error {
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
            _ if !mends_itself && tally.has_stored() && !self.again && !self.mode.is_new() => {
                "; once that is mended, run the same command again: it loads the rest and doubles nothing"
            }
            _ if self.again && tally.has_stored() => "; run it again without --again to load the rest",
            LoadMode::Append | LoadMode::CreateAppend
                if !self.again && (tally.has_stored() || kind == Kind::Unavailable) =>
            {
                "; run the same command again: it loads the rest and doubles nothing"
            }
            LoadMode::Create | LoadMode::Replace if tally.has_stored() => {
                "; run it again with --mode append: it loads the rest and doubles nothing"
            }
            _ => "",
        };
        Error::new(kind, format!("{stored}: {}{next}", failures.join("\n  ")))
    }
}

/// A reader that panics on a damaged file becomes an error that names the file; the panic itself says nothing to a person.
fn quiet_readers() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some("main") {
            told(panic);
        }
    }));
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
    #[expect(clippy::disallowed_methods, reason = "a client reads its own files on a thread of its own")]
    let done = tokio::task::spawn_blocking(work);
    done.await.map_err(|error| Error::internal(format!("the reading thread failed: {error}")))?
}
