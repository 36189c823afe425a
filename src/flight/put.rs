//! DoPut: a stream of rows into a table, native or Flight SQL, and statements that change something.
//! Runs on: the task of the call.
//! Never: answers before COMMIT has returned; reads on when the budget is used up.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::{DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, FlightDescriptor, PutResult};
use prost::Message;
use tonic::{Code, Request, Streaming};

use super::FlightServer;
use super::call::Call;
use super::caller::Caller;
use super::decode::{Decoded, Decoder};
use super::descriptor::{self, Write};
use super::get::count_changed;
use super::header::Options;
use super::info::full_name;
use super::wire::Ended;
use crate::catalog::TableName;
use crate::error::{Error, Kind, Result};
use crate::ingest::{Mode, Put, PutRequest, PutSummary, Target};
use crate::query::{RunOptions, Statement};
use crate::session::{ClientSession, Lease, On};

impl FlightServer {
    /// Takes one DoPut stream to its commit and gives its one answer.
    pub(super) async fn put(
        &self,
        caller: &Caller,
        request: Request<Streaming<FlightData>>,
        call: &mut Call,
    ) -> Result<PutResult> {
        let session = &caller.session;
        let options = Options::new(request.metadata(), session);
        let mode = options.mode(self.auto_create)?;
        let run_options = options.run_options()?;
        // A promise that this version cannot keep must not be taken silently.
        options.only("pintail-commit", "stream")?;
        options.only("pintail-on-conflict", "error")?;
        for name in ["pintail-idempotency-key", "pintail-producer", "pintail-epoch"] {
            if options.text(name)?.is_some() {
                return Err(Error::unsupported(format!("header {name} is not supported by this server yet")));
            }
        }
        let (incoming, descriptor) = Incoming::open(request, "put").await?;
        match descriptor::write(&descriptor)? {
            Write::Table(table) => {
                call.what = table.to_string();
                let lease = session.lease(On::Join).await?;
                let target = target(session, table.clone(), mode, false)?;
                let summary = self.rows(Some(incoming), target, lease, None, call).await?;
                let answer = serde_json::json!({
                    "table": table.to_string(),
                    "rows": summary.rows,
                    "durable": summary.durable,
                    "duplicate": false,
                });
                Ok(PutResult { app_metadata: answer.to_string().into() })
            }
            Write::Ingest { table, mode, temporary, on } => {
                call.what = table.to_string();
                let target = target(session, table, mode, temporary)?;
                let lease = session.lease(on).await?;
                let summary = self.rows(Some(incoming), target, lease, None, call).await?;
                Ok(update_result(summary.rows))
            }
            Write::Update(sql, on) => {
                call.what = crate::error::shorten(&sql, 200);
                let lease = session.lease(on).await?;
                let rows = self.update(lease, sql, run_options).await?;
                call.rows = rows;
                Ok(update_result(rows))
            }
            Write::Bind(handle) => {
                let handle = self.bind(session, handle, incoming, call).await?;
                let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
                Ok(PutResult { app_metadata: result.encode_to_vec().into() })
            }
            Write::PreparedUpdate(handle) => {
                let rows = self.prepared_update(session, handle, incoming, run_options, call).await?;
                Ok(update_result(rows))
            }
        }
    }

    /// Takes the rows of one stream to their commit, or back again. `begun` are batches that are there already,
    /// and the columns of each batch that go in, in their order; without a stream they are all.
    pub(super) async fn rows(
        &self,
        incoming: Option<Incoming>,
        target: Target,
        lease: Lease,
        begun: Option<(Vec<RecordBatch>, Vec<usize>)>,
        call: &mut Call,
    ) -> Result<PutSummary> {
        let mut put = None;
        let received = self.receive(incoming, target, lease, begun, &mut put, call).await;
        let (decode, put) = match (received, put) {
            (Ok(decode), Some(put)) => (decode, put),
            (Ok(_), None) => {
                return Err(Error::invalid(format!("table {}: the put stream carried no schema", call.what)));
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
        incoming: Option<Incoming>,
        target: Target,
        lease: Lease,
        begun: Option<(Vec<RecordBatch>, Vec<usize>)>,
        put: &mut Option<Put>,
        call: &mut Call,
    ) -> Result<Duration> {
        let mut opening = Some((target, lease));
        let mut begin = |schema: SchemaRef| {
            let (target, lease) =
                opening.take().ok_or_else(|| Error::internal("a stream began a second time"))?;
            self.ingest.begin(PutRequest { target, schema, lease })
        };
        let mut columns = None;
        if let Some((batches, wanted)) = begun {
            for batch in batches {
                let batch = batch.project(&wanted)?;
                let open = match put {
                    Some(open) => open,
                    None => put.insert(begin(batch.schema())?),
                };
                let held_bytes = batch.get_array_memory_size();
                call.bytes += held_bytes as u64;
                open.send(batch, held_bytes).await?;
            }
            columns = Some(wanted);
        }
        let Some(mut incoming) = incoming else { return Ok(Duration::ZERO) };
        loop {
            let following = match put.as_mut() {
                None => incoming.next().await?,
                // Watch the writer while the client is quiet, so that a refusal does not wait for rows.
                Some(put) => tokio::select! {
                    following = incoming.next() => following?,
                    error = put.failure() => return Err(error),
                },
            };
            match following {
                None => return Ok(incoming.decode),
                Some(Decoded::Schema(schema)) => *put = Some(begin(schema)?),
                Some(Decoded::Batch(batch, held_bytes)) => {
                    let put =
                        put.as_mut().ok_or_else(|| Error::invalid("rows arrived before their schema"))?;
                    call.rows += batch.num_rows() as u64;
                    call.bytes += held_bytes as u64;
                    let batch = match &columns {
                        Some(columns) => batch.project(columns)?,
                        None => batch,
                    };
                    put.send(batch, held_bytes).await?;
                }
                Some(Decoded::Nothing) => {}
            }
        }
    }

    /// Runs statements for their count of changed rows.
    async fn update(&self, lease: Lease, sql: String, options: RunOptions) -> Result<u64> {
        count_changed(self.query.run(lease, Statement::Script(sql), options).await?).await
    }
}

/// Where the rows for `table` go; temporary tables live in the catalog `temp`.
pub(super) fn target(
    session: &ClientSession,
    table: TableName,
    mode: Mode,
    temporary: bool,
) -> Result<Target> {
    if !temporary {
        return Ok(Target::Table { table: full_name(&table, session), shown: table, mode });
    }
    if table.catalog.as_deref().is_some_and(|catalog| catalog != "temp") {
        return Err(Error::invalid(format!(
            "temporary table {table}: temporary tables live in the catalog temp; leave catalog and schema out"
        )));
    }
    let full =
        TableName { catalog: Some("temp".into()), schema: Some("main".into()), table: table.table.clone() };
    Ok(Target::Table { table: full, shown: table, mode })
}

/// The messages of a stream that a client sends, decoded, told apart from a client that left.
pub(super) struct Incoming {
    stream: Streaming<FlightData>,
    ended: Ended,
    decoder: Decoder,
    // The first message, until it has been decoded.
    first: Option<FlightData>,
    // What was looked at and given back.
    unread: Option<Decoded>,
    /// Time spent on decoding.
    pub(super) decode: Duration,
}

impl Incoming {
    /// Waits for the first message, which says what the stream is for.
    pub(super) async fn open(
        request: Request<Streaming<FlightData>>,
        call: &str,
    ) -> Result<(Self, FlightDescriptor)> {
        let ended = request.extensions().get::<Ended>().cloned().unwrap_or_default();
        let mut incoming = Self {
            stream: request.into_inner(),
            ended,
            decoder: Decoder::default(),
            first: None,
            unread: None,
            decode: Duration::ZERO,
        };
        let mut first = incoming.message().await?.ok_or_else(|| {
            Error::invalid(format!("the {call} stream is empty; expected a FlightDescriptor and a schema"))
        })?;
        let descriptor = first.flight_descriptor.take().ok_or_else(|| {
            Error::invalid(format!("the first message of a {call} must carry a FlightDescriptor"))
        })?;
        incoming.first = Some(first);
        Ok((incoming, descriptor))
    }

    /// The next message, decoded, or `None` when the client has said that it is done.
    pub(super) async fn next(&mut self) -> Result<Option<Decoded>> {
        if let Some(decoded) = self.unread.take() {
            return Ok(Some(decoded));
        }
        let message = match self.first.take() {
            Some(first) => first,
            None => match self.message().await? {
                Some(message) => message,
                None => return Ok(None),
            },
        };
        let started = Instant::now();
        let decoded = self.decoder.decode(message);
        self.decode += started.elapsed();
        decoded.map(Some)
    }

    /// Gives back what `next` gave last.
    pub(super) fn unread(&mut self, decoded: Decoded) {
        self.unread = Some(decoded);
    }

    async fn message(&mut self) -> Result<Option<FlightData>> {
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
                    format!(
                        "a message of the stream is too large: {}; send smaller batches",
                        status.message()
                    ),
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
