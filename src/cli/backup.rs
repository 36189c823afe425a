//! `pintail backup` and `pintail restore`.
//! Runs on: the task of the command; a restore on the main thread.
//! Never: writes over a file unasked.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pintail::engine;
use pintail::error::{Error, Kind};
use pintail_protocol::action;
use serde_json::{Value, json};

use super::figures::{grouped, rounded};
use super::{Failure, Remote, is_terminal, schema};

/// How often the server is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Flags of `pintail backup`.
#[derive(Args)]
pub(super) struct Backup {
    /// File to write, on the server's machine: a name in its backup folder (database.backup_directory; by default the
    /// folder of the database) or a path below it
    #[arg(long, value_name = "FILE")]
    to: String,
    #[command(flatten)]
    remote: Remote,
}

/// Flags of `pintail restore`.
#[derive(Args)]
pub(super) struct Restore {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Database file to make of it; no server may have it open
    #[arg(long, value_name = "PATH")]
    database: PathBuf,
    /// Put the backup in the place of a database that is there
    #[arg(long)]
    force: bool,
}

impl Backup {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut client = self.remote.connect().await?;
        let mut watcher = client.clone();
        let bar = bar();
        let body = json!({ "to": self.to }).to_string();
        let watch = async {
            loop {
                tokio::time::sleep(ASK_EVERY).await;
                let Ok(status) = watcher.action(action::STATUS).await else { continue };
                let number = |path: &str| status.pointer(path).and_then(Value::as_u64);
                if let (Some(bytes), Some(of)) = (number("/backup/bytes"), number("/database/bytes")) {
                    // A copy can be larger than a database whose rows are still in its log.
                    bar.set_length(of.max(bytes));
                    bar.set_position(bytes);
                }
            }
        };
        let answer = tokio::select! {
            answer = client.action_with(action::BACKUP, body) => answer,
            () = watch, if is_terminal() => Err(Error::internal("the progress ended before the backup")),
        };
        bar.finish_and_clear();
        let answer = answer?;
        let bytes = answer["bytes"].as_u64().unwrap_or_default();
        let seconds = answer["seconds"].as_f64().unwrap_or_default();
        say!("backed up to {}: {} in {seconds:.2} s", self.to, rounded(bytes));
        Ok(())
    }
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let started = Instant::now();
        let bar = bar();
        bar.set_length(self.from.metadata().map_or(0, |data| data.len()));
        let options = schema::options(self.database.display().to_string());
        let existing = if self.force { engine::Existing::Replace } else { engine::Existing::Keep };
        let restored = engine::restore(&self.from, &options, existing, &mut |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        let restored = restored.map_err(|error| match error.kind() {
            Kind::Invalid | Kind::NotFound | Kind::Exists => Failure::Usage(error),
            _ => Failure::Work(error),
        })?;
        say!(
            "restored {} from {}: {} table{} with {} rows, {} in {:.2} s",
            self.database.display(),
            self.from.display(),
            restored.tables,
            if restored.tables == 1 { "" } else { "s" },
            grouped(i64::try_from(restored.rows).unwrap_or(i64::MAX)),
            rounded(restored.bytes),
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:32} {binary_bytes} of {binary_total_bytes}, {elapsed}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if !is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}
