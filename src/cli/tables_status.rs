//! `pintail tables` and `pintail status`.
//! Runs on: the task of the command.

use std::time::Duration;

use arrow::datatypes::Schema;
use clap::Args;
use futures::StreamExt;
use pintail_protocol::action;
use serde_json::Value;

use super::figures::{grouped, rounded};
use super::schema::status_line;
use super::watch::watch;
use super::{Failure, Remote};

/// Flags of `pintail status`.
#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    remote: Remote,
    /// Show what it does every two seconds, in rates
    #[arg(long)]
    watch: bool,
}

/// Prints every table and view: name, rows, columns.
pub(super) async fn tables(remote: Remote) -> Result<(), Failure> {
    let mut client = remote.connect().await?;
    let mut flights = client.flights().await?;
    let mut rows: Vec<[String; 3]> = Vec::new();
    while let Some(flight) = flights.next().await {
        let flight = flight?;
        let path = flight.flight_descriptor.as_ref().map(|descriptor| descriptor.path.join("."));
        let count = if flight.total_records < 0 { "view".into() } else { grouped(flight.total_records) };
        let columns =
            flight.try_decode_schema().map_or("?".into(), |schema: Schema| schema.fields().len().to_string());
        rows.push([path.unwrap_or_default(), count, columns]);
    }
    if rows.is_empty() {
        say!("no tables yet; `pintail load FILE --table NAME` makes one");
        return Ok(());
    }
    let width = |column: usize, title: &str| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(title.len())
    };
    let (names, counts, columns) = (width(0, "table"), width(1, "rows"), width(2, "columns"));
    say!("{:<names$}  {:>counts$}  {:>columns$}", "table", "rows", "columns");
    for [name, count, width] in &rows {
        say!("{name:<names$}  {count:>counts$}  {width:>columns$}");
    }
    Ok(())
}

impl Status {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut client = self.remote.connect().await?;
        let server = self.remote.uri()?;
        if self.watch {
            return watch(&mut client, &server).await;
        }
        let status = client.action(action::STATUS).await?;
        print_status(&server, &status)?;
        say!("schemas   {}", status_line(&client.action(action::SCHEMAS).await?));
        Ok(())
    }
}

fn print_status(server: &str, status: &Value) -> Result<(), Failure> {
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let size = |path: &str| rounded(number(path));
    let text = |path: &str| status.pointer(path).and_then(Value::as_str).unwrap_or("?").to_owned();
    let uptime = humantime::format_duration(Duration::from_secs(number("/uptime_seconds")));
    let healthy = status.pointer("/database/healthy").and_then(Value::as_bool).unwrap_or(false);
    say!(
        "server    {server}, pintail {}, up {uptime}, {}",
        text("/version"),
        if healthy { "healthy" } else { "lost" }
    );
    say!("database  {} in the file, {} in the log", size("/database/bytes"), size("/database/wal_bytes"));
    say!(
        "memory    {} resident, {} at its peak; engine limit {}",
        size("/memory/resident_bytes"),
        size("/memory/peak_resident_bytes"),
        size("/database/memory_limit_bytes"),
    );
    say!("ingest    {} streams, {} in flight", number("/ingest/streams"), size("/ingest/inflight_bytes"));
    say!("query     {} running, {} waiting", number("/query/running"), number("/query/queued"));
    let holds = status.pointer("/checkpoint/kept_off_by").and_then(Value::as_array);
    for hold in holds.into_iter().flatten() {
        let holder = hold.get("what").and_then(Value::as_str).unwrap_or("?");
        let seconds = hold.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        say!("          {holder} keeps checkpoints off, for {seconds:.0} s");
    }
    Ok(())
}
