//! `pintail load`: files as put streams, and `--forget`.
//! Runs on: the task of the command. Never: decides what is loaded, which [`pintail::load`] does.

use std::ffi::OsString;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pintail::catalog::TableName;
use pintail::error::{Error, Kind, Result};
use pintail::load::{self, Clients, Failed, JOBS, Output, Progress, grouped};
use pintail_protocol::action;
use pintail_protocol::header::{self, Mode};
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Remote, is_terminal};

/// How often a line is printed where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Flags of `pintail load`.
#[derive(Args)]
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
    /// What to do about the table; create and replace hold for the first part of the whole run,
    /// about a million rows, and the rest is appended, also with --follow
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

impl From<LoadMode> for Mode {
    fn from(mode: LoadMode) -> Self {
        match mode {
            LoadMode::Append => Mode::Append,
            LoadMode::Create => Mode::Create,
            LoadMode::CreateAppend => Mode::CreateAppend,
            LoadMode::Replace => Mode::Replace,
        }
    }
}

impl From<OnConflict> for header::OnConflict {
    fn from(choice: OnConflict) -> Self {
        match choice {
            OnConflict::Error => header::OnConflict::Error,
            OnConflict::Ignore => header::OnConflict::Ignore,
            OnConflict::Replace => header::OnConflict::Replace,
        }
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotFound(error) => Failure::Usage(error),
            Failed::Load(error) => Failure::Work(error),
        }
    }
}

impl Load {
    pub(super) async fn run(self) -> Result<(), Failure> {
        quiet_readers();
        if let Some(table) = &self.forget {
            return self.forget_files(table).await;
        }
        let table =
            TableName::from_text(self.table.as_deref().unwrap_or_default()).map_err(Failure::Usage)?;
        let load = load::Load {
            files: self.files,
            table,
            mode: self.mode.into(),
            on_conflict: self.on_conflict.map(Into::into),
            again: self.again,
            jobs: self.jobs,
            keep_going: self.keep_going,
            hive: !self.no_hive,
            add_columns: self.on_new_column == OnNewColumn::Add,
            widen: self.widen,
            follow: self.follow,
            fence: None,
        };
        let terminal = Terminal::default();
        let done = match (self.follow, self.dry_run) {
            (true, _) => until_stopped(&load, &self.remote, &terminal).await,
            (false, is_dry) => once(&load, &self.remote, is_dry, &terminal).await,
        };
        if terminal.is_closed.load(Ordering::Relaxed) { Err(Failure::Closed) } else { done }
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
            grouped(i64::try_from(pieces).unwrap_or(i64::MAX)),
            if pieces == 1 { "" } else { "s" }
        );
        Ok(())
    }
}

/// Loads what is there now, or shows what would be.
async fn once(load: &load::Load, remote: &Remote, is_dry: bool, terminal: &Terminal) -> Result<(), Failure> {
    let found = load.find(terminal).await?;
    let mut client = remote.connect().await?;
    let ready = load.open(found, &mut client).await?;
    if is_dry {
        return Ok(ready.show(load, terminal).await?);
    }
    let summary = load.run(Clients::one(client), ready, terminal).await?;
    terminal.say(&summary.text)?;
    Ok(())
}

/// Loads files as they are finished, until a signal comes.
async fn until_stopped(load: &load::Load, remote: &Remote, terminal: &Terminal) -> Result<(), Failure> {
    let cannot = |error| Error::internal(format!("cannot listen for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let connect = || -> futures::future::BoxFuture<'_, _> {
        Box::pin(async { remote.connect().await.map_err(Failure::into_error) })
    };
    tokio::select! {
        // What is under way is taken back, and loaded by the next command.
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        ended = load::follow(load, &connect, terminal) => Ok(ended?),
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

/// Standard output for what is asked for, standard error for the rest.
#[derive(Default)]
struct Terminal {
    // Nobody reads standard output any more, which is no error.
    is_closed: AtomicBool,
}

impl Output for Terminal {
    fn say(&self, line: &str) -> Result<()> {
        writeln!(std::io::stdout(), "{line}").map_err(|error| match Failure::from(error) {
            Failure::Closed => {
                self.is_closed.store(true, Ordering::Relaxed);
                Error::new(Kind::Cancelled, "nobody reads the output any more")
            }
            other => other.into_error(),
        })
    }

    fn tell(&self, line: &str) {
        eprintln!("{line}");
    }

    fn progress(&self, rows: Option<u64>) -> Arc<dyn Progress> {
        Arc::new(Bar::start(rows))
    }
}

/// A bar on a terminal, a line now and then elsewhere.
struct Bar {
    bar: ProgressBar,
    plain: Option<Mutex<Instant>>,
    started: Instant,
}

impl Bar {
    /// For so many rows, where the files say.
    fn start(total: Option<u64>) -> Self {
        let bar = match total {
            Some(rows) => ProgressBar::new(rows)
                .with_style(style("{bar:32} {human_pos} of {human_len} rows, {per_sec}, {eta} left")),
            None => ProgressBar::no_length().with_style(style("{spinner} {human_pos} rows, {per_sec}")),
        };
        if !is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let started = Instant::now();
        Self { bar, plain: (!is_terminal()).then(|| Mutex::new(started)), started }
    }
}

impl Progress for Bar {
    fn advance(&self, rows: u64) {
        self.bar.inc(rows);
        let Some(last) = &self.plain else { return };
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let count = |rows: u64| grouped(i64::try_from(rows).unwrap_or(i64::MAX));
            let sent = self.bar.position();
            let of = self.bar.length().map_or(String::new(), |total| format!(" of {}", count(total)));
            let rate = sent as f64 / self.started.elapsed().as_secs_f64();
            eprintln!("sent {}{of} rows, {} rows/s", count(sent), grouped(rate as i64));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
