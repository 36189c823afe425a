//! `pintail status --watch`: what the server does, in rates, in lines that fit a terminal of 80 columns.
//! Runs on: the task of the command.
//! Never: takes what happened before it began for a rate.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Float64Type};
use futures::StreamExt;
use pintail::client::Client;
use pintail::error::{Error, Result};
use pintail_protocol::action;
use serde_json::Value;

use super::Failure;
use super::figures::rounded;

/// Columns of a line.
const WIDTH: usize = 80;
/// How often it looks.
const EVERY: Duration = Duration::from_secs(2);
/// Goes to the upper left corner of a terminal and clears it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Counters of the server, and what is under way for longest.
#[derive(Debug, Clone, Default, PartialEq)]
struct Totals {
    rows_in: f64,
    rows_out: f64,
    bytes_in: f64,
    bytes_out: f64,
    puts: f64,
    queries: f64,
    failed: f64,
    cpu: f64,
    connections: f64,
    producers: f64,
    longest: f64,
    statement: String,
}

/// One row; the names are those of [`Totals`].
const SQL: &str = "WITH m AS (SELECT name, labels['direction'] AS way, labels['method'] AS method, labels['code'] AS code, value \
    FROM pintail.metrics), longest AS (SELECT ms / 1000 AS s, \"user\" || '  ' || statement AS what FROM pintail.queries \
    WHERE outcome = 'running' AND NOT contains(statement, 'FROM pintail.metrics') ORDER BY ms DESC LIMIT 1) SELECT \
    coalesce(sum(value) FILTER (name = 'pintail_rows_total' AND way = 'in'), 0)::DOUBLE, \
    coalesce(sum(value) FILTER (name = 'pintail_rows_total' AND way = 'out'), 0)::DOUBLE, \
    coalesce(sum(value) FILTER (name = 'pintail_bytes_total' AND way = 'in'), 0)::DOUBLE, \
    coalesce(sum(value) FILTER (name = 'pintail_bytes_total' AND way = 'out'), 0)::DOUBLE, \
    coalesce(sum(value) FILTER (name = 'pintail_calls_total' AND method = 'DoPut'), 0)::DOUBLE, \
    coalesce(sum(value) FILTER (name = 'pintail_calls_total' AND method IN ('DoGet', 'DoExchange')), 0)::DOUBLE, \
    coalesce(sum(value) FILTER (name = 'pintail_calls_total' AND code <> 'OK'), 0)::DOUBLE, \
    coalesce(sum(value) FILTER (name = 'process_cpu_seconds_total'), 0)::DOUBLE, \
    coalesce(sum(value) FILTER (name = 'pintail_connections'), 0)::DOUBLE, \
    (SELECT count(DISTINCT producer) FROM pintail.producers)::DOUBLE, \
    coalesce((SELECT s FROM longest), 0)::DOUBLE, coalesce((SELECT what FROM longest), '') FROM m";

impl Totals {
    async fn read(client: &mut Client) -> Result<Self> {
        let mut result = client.query(SQL, &[]).await?;
        let nothing = || Error::internal("the server gave no metrics");
        let batch = loop {
            let batch = result.batches.next().await.ok_or_else(nothing)??;
            if batch.num_rows() > 0 {
                break batch;
            }
        };
        let number = |column: usize| -> Result<f64> {
            let column = batch.column(column).as_primitive_opt::<Float64Type>().ok_or_else(nothing)?;
            Ok(column.value(0))
        };
        let text = arrow::compute::cast(batch.column(11), &DataType::Utf8)?;
        Ok(Self {
            rows_in: number(0)?,
            rows_out: number(1)?,
            bytes_in: number(2)?,
            bytes_out: number(3)?,
            puts: number(4)?,
            queries: number(5)?,
            failed: number(6)?,
            cpu: number(7)?,
            connections: number(8)?,
            producers: number(9)?,
            longest: number(10)?,
            statement: text.as_string::<i32>().value(0).to_owned(),
        })
    }
}

/// Shows it until it is interrupted, or the reader of the output has gone.
pub(super) async fn watch(client: &mut Client, server: &str) -> std::result::Result<(), Failure> {
    let mut before = (Instant::now(), Totals::read(client).await?);
    let is_terminal = std::io::stdout().is_terminal();
    loop {
        tokio::time::sleep(EVERY).await;
        let status = client.action(action::STATUS).await?;
        let now = (Instant::now(), Totals::read(client).await?);
        let seconds = (now.0 - before.0).as_secs_f64();
        let lines = lines(server, &status, &before.1, &now.1, seconds);
        let clear = if is_terminal { CLEAR } else { "" };
        let mut output = std::io::stdout();
        write!(output, "{clear}{}\n\n", lines.join("\n"))?;
        output.flush()?;
        before = now;
    }
}

fn lines(server: &str, status: &Value, before: &Totals, now: &Totals, seconds: f64) -> Vec<String> {
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let size = |path: &str| rounded(number(path));
    let rate = |of: fn(&Totals) -> f64| ((of(now) - of(before)) / seconds).max(0.0);
    let bytes = |of: fn(&Totals) -> f64| format!("{}/s", rounded(rate(of) as u64));
    let state = if status.pointer("/database/healthy").and_then(Value::as_bool).unwrap_or(false) {
        "healthy"
    } else {
        "LOST"
    };
    let version = status.pointer("/version").and_then(Value::as_str).unwrap_or("?");
    let uptime = humantime::format_duration(Duration::from_secs(number("/uptime_seconds")));
    let mut lines = vec![
        format!("{server}  pintail {version}  up {uptime}  {state}"),
        format!(
            "in       {:>12} rows/s  {:>12}  {:>5} streams  {:>10} in flight",
            count(rate(|totals| totals.rows_in)),
            bytes(|totals| totals.bytes_in),
            number("/ingest/streams"),
            size("/ingest/inflight_bytes")
        ),
        format!(
            "out      {:>12} rows/s  {:>12}  {:>5} running  {:>10} waiting",
            count(rate(|totals| totals.rows_out)),
            bytes(|totals| totals.bytes_out),
            number("/query/running"),
            number("/query/queued")
        ),
        format!(
            "calls    {:>12} puts/s  {:>10.1} q/s  {:>6.1} failed/s",
            format!("{:.1}", rate(|totals| totals.puts)),
            rate(|totals| totals.queries),
            rate(|totals| totals.failed)
        ),
        format!(
            "memory   {} resident, {} at its peak, engine limit {}",
            size("/memory/resident_bytes"),
            size("/memory/peak_resident_bytes"),
            size("/database/memory_limit_bytes")
        ),
        format!("cpu      {:.0}%", rate(|totals| totals.cpu) * 100.0),
        format!(
            "disk     {} in the log, {} in the file",
            size("/database/wal_bytes"),
            size("/database/bytes")
        ),
        format!(
            "clients  {:.0} connections, {} sessions, {} transactions, {:.0} producers",
            now.connections,
            number("/session/sessions"),
            number("/session/transactions"),
            now.producers
        ),
    ];
    if !now.statement.is_empty() {
        lines.push(format!("longest  {:.1} s  {}", now.longest, now.statement));
    }
    let holds = status.pointer("/checkpoint/kept_off_by").and_then(Value::as_array);
    for hold in holds.into_iter().flatten() {
        let holder = hold.get("what").and_then(Value::as_str).unwrap_or("?");
        let seconds = hold.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        lines.push(format!("held up  {seconds:.0} s  {holder} keeps checkpoints off"));
    }
    lines.iter().map(|line| cut(line)).collect()
}

/// A rate to be read: 1,234,567 or 0.5.
fn count(rate: f64) -> String {
    if rate < 10.0 && rate > 0.0 { format!("{rate:.1}") } else { super::figures::grouped(rate as i64) }
}

fn cut(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    line.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_of_the_time_between_two_looks_and_lines_fit() {
        let before = Totals { rows_in: 1e9, bytes_in: 1e6, cpu: 7.0, ..Totals::default() };
        let now = Totals {
            rows_in: 1e9 + 2_469_134.0,
            bytes_in: 1e6 + (2 << 20) as f64,
            queries: 5.0,
            cpu: 10.0,
            connections: 4.0,
            longest: 12.34,
            statement: format!("ada  SELECT {}", "x".repeat(200)),
            ..before.clone()
        };
        let status = json!({
            "version": "0.1.0", "uptime_seconds": 63, "database": { "healthy": true, "wal_bytes": 1 << 20 },
            "ingest": { "streams": 3, "inflight_bytes": 7 << 20 },
            "checkpoint": { "kept_off_by": [{ "what": "a put", "seconds": 3.0 }] },
        });
        let lines = lines("grpc://127.0.0.1:8815", &status, &before, &now, 2.0);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert_eq!(lines[0], "grpc://127.0.0.1:8815  pintail 0.1.0  up 1m 3s  healthy");
        assert_eq!(
            lines[1],
            "in          1,234,567 rows/s     1.0 MiB/s      3 streams     7.0 MiB in flight"
        );
        assert!(lines[3].contains("2.5 q/s") && lines[5].contains("150%"), "{lines:#?}");
        assert!(lines[8].starts_with("longest  12.3 s  ada  SELECT x") && lines[8].ends_with('…'));
        assert!(lines[9].contains("a put keeps checkpoints off"));
    }
}
