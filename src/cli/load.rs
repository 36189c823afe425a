//! `pintail load`: Parquet and Arrow files as put streams, one transaction a file.
//! Runs on: a thread reads and decodes, the task sends. Never: holds a file whole.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::{FileReaderBuilder, StreamReader};
use clap::Args;
use clap::ValueEnum;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pintail::catalog::TableName;
use pintail::client::Client;
use pintail::error::{Error, Result};
use tokio_stream::wrappers::ReceiverStream;

use super::show::grouped;
use super::{Failure, Remote, is_terminal};

/// Rows per batch read from Parquet.
const BATCH_ROWS: usize = 65_536;
/// Batches read ahead of the network.
const READ_AHEAD: usize = 4;
/// How often a line is printed where there is no terminal for a bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

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
    /// What to do about the table; create and replace hold for the first file, the others append
    #[arg(long, value_enum, default_value = "create-append")]
    mode: LoadMode,
    /// What to do about rows whose primary key is there already
    #[arg(long, value_enum)]
    on_conflict: Option<OnConflict>,
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
    /// Refuse the file
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

impl Load {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let table = TableName::from_text(&self.table).map_err(Failure::Usage)?;
        let paths = find_files(&self.files).map_err(Failure::Usage)?;
        // Opened before anything is sent: a file that cannot be read fails the load before it starts.
        let mut files = Vec::new();
        for path in paths {
            files.push(Source::open(&path)?);
        }
        let mut client = Client::connect(&self.remote.server).await?;
        let progress = Progress::start(&files);
        let mut done = (0_usize, 0_u64);
        let total = files.len();
        let started = Instant::now();
        for source in files {
            let path = source.path.clone();
            let mode = if done.0 > 0 && matches!(self.mode, LoadMode::Create | LoadMode::Replace) {
                LoadMode::Append
            } else {
                self.mode
            };
            let mut headers = vec![("pintail-mode", mode.header().to_owned())];
            if let Some(choice) = self.on_conflict {
                let value = choice.to_possible_value().map(|value| value.get_name().to_owned());
                headers.push(("pintail-on-conflict", value.unwrap_or_default()));
            }
            match load_file(&mut client, &table, source, &headers, &progress).await {
                Ok(rows) => done = (done.0 + 1, done.1 + rows),
                Err(error) => {
                    progress.finish();
                    let kept = if done.0 == 0 {
                        format!("nothing was committed to {table}")
                    } else {
                        format!(
                            "{} of {total} files with {} rows were committed to {table}, and nothing of this file",
                            done.0,
                            grouped(i64::try_from(done.1).unwrap_or(i64::MAX))
                        )
                    };
                    return Err(error.context(path.display()).context(kept).into());
                }
            }
        }
        progress.finish();
        let seconds = started.elapsed().as_secs_f64();
        let rate = done.1 as f64 / seconds.max(1e-9);
        println!(
            "loaded {} rows from {} file{} into {table} in {seconds:.2} s ({} rows/s)",
            grouped(i64::try_from(done.1).unwrap_or(i64::MAX)),
            done.0,
            if done.0 == 1 { "" } else { "s" },
            grouped(rate as i64)
        );
        Ok(())
    }
}

async fn load_file(
    client: &mut Client,
    table: &TableName,
    source: Source,
    headers: &[(&'static str, String)],
    progress: &Progress,
) -> Result<u64> {
    let schema = Arc::clone(&source.schema);
    let (sender, batches) = tokio::sync::mpsc::channel(READ_AHEAD);
    #[expect(clippy::disallowed_methods, reason = "a client reads its own files on a thread of its own")]
    let reading = tokio::task::spawn_blocking(move || {
        for batch in source.batches {
            let failed = batch.is_err();
            if sender.blocking_send(batch).is_err() || failed {
                return;
            }
        }
    });
    let bar = progress.clone();
    let batches = ReceiverStream::new(batches).inspect(move |batch| {
        if let Ok(batch) = batch {
            bar.advance(batch.num_rows());
        }
    });
    let answer = client.put(table, schema, batches, headers).await;
    // The reader ends with its channel, whatever became of the put.
    let _ = reading.await;
    answer.map(|answer| answer.rows)
}

/// A file ready to be read.
struct Source {
    path: PathBuf,
    schema: SchemaRef,
    rows: Option<u64>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Error::invalid(format!("cannot read {}: {error}", path.display()))
        };
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        let source = |schema, rows, batches| Self { path: path.to_owned(), schema, rows, batches };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("parquet") => {
                let builder =
                    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(&error))?;
                let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
                let reader =
                    builder.with_batch_size(BATCH_ROWS).build().map_err(|error| unreadable(&error))?;
                let schema = arrow::array::RecordBatchReader::schema(&reader);
                Ok(source(schema, rows, whole(reader)))
            }
            Some("arrow" | "feather") => {
                let reader = FileReaderBuilder::new()
                    .build(BufReader::new(file))
                    .map_err(|error| unreadable(&error))?;
                Ok(source(reader.schema(), None, whole(reader)))
            }
            Some("arrows") => {
                let reader =
                    StreamReader::try_new(BufReader::new(file), None).map_err(|error| unreadable(&error))?;
                Ok(source(reader.schema(), None, whole(reader)))
            }
            _ => Err(unreadable(&"expected a name ending in .parquet, .arrow or .arrows")),
        }
    }
}

fn whole(
    batches: impl Iterator<Item = std::result::Result<RecordBatch, arrow::error::ArrowError>> + Send + 'static,
) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
    Box::new(batches.map(|batch| batch.map_err(Error::from)))
}

/// Files, globs and folders -> the files, sorted within each argument, none twice.
fn find_files(arguments: &[String]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        let mut found = Vec::new();
        if path.is_dir() {
            walk(path, &mut found)?;
        } else if path.exists() {
            found.push(path.to_owned());
        } else {
            let matches = glob::glob(argument).map_err(|error| {
                Error::invalid(format!("\"{argument}\" is not a file, folder or glob: {error}"))
            })?;
            found.extend(matches.flatten().filter(|path| path.is_file()));
        }
        if found.is_empty() {
            return Err(Error::invalid(format!("no .parquet, .arrow or .arrows file at \"{argument}\"")));
        }
        found.sort();
        found.retain(|path| !files.contains(path));
        files.extend(found);
    }
    Ok(files)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| Error::invalid(format!("cannot read folder {}: {error}", folder.display())))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found)?;
        } else if path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| ["parquet", "arrow", "arrows"].contains(&e))
        {
            found.push(path);
        }
    }
    Ok(())
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
