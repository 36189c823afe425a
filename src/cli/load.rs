//! `pintail load`: Parquet and Arrow files as put streams, one transaction a part, each part once.
//! Runs on: a thread reads and decodes, the task sends. Never: holds a file whole; loads a part twice unasked.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use clap::Args;
use clap::ValueEnum;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pintail::catalog::{TableName, quote_text, rejected_name};
use pintail::client::{Client, PutAnswer};
use pintail::error::{Error, Kind, Result};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use xxhash_rust::xxh3::xxh3_64;

use super::files::find_files;
use super::show::grouped;
use super::source::{Part, Source};
use super::{Failure, Remote, is_terminal};

/// How often a line is printed where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// What the keys of loads begin with. Another way to cut files into batches needs another word.
const KEY_WORD: &str = "load";
/// Bytes of a file's name in a key, for people; the server takes keys of up to 256.
const KEY_NAME_BYTES: usize = 100;

/// Flags of `pintail load`.
#[derive(Args)]
pub(super) struct Load {
    /// Files, globs, or folders (every .parquet, .arrow and .arrows file below)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// Table to load into: table, schema.table or catalog.schema.table
    #[arg(long, value_name = "TABLE")]
    table: String,
    #[command(flatten)]
    remote: Remote,
    /// What to do about the table; create and replace hold for the first file and load all
    /// of it, the others append
    #[arg(long, value_enum, default_value = "create-append")]
    mode: LoadMode,
    /// What to do about rows whose primary key is there already
    #[arg(long, value_enum)]
    on_conflict: Option<OnConflict>,
    /// Load everything, also what an earlier load has stored; without this, files and parts of files that are in the
    /// table already are left out
    #[arg(long)]
    again: bool,
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
    /// Refuse that part of the file
    Error,
    /// Keep the row that is there
    Ignore,
    /// Take the new row
    Replace,
}

impl LoadMode {
    fn header(self) -> &'static str {
        match self {
            LoadMode::Append => "append",
            LoadMode::Create => "create",
            LoadMode::CreateAppend => "create_append",
            LoadMode::Replace => "replace",
        }
    }
}

/// What has been done so far.
#[derive(Default)]
struct Tally {
    files: usize,
    // Rows that were dealt with, and of those the ones that are not in the table, or in the place of another.
    rows: u64,
    ignored: u64,
    replaced: u64,
    rejected: u64,
    parts: usize,
    skipped: usize,
    // Parts of the file under way: done, and in all.
    of_file: (usize, usize),
    // Whether a part may be sent while the one before it is being committed; known once the table is there.
    overlaps: Option<bool>,
}

/// A part on its way; dropping it takes it back, unless it is committed.
struct Sending(JoinHandle<Result<PutAnswer>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tally {
    /// Waits for a part to be committed, and counts it.
    async fn count(&mut self, mut part: Sending) -> Result<()> {
        let answer = (&mut part.0)
            .await
            .map_err(|error| Error::internal(format!("a part could not be sent: {error}")))??;
        if answer.duplicate {
            self.skip();
        } else {
            self.parts += 1;
            self.of_file.0 += 1;
            self.rows += answer.rows;
            self.ignored += answer.ignored.unwrap_or_default();
            self.replaced += answer.replaced.unwrap_or_default();
            self.rejected += answer.rejected.unwrap_or_default();
        }
        Ok(())
    }

    /// Rows that are in the table because of this load.
    fn stored(&self) -> u64 {
        self.rows.saturating_sub(self.ignored + self.rejected)
    }

    /// The rows that are in the table, and what became of the others.
    fn rows(&self, table: &TableName) -> String {
        let mut text = format!("{} rows", count(self.stored()));
        for (rows, what) in [(self.replaced, "replaced"), (self.ignored, "ignored")] {
            if rows > 0 {
                text = format!("{text}, {} {what}", count(rows));
            }
        }
        if self.rejected > 0 {
            text = format!("{text}, {} rejected (see {})", count(self.rejected), rejected_name(table));
        }
        text
    }

    /// Counts a part that is there already.
    fn skip(&mut self) {
        self.parts += 1;
        self.of_file.0 += 1;
        self.skipped += 1;
    }
}

impl Load {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let table = TableName::from_text(&self.table).map_err(Failure::Usage)?;
        let paths = find_files(&self.files).map_err(Failure::Usage)?;
        // Opened before anything is sent: a file that cannot be read fails the load before it starts.
        let mut files = Vec::new();
        for path in paths {
            files.push(Source::open(&path)?);
        }
        Source::agree(&mut files);
        let mut client = Client::connect(&self.remote.server).await?;
        let mut keys = Keys::new(&mut client, &table, self.starts_anew()).await?;
        let progress = Progress::start(&files);
        let mut tally = Tally::default();
        let total = files.len();
        let started = Instant::now();
        for source in files {
            let path = source.path.clone();
            let file = keys.file(&path);
            let loaded = self
                .load_file(&mut client, &table, source, (&file, &keys.known), &progress, &mut tally)
                .await;
            if let Err(error) = loaded {
                progress.finish();
                return Err(self.explain(error, &table, &path, &tally, total).into());
            }
            tally.files += 1;
        }
        progress.finish();
        let seconds = started.elapsed().as_secs_f64();
        let rate = tally.rows as f64 / seconds.max(1e-9);
        let there = match tally.skipped {
            0 => String::new(),
            skipped => format!("; {skipped} of {} parts were there already", tally.parts),
        };
        let again = if tally.skipped == tally.parts { " (--again loads them again)" } else { "" };
        say!(
            "loaded {}{} from {} file{} into {table} in {seconds:.2} s ({} rows/s){there}{again}",
            tally.rows(&table),
            if tally.stored() == tally.rows && tally.replaced == 0 { "" } else { "," },
            tally.files,
            if tally.files == 1 { "" } else { "s" },
            grouped(rate as i64)
        );
        Ok(())
    }

    /// Whether nothing that was loaded before counts.
    fn starts_anew(&self) -> bool {
        self.again || matches!(self.mode, LoadMode::Create | LoadMode::Replace)
    }

    async fn load_file(
        &self,
        client: &mut Client,
        table: &TableName,
        source: Source,
        (keys, known): (&FileKeys, &HashSet<String>),
        progress: &Progress,
        tally: &mut Tally,
    ) -> Result<()> {
        tally.of_file = (0, 0);
        let schema = Arc::clone(&source.sent);
        // While one part is being committed, the next one is read already, and sent if the two cannot collide.
        let (sender, mut parts) = tokio::sync::mpsc::channel(1);
        #[expect(clippy::disallowed_methods, reason = "a client reads its own files on a thread of its own")]
        let reading = tokio::task::spawn_blocking(move || source.read(&sender));
        let mut before: Option<Sending> = None;
        while let Some(part) = parts.recv().await {
            let part = part?;
            tally.of_file.1 = part.of;
            let key = keys.key(&part);
            if known.contains(&key) {
                progress.advance(part.rows);
                tally.skip();
                continue;
            }
            let overlaps = match tally.overlaps {
                Some(overlaps) => overlaps,
                None if tally.parts > 0 => *tally.overlaps.insert(!has_unique_rows(client, table).await?),
                None => false,
            };
            if !overlaps && let Some(before) = before.take() {
                tally.count(before).await?;
            }
            let mode = self.mode_of(tally.parts + usize::from(before.is_some()));
            let mut headers =
                vec![("pintail-mode", mode.header().to_owned()), ("pintail-idempotency-key", key)];
            if let Some(choice) = self.on_conflict {
                let value = choice.to_possible_value().map(|value| value.get_name().to_owned());
                headers.push(("pintail-on-conflict", value.unwrap_or_default()));
            }
            let bar = progress.clone();
            let batches = ReceiverStream::new(part.batches).inspect(move |batch| {
                if let Ok(batch) = batch {
                    bar.advance(batch.num_rows());
                }
            });
            let (mut client, table, schema) = (client.clone(), table.clone(), Arc::clone(&schema));
            let put = async move { client.put(&table, schema, batches, &headers).await };
            if let Some(before) = before.replace(Sending(tokio::spawn(put))) {
                tally.count(before).await?;
            }
        }
        if let Some(last) = before {
            tally.count(last).await?;
        }
        reading.await.map_err(|error| Error::internal(format!("the reading thread failed: {error}")))
    }

    /// What a part asks for when `done` were put before it.
    fn mode_of(&self, done: usize) -> LoadMode {
        if done > 0 && matches!(self.mode, LoadMode::Create | LoadMode::Replace) {
            LoadMode::Append
        } else {
            self.mode
        }
    }

    /// What failed where, what is in the table, and how to go on.
    fn explain(&self, error: Error, table: &TableName, path: &Path, tally: &Tally, total: usize) -> Error {
        let (done, of) = tally.of_file;
        let place = if of > 1 {
            format!("{}, part {} of {of}", path.display(), done + 1)
        } else {
            path.display().to_string()
        };
        let rows = tally.rows(table);
        let kept = match (tally.files, done) {
            // Nobody knows of a commit whose answer was lost.
            (0, 0) if error.kind() == Kind::Unavailable => format!("nothing was confirmed for {table}"),
            (0, 0) => format!("nothing was committed to {table}"),
            (files, 0) => format!(
                "{files} of {total} files with {rows} were committed to {table}, and nothing of this file"
            ),
            (files, done) => format!(
                "{files} of {total} files and {done} of {of} parts of this one, with {rows}, were committed to \
                 {table}"
            ),
        };
        let next = match self.mode {
            _ if self.again && tally.parts > 0 => "; run it again without --again to load the rest",
            LoadMode::Append | LoadMode::CreateAppend
                if !self.again && (tally.parts > 0 || error.kind() == Kind::Unavailable) =>
            {
                "; run the same command again: it loads the rest and doubles nothing"
            }
            LoadMode::Create | LoadMode::Replace if tally.parts > 0 => {
                "; run it again with --mode append: it loads the rest and doubles nothing"
            }
            _ => "",
        };
        let error = error.context(place).context(kept);
        Error::new(error.kind(), format!("{}{next}", error.message()))
    }
}

fn count(rows: u64) -> String {
    grouped(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Names for the parts of files, the same in every run, so that the server recognises what it has.
///
/// A name has a generation in it. It is the newest one that the server's ledger knows for the table; a load that
/// starts anew begins the next one. So does a load into a table that is empty or not there: what the ledger knows
/// of it was deleted since.
struct Keys {
    generation: u64,
    // Those that the ledger has.
    known: HashSet<String>,
    table: String,
    // Files of one name in different folders are counted.
    seen: HashMap<String, usize>,
}

/// The names for the parts of one file.
struct FileKeys {
    generation: u64,
    file: u64,
    shown: String,
}

impl Keys {
    async fn new(client: &mut Client, table: &TableName, anew: bool) -> Result<Self> {
        // As the ledger spells it.
        let name = format!("{}.{}", table.schema.as_deref().unwrap_or("main"), table.table).to_lowercase();
        let newest = format!(
            "SELECT coalesce(max(try_cast(split_part(key, ':', 2) AS BIGINT)), 0)::BIGINT \
             FROM pintail_internal.ingest_ledger WHERE key LIKE '{KEY_WORD}:%' AND table_name = {}",
            quote_text(&name)
        );
        let newest =
            number(client, &newest).await?.and_then(|newest| u64::try_from(newest).ok()).unwrap_or(0);
        let anew = anew
            || newest == 0
            || number(client, &format!("SELECT 1::BIGINT FROM {} LIMIT 1", table.to_sql())).await?.is_none();
        let generation = newest + u64::from(anew);
        let mut known = HashSet::new();
        if !anew {
            let sql = format!(
                "SELECT key FROM pintail_internal.ingest_ledger WHERE key LIKE '{KEY_WORD}:{generation}:%' \
                 AND table_name = {}",
                quote_text(&name)
            );
            let mut rows = client.query(&sql, &[]).await?;
            while let Some(batch) = rows.batches.next().await {
                known.extend(batch?.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
            }
        }
        Ok(Self { generation, known, table: name, seen: HashMap::new() })
    }

    fn file(&mut self, path: &Path) -> FileKeys {
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let before = self.seen.entry(name.clone()).or_default();
        *before += 1;
        let file = xxh3_64(format!("{}\0{name}\0{before}", self.table).as_bytes());
        let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || "._-".contains(*letter);
        let shown = name.chars().filter(is_plain).take(KEY_NAME_BYTES).collect();
        FileKeys { generation: self.generation, file, shown }
    }
}

impl FileKeys {
    fn key(&self, part: &Part) -> String {
        let Self { generation, file, shown } = self;
        format!("{KEY_WORD}:{generation}:{file:016x}:{}:{:016x}:{shown}", part.number, part.checksum)
    }
}

/// Whether rows of one part can collide with those of another: two transactions that are open at the same time may
/// not bring the same key, not even where one after the other would be ignored or replaced.
async fn has_unique_rows(client: &mut Client, table: &TableName) -> Result<bool> {
    let of = |names: &str| {
        let schema = table.schema.as_deref().unwrap_or("main");
        format!(
            "FROM {names}() WHERE lower(table_name) = lower({}) AND lower(schema_name) = lower({})",
            quote_text(&table.table),
            quote_text(schema)
        )
    };
    let sql = format!(
        "SELECT ((SELECT count(*) {} AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')) \
         + (SELECT count(*) {} AND is_unique))::BIGINT",
        of("duckdb_constraints"),
        of("duckdb_indexes")
    );
    Ok(number(client, &sql).await?.is_none_or(|count| count > 0))
}

/// The first number of a result; `None` when there is no row, or no such table.
async fn number(client: &mut Client, sql: &str) -> Result<Option<i64>> {
    let mut rows = match client.query(sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    while let Some(batch) = rows.batches.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 {
            return Ok(Some(batch.column(0).as_primitive::<Int64Type>().value(0)));
        }
    }
    Ok(None)
}

/// A bar on a terminal, a line now and then elsewhere.
#[derive(Clone)]
struct Progress {
    bar: ProgressBar,
    plain: Option<Arc<std::sync::Mutex<Instant>>>,
    started: Instant,
}

impl Progress {
    fn start(files: &[Source]) -> Self {
        let total: Option<u64> = files.iter().map(|file| file.rows).sum();
        let bar = match total {
            Some(rows) => ProgressBar::new(rows)
                .with_style(style("{bar:32} {human_pos} of {human_len} rows, {per_sec}, {eta} left")),
            None => ProgressBar::no_length().with_style(style("{spinner} {human_pos} rows, {per_sec}")),
        };
        if !is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let started = Instant::now();
        let plain = (!is_terminal()).then(|| Arc::new(std::sync::Mutex::new(started)));
        Self { bar, plain, started }
    }

    fn advance(&self, rows: usize) {
        self.bar.inc(rows as u64);
        let Some(last) = &self.plain else { return };
        let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let sent = self.bar.position();
            let of = self.bar.length().map_or(String::new(), |total| format!(" of {total}"));
            let rate = sent as f64 / self.started.elapsed().as_secs_f64();
            eprintln!("sent {sent}{of} rows, {} rows/s", grouped(rate as i64));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
