//! DoPut: a stream of rows into a table, native or Flight SQL, and statements that change something.
//! Runs on: the task of the call.
//! Never: answers before COMMIT has returned; reads on when the budget is used up.

use std::time::{Duration, Instant};

use arrow_flight::sql::DoPutUpdateResult;
use arrow_flight::{FlightData, PutResult};
use futures::StreamExt;
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Streaming};

use super::call::Call;
use super::decode::{Decoded, Decoder};
use super::descriptor::{self, Write};
use super::wire::Ended;
use super::{FlightServer, header};
use crate::catalog::TableName;
use crate::error::{Error, Kind, Result};
use crate::ingest::{Mode, Put, PutRequest, PutSummary};
use crate::query::RunOptions;

impl FlightServer {
    /// Takes one DoPut stream to its commit and gives its one answer.
    pub(super) async fn put(
        &self,
        request: Request<Streaming<FlightData>>,
        call: &mut Call,
    ) -> Result<PutResult> {
        let headers = PutHeaders::read(request.metadata(), self.auto_create)?;
        let options = header::run_options(request.metadata())?;
        let ended = request.extensions().get::<Ended>().cloned().unwrap_or_default();
        let mut messages = Messages { stream: request.into_inner(), ended };
        let first = messages.next().await?.ok_or_else(|| {
            Error::invalid("the put stream is empty; expected a FlightDescriptor and a schema")
        })?;
        let target = first
            .flight_descriptor
            .as_ref()
            .ok_or_else(|| Error::invalid("the first message of a put must carry a FlightDescriptor"))
            .and_then(descriptor::write)?;
        match target {
            Write::Table(table) => {
                call.what = table.to_string();
                let summary = self.rows(first, messages, table, headers.mode, call).await?;
                let answer = serde_json::json!({
                    "table": summary.table.to_string(),
                    "rows": summary.rows,
                    "durable": true,
                    "duplicate": false,
                });
                Ok(PutResult { app_metadata: answer.to_string().into() })
            }
            Write::Ingest(table, mode) => {
                call.what = table.to_string();
                let summary = self.rows(first, messages, table, mode, call).await?;
                Ok(update_result(summary.rows))
            }
            Write::Update(sql) => {
                call.what = crate::error::shorten(&sql, 200);
                let rows = self.update(sql, options).await?;
                call.rows = rows;
                Ok(update_result(rows))
            }
        }
    }

    /// Takes the rows of one stream to their commit, or back again.
    async fn rows(
        &self,
        first: FlightData,
        messages: Messages,
        table: TableName,
        mode: Mode,
        call: &mut Call,
    ) -> Result<PutSummary> {
        let mut put = None;
        let received = self.receive(first, messages, &table, mode, &mut put, call).await;
        let (decode, put) = match (received, put) {
            (Ok(decode), Some(put)) => (decode, put),
            (Ok(_), None) => {
                return Err(Error::invalid(format!("table {table}: the put stream carried no schema")));
            }
            (Err(error), put) => {
                // Rolled back before the client hears of it: a retry must not meet the remains.
                if let Some(put) = put {
                    put.abort().await;
                }
                return Err(error);
            }
        };
        let summary = put.finish().await?;
        call.rows = summary.rows;
        call.stage("queue", summary.timings.queue);
        call.stage("decode", decode);
        call.stage("conform", summary.timings.conform);
        call.stage("append", summary.timings.append);
        call.stage("commit", summary.timings.commit);
        crate::metrics::rows_in(summary.rows, call.bytes);
        Ok(summary)
    }

    /// Feeds a put until the client says that it is done; gives the time spent on decoding.
    async fn receive(
        &self,
        first: FlightData,
        mut messages: Messages,
        table: &TableName,
        mode: Mode,
        put: &mut Option<Put>,
        call: &mut Call,
    ) -> Result<Duration> {
        let mut decoder = Decoder::default();
        let mut decode = Duration::ZERO;
        let mut message = first;
        loop {
            let started = Instant::now();
            let decoded = decoder.decode(message)?;
            decode += started.elapsed();
            match decoded {
                Decoded::Schema(schema) => {
                    *put = Some(self.ingest.begin(PutRequest { table: table.clone(), schema, mode })?);
                }
                Decoded::Batch(batch, held_bytes) => {
                    let put =
                        put.as_mut().ok_or_else(|| Error::invalid("rows arrived before their schema"))?;
                    call.rows += batch.num_rows() as u64;
                    call.bytes += held_bytes as u64;
                    put.send(batch, held_bytes).await?;
                }
                Decoded::Nothing => {}
            }
            let following = match put.as_mut() {
                None => messages.next().await?,
                // Watch the writer while the client is quiet, so that a refusal does not wait for rows.
                Some(put) => tokio::select! {
                    following = messages.next() => following?,
                    error = put.failure() => return Err(error),
                },
            };
            match following {
                Some(following) => message = following,
                None => return Ok(decode),
            }
        }
    }

    /// Runs a statement for its count of changed rows.
    async fn update(&self, sql: String, options: RunOptions) -> Result<u64> {
        let mut result = self.query.run(sql, options).await?;
        let mut rows = 0;
        while let Some(batch) = result.next().await {
            rows += super::get::changed_rows(&batch?, result.class());
        }
        Ok(rows)
    }
}

/// The messages of a put, told apart from a client that left.
struct Messages {
    stream: Streaming<FlightData>,
    ended: Ended,
}

impl Messages {
    /// The next message, or `None` when the client has said that it is done.
    async fn next(&mut self) -> Result<Option<FlightData>> {
        let left = || {
            let text = "the client left before the end of the stream; nothing was stored";
            Error::new(Kind::Cancelled, text)
        };
        match self.stream.message().await {
            Ok(Some(message)) => Ok(Some(message)),
            Ok(None) if self.ended.properly() => Ok(None),
            Ok(None) => Err(left()),
            Err(status) => Err(match status.code() {
                // tonic's own word for a message above `max_decoding_message_size`.
                Code::OutOfRange | Code::ResourceExhausted => Error::exhausted(
                    "server.max_message_bytes",
                    format!("a message of the put is too large: {}; send smaller batches", status.message()),
                ),
                Code::Cancelled => left(),
                _ => left().context(status.message()),
            }),
        }
    }
}

fn update_result(rows: u64) -> PutResult {
    let result = DoPutUpdateResult { record_count: i64::try_from(rows).unwrap_or(i64::MAX) };
    PutResult { app_metadata: result.encode_to_vec().into() }
}

/// Request headers of a native put (README, "Putting rows").
struct PutHeaders {
    mode: Mode,
}

impl PutHeaders {
    fn read(metadata: &MetadataMap, auto_create: bool) -> Result<Self> {
        let mode = match header::text(metadata, "pintail-mode")? {
            None if auto_create => Mode::CreateAppend,
            None => Mode::Append,
            Some("append") => Mode::Append,
            Some("create") => Mode::Create,
            Some("create_append") => Mode::CreateAppend,
            Some("replace") => Mode::Replace,
            Some(other) => {
                return Err(Error::invalid(format!(
                    "header pintail-mode: expected append, create, create_append or replace, found \"{other}\""
                )));
            }
        };
        // A promise that this version cannot keep must not be taken silently.
        header::only(metadata, "pintail-commit", "stream")?;
        header::only(metadata, "pintail-on-conflict", "error")?;
        for name in ["pintail-idempotency-key", "pintail-producer", "pintail-epoch"] {
            if header::text(metadata, name)?.is_some() {
                return Err(Error::unsupported(format!("header {name} is not supported by this server yet")));
            }
        }
        Ok(Self { mode })
    }
}
