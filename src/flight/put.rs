//! DoPut: a stream of rows into a table, native or Flight SQL, and statements that change something.
//! Runs on: the task of the call.
//! Never: answers before COMMIT has returned; reads on when the budget is used up.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::{DoPutPreparedStatementResult, DoPutUpdateResult};
use arrow_flight::{FlightData, PutResult};
use prost::Message;
use tokio::sync::watch;
use tonic::{Request, Streaming};

use super::FlightServer;
use super::call::Call;
use super::caller::Caller;
use super::decode::Looked;
use super::descriptor::{self, TEMPORARY, Write};
use super::get::count_changed;
use super::header::{Options, PutOptions};
use super::incoming::Incoming;
use super::info::{full_name, temporary_name};
use crate::catalog::{TableName, quote_name};
use crate::engine;
use crate::error::{Error, Result};
use crate::ingest::{
    Ack, Commit, KeyEntry, Keyed, Mode, Need, OnConflict, Put, PutRequest, PutSummary, StreamChecksum,
    Target, Terms, sequence,
};
use crate::query::{RunOptions, Statement};
use crate::session::{ClientSession, Lease, On};

/// A DoPut whose first message has come: what it is for, and how it wants to be taken.
pub(super) struct Opened {
    caller: Caller,
    incoming: Incoming,
    write: Write,
    ask: PutOptions,
    run_options: RunOptions,
}

impl Opened {
    /// Whether it wants to hear of commits before its end.
    pub(super) fn is_in_progress(&self) -> bool {
        self.ask.in_progress && matches!(self.write, Write::Table(_) | Write::Ingest { .. })
    }

    /// What acknowledgements before the end say besides their counts.
    pub(super) fn template(&self, server: &FlightServer) -> PutAnswer {
        let on_conflict = self.ask.on_conflict;
        let durable = match &self.write {
            Write::Table(table) => server.keeps(table),
            Write::Ingest { temporary, .. } => !temporary && server.keeps_rows(),
            _ => true,
        };
        PutAnswer { ack: Ack::default(), durable, on_conflict, rejects: false }
    }

    /// The table that acknowledgements name.
    pub(super) fn table(&self) -> String {
        match &self.write {
            Write::Table(table) | Write::Ingest { table, .. } => table.to_string(),
            _ => String::new(),
        }
    }
}

impl FlightServer {
    /// Reads headers and the first message.
    pub(super) async fn open_put(
        &self,
        caller: Caller,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Opened> {
        // Before its options are read: some may be gone.
        caller.session.check()?;
        let options = Options::new(request.metadata(), &caller.session);
        let ask = options.put_options(self.auto_create)?;
        let run_options = options.run_options()?;
        let names_stream = options.names_stream();
        let (incoming, descriptor) = Incoming::open(request, "put", self.ingest.stream_bytes()).await?;
        let write = descriptor::write(&descriptor)?;
        if names_stream && !matches!(write, Write::Table(_) | Write::Ingest { .. }) {
            return Err(Error::unsupported(
                "headers pintail-idempotency-key, pintail-producer and pintail-epoch hold for rows put into a \
                 table, not for statements",
            ));
        }
        if ask.sources.is_some() && !matches!(write, Write::Table(_)) {
            return Err(no_sources());
        }
        Ok(Opened { caller, incoming, write, ask, run_options })
    }

    /// Takes one DoPut stream to its commit and gives its last answer. `progress` hears of the commits before.
    pub(super) async fn put(
        &self,
        opened: Opened,
        progress: Option<watch::Sender<Ack>>,
        call: &mut Call,
    ) -> Result<PutResult> {
        let Opened { caller, incoming, write, ask, run_options } = opened;
        let session = &caller.session;
        match write {
            Write::Table(table) => {
                let shown = table.to_string();
                let target = target(session, table, ask.mode, false)?;
                let answer = self.rows_once(session, incoming, target, On::Rows, ask, progress, call).await?;
                Ok(PutResult { app_metadata: answer.to_json(&shown).into() })
            }
            Write::Ingest { table, mode, temporary, on } => {
                let target = target(session, table, mode, temporary)?;
                let answer = self.rows_once(session, incoming, target, on, ask, progress, call).await?;
                Ok(update_result(answer.ack.counts.stored()))
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

    /// Puts the rows of a stream into a table, unless they have been put before.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, each used once")]
    async fn rows_once(
        &self,
        session: &Arc<ClientSession>,
        incoming: Incoming,
        (target, is_temporary): (Target, bool),
        on: On,
        ask: PutOptions,
        progress: Option<watch::Sender<Ack>>,
        call: &mut Call,
    ) -> Result<PutAnswer> {
        call.what = target.to_string();
        let Target::Table { table, .. } = &target else {
            return Err(Error::internal("a put without a table"));
        };
        if is_temporary && (ask.key.is_some() || ask.producer.is_some() || progress.is_some()) {
            return Err(Error::invalid(format!(
                "temporary table {target}: pintail-idempotency-key, pintail-producer and pintail-commit progress are \
                 for tables that outlive their session; leave them out"
            )));
        }
        if is_temporary && ask.sources.is_some() {
            return Err(Error::invalid(format!(
                "temporary table {target}: header pintail-sources is for tables that outlive their session; leave it out"
            )));
        }
        self.check_not_nested(session, table).await?;
        let claim = match (&ask.key, &ask.producer) {
            (Some(key), _) => match self.ingest.claim_key(key, table).await? {
                Keyed::New(claim) => Some(claim),
                Keyed::Known(known) => {
                    let table = table.clone();
                    return self.known(incoming, &known, &table, call).await;
                }
            },
            (None, Some((producer, epoch))) => {
                Some(self.ingest.claim_producer(producer, *epoch, table).await?)
            }
            (None, None) => None,
        };
        let terms = Terms {
            on_conflict: ask.on_conflict,
            commit: progress.map_or(Commit::Stream, Commit::Progress),
            claim,
            producer: ask.producer.map(|(producer, _)| producer),
            sources: ask.sources,
        };
        let (on_conflict, keeps) = (terms.on_conflict, self.keeps(table));
        let lease =
            if is_temporary { session.lease_for_temporaries(on).await? } else { session.lease(on).await? };
        let summary = self.rows(Some(incoming), target, lease, None, terms, call).await?;
        let PutSummary { ack, durable, rejects, .. } = summary;
        let durable = durable && keeps;
        Ok(PutAnswer { ack, durable, on_conflict, rejects })
    }

    /// Refuses a schema inside another one, named as the listings spell it.
    async fn check_not_nested(&self, session: &Arc<ClientSession>, table: &TableName) -> Result<()> {
        let Some(named) = table.schema.clone().filter(|schema| schema.contains('.')) else { return Ok(()) };
        let lease = session.lease(On::Rows).await?;
        let schemas = self.query.look(lease, |session| engine::schemas(session)).await?;
        let mut same = schemas.iter().filter(|known| known.schema.eq_ignore_ascii_case(&named));
        // A schema of its own may have a dot in its name.
        if same.clone().all(|known| known.is_nested) && same.next().is_some() {
            return Err(Error::unsupported(format!(
                "schema {named} is inside another schema, and puts do not go there; use INSERT INTO {named}.{} with \
                 rows bound to its parameters",
                quote_name(&table.table)
            )));
        }
        Ok(())
    }

    /// Reads a stream that has been applied before to its end, and gives the first answer again.
    async fn known(
        &self,
        mut incoming: Incoming,
        known: &KeyEntry,
        table: &TableName,
        call: &mut Call,
    ) -> Result<PutAnswer> {
        let mut checksum = StreamChecksum::default();
        let mut intake = self.ingest.intake()?;
        while let Some(looked) = incoming.next().await? {
            match looked {
                Looked::Rows(waiting) => {
                    let _room = intake.room(waiting.need()).await;
                    checksum.add(&incoming.rows(waiting)?)?;
                }
                Looked::Dictionary(waiting) => {
                    intake.dictionary(waiting.dictionary(), waiting.held_bytes()).await?;
                    incoming.dictionary(waiting)?;
                }
                Looked::Schema(_) | Looked::Nothing => {}
            }
        }
        let (ack, on_conflict) = checksum.answer(known, table)?;
        call.rows = 0;
        let durable = self.keeps(table);
        Ok(PutAnswer { ack, durable, on_conflict, rejects: ack.counts.rejected > 0 })
    }

    /// Whether committed rows outlive the process.
    fn keeps_rows(&self) -> bool {
        self.database.options().path != ":memory:"
    }

    /// As `keeps_rows`, for those of one table: temporary ones end with their client.
    fn keeps(&self, table: &TableName) -> bool {
        let is_temporary =
            table.catalog.as_deref().is_some_and(|catalog| catalog.eq_ignore_ascii_case("temp"));
        !is_temporary && self.keeps_rows()
    }

    /// Takes the rows of one stream to their commit, or back again. `begun` are batches that are there already,
    /// and the columns of each batch that go in, in their order; without a stream they are all.
    pub(super) async fn rows(
        &self,
        incoming: Option<Incoming>,
        target: Target,
        lease: Lease,
        begun: Option<(Vec<RecordBatch>, Vec<usize>)>,
        terms: Terms,
        call: &mut Call,
    ) -> Result<PutSummary> {
        let mut put = None;
        let received = self.receive(incoming, target, lease, begun, terms, &mut put, call).await;
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
        call.rows = summary.ack.counts.rows;
        call.stage("queue", summary.timings.queue);
        call.stage("decode", decode);
        call.stage("conform", summary.timings.conform);
        call.stage("append", summary.timings.append);
        call.stage("commit", summary.timings.commit);
        crate::metrics::rows_in(summary.ack.counts.rows, call.bytes);
        Ok(summary)
    }

    /// Feeds a put until the client says that it is done; gives the time spent on decoding.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, each used once")]
    async fn receive(
        &self,
        incoming: Option<Incoming>,
        target: Target,
        lease: Lease,
        begun: Option<(Vec<RecordBatch>, Vec<usize>)>,
        terms: Terms,
        put: &mut Option<Put>,
        call: &mut Call,
    ) -> Result<Duration> {
        let (is_numbered, declares) = (terms.producer.is_some(), terms.sources.is_some());
        let mut opening = Some((target, lease, terms));
        let mut begin = |schema: SchemaRef| {
            let (target, lease, terms) =
                opening.take().ok_or_else(|| Error::internal("a stream began a second time"))?;
            self.ingest.begin(PutRequest { target, schema, lease, terms })
        };
        let mut columns = None;
        if let Some((batches, wanted)) = begun {
            for batch in batches {
                let batch = batch.project(&wanted)?;
                let open = match put {
                    Some(open) => open,
                    None => put.insert(begin(batch.schema())?),
                };
                let held = batch.get_array_memory_size();
                call.bytes += held as u64;
                let room = open.room(Need { held, ..Need::default() }).await;
                open.send(batch, room, None).await?;
            }
            columns = Some(wanted);
        }
        let Some(mut incoming) = incoming else { return Ok(Duration::ZERO) };
        loop {
            let following = match put.as_mut() {
                None => incoming.next().await?,
                // Watch the writer while the client is quiet, so that a refusal does not wait for rows.
                Some(put) => tokio::select! {
                    // What is there goes first: most small puts come whole, and set no timer then.
                    biased;
                    following = incoming.next() => following?,
                    error = put.failure() => return Err(error),
                },
            };
            match following {
                None => return Ok(incoming.decode),
                Some(Looked::Schema(schema)) => *put = Some(begin(schema)?),
                Some(Looked::Dictionary(waiting)) => {
                    let put = put.as_mut().ok_or_else(too_early)?;
                    put.dictionary(waiting.dictionary(), waiting.held_bytes()).await?;
                    incoming.dictionary(waiting)?;
                }
                Some(Looked::Rows(waiting)) => {
                    let put = put.as_mut().ok_or_else(too_early)?;
                    let need = waiting.need();
                    let room = put.room(need).await;
                    let batch = incoming.rows(waiting)?;
                    call.rows += batch.num_rows() as u64;
                    call.bytes += need.held as u64;
                    let batch = match &columns {
                        Some(columns) => batch.project(columns)?,
                        None => batch,
                    };
                    let seq = if is_numbered { Some(sequence(&incoming.app_metadata)?) } else { None };
                    put.send(batch, room, seq).await?;
                }
                Some(Looked::Nothing) => {}
            }
            match put.as_mut() {
                Some(put) => put.declare(&incoming.app_metadata)?,
                None if declares && !incoming.app_metadata.is_empty() => return Err(too_early()),
                None => {}
            }
        }
    }

    /// Runs statements for their count of changed rows.
    async fn update(&self, lease: Lease, sql: String, options: RunOptions) -> Result<u64> {
        count_changed(self.query.run(lease, Statement::Script(sql), options).await?).await
    }
}

/// Says where sources can be declared, to a call that is none of it.
pub(super) fn no_sources() -> Error {
    Error::invalid(
        "header pintail-sources holds for DoPut of rows into a table that its descriptor names by a path, not for Flight \
         SQL ingest, statements or DoExchange",
    )
}

fn too_early() -> Error {
    Error::invalid("rows, or what is said of them, arrived before their schema")
}

/// Where the rows for `table` go, and whether that is a temporary table, which lives on the client's own connection.
pub(super) fn target(
    session: &ClientSession,
    table: TableName,
    mode: Mode,
    temporary: bool,
) -> Result<(Target, bool)> {
    let full = if temporary { temporary_name(&table)? } else { full_name(&table, session)? };
    let is_temporary = full.catalog.as_deref() == Some(TEMPORARY);
    Ok((Target::Table { table: full, shown: table, mode }, is_temporary))
}

/// What is told about a put.
#[derive(Debug, Clone, Copy)]
pub(super) struct PutAnswer {
    pub(super) ack: Ack,
    pub(super) durable: bool,
    pub(super) on_conflict: OnConflict,
    pub(super) rejects: bool,
}

impl PutAnswer {
    /// The JSON of `PutResult.app_metadata`. Counts that can only be all or nothing are left out.
    pub(super) fn to_json(self, table: &str) -> String {
        let Ack { counts, seq, duplicate } = self.ack;
        let mut answer = serde_json::json!({
            "table": table,
            "rows": counts.rows,
            "durable": self.durable,
            "duplicate": duplicate,
        });
        let mut add = |name: &str, count: u64| answer[name] = count.into();
        if self.on_conflict != OnConflict::Error || self.rejects {
            add("inserted", counts.inserted);
            add("ignored", counts.ignored);
            add("replaced", counts.replaced);
        }
        if self.rejects {
            add("rejected", counts.rejected);
        }
        if let Some(seq) = seq {
            add("seq", seq);
        }
        answer.to_string()
    }
}

fn update_result(rows: u64) -> PutResult {
    let result = DoPutUpdateResult { record_count: i64::try_from(rows).unwrap_or(i64::MAX) };
    PutResult { app_metadata: result.encode_to_vec().into() }
}
