//! POST /ingest/{table}: the rows of a body into a table, as DoPut takes them.
//! Runs on: the task of the call; a thread reads the body (`files::body`).
//! Never: answers before COMMIT has returned; reads on when the write side has no room.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::http::HeaderMap;
use arrow_flight::FlightData;
use axum::body::{Body, BodyDataStream};
use futures::{StreamExt, stream};
use pintail_protocol::header::{COMMIT, PRODUCER};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::metadata::MetadataMap;

use super::READERS_MAX;
use super::error::Refused;
use super::media::{format_of, packing_of};
use crate::catalog::TableName;
use crate::engine;
use crate::error::{Error, Kind, Result};
use crate::files::body::{self, Bounds, Item, Reading};
use crate::files::sniff::Format;
use crate::files::text::Given;
use crate::flight::put::{IntoTable, PutTable, put_into_table};
use crate::flight::request::{Call, CallOptions, Caller, PutOptions};
use crate::flight::server::FlightServer;
use crate::flight::wire::{BodyMessages, Encoder, Form, Incoming};
use crate::ingest::{Ack, Mode};
use crate::session::{ClientSession, On};

/// What is read on of a body whose rows are refused, so that its client gets to read why.
const REST_BYTES_MAX: usize = 64 << 20;
const REST_TIME_MAX: Duration = Duration::from_secs(2);

/// Where the rows of a request go, as its address says.
pub(super) struct Target {
    pub(super) table: TableName,
    /// The number of the first batch in a producer's stream.
    pub(super) seq: Option<u64>,
}

/// How bodies are read.
#[derive(Clone, Copy)]
pub(super) struct Bodies<'a> {
    pub(super) bounds: &'a Bounds,
    /// How long one may say nothing.
    pub(super) idle_timeout: Duration,
}

/// Puts the rows of a body into a table, and gives the answer that DoPut gives.
pub(super) async fn ingest(
    server: &FlightServer,
    bodies: Bodies<'_>,
    caller: Caller,
    headers: &HeaderMap,
    target: Target,
    request: Body,
    mut call: Call,
) -> Result<String, Refused> {
    let (progress, acks) = watch::channel(Ack::default());
    let mut request = Some(request.into_data_stream());
    let put = Put { server, bodies, caller: &caller, headers, target, progress };
    match put.run(&mut request, &mut call).await {
        Ok(text) => {
            call.ok();
            Ok(text)
        }
        Err(refused) => {
            call.failed(refused.error().clone());
            if let Some(rest) = request {
                read_rest(rest).await;
            }
            let Ack { counts, seq, .. } = *acks.borrow();
            let has_stored = counts.rows > 0 || seq.is_some();
            let acknowledged = json!({ "rows": counts.rows, "seq": seq });
            Err(if has_stored { refused.after(acknowledged) } else { refused })
        }
    }
}

/// A client that writes before it reads would only see a broken connection.
async fn read_rest(mut rest: BodyDataStream) {
    let mut bytes = 0;
    let reading = async {
        while let Some(Ok(chunk)) = rest.next().await {
            bytes += chunk.len();
            if bytes > REST_BYTES_MAX {
                break;
            }
        }
    };
    // What is left then breaks the connection.
    let _ = tokio::time::timeout(REST_TIME_MAX, reading).await;
}

struct Put<'a> {
    server: &'a FlightServer,
    bodies: Bodies<'a>,
    caller: &'a Caller,
    headers: &'a HeaderMap,
    target: Target,
    progress: watch::Sender<Ack>,
}

impl Put<'_> {
    async fn run(self, request: &mut Option<BodyDataStream>, call: &mut Call) -> Result<String, Refused> {
        let Put { server, bodies, caller, headers, target, progress } = self;
        let (puts, session) = (&server.infos.puts, &caller.session);
        let (format, compression) = (format_of(headers)?, packing_of(headers)?);
        let metadata = MetadataMap::from_headers(headers.clone());
        let call_options = CallOptions::new(&metadata, session);
        let options = call_options.put_options(puts.auto_create)?;
        let deadline = call_options.run_options()?.deadline;
        call.about(&target.table.to_string());
        check(&options, format, target.seq)?;
        let name = target.table.to_string();
        let table = PutTable::named(session, target.table, options.mode)?;
        table.check(session, options.on_conflict)?;
        let given = match format {
            Format::Csv { .. } | Format::Ndjson { .. }
                if !matches!(options.mode, Mode::Create | Mode::Replace) =>
            {
                given(server, session, &table.full).await?
            }
            _ => None,
        };
        // One user's bodies leave room for those of others.
        let _place = session.share().body(READERS_MAX)?;
        let reading = body::read(body::Body { format, compression, given }, bodies.bounds).await?;
        let Some(body) = request.take() else { return Err(Error::internal("a body was read twice").into()) };
        let (messages, rest) = messages(body, reading, target.seq, bodies.idle_timeout);
        let incoming = Incoming::of_body(messages, puts.ingest.stream_bytes());
        let progress = options.in_progress.then_some(progress);
        let into = IntoTable { table, on: On::Rows, options, progress };
        let putting = put_into_table(puts, session, incoming, into, call);
        let outcome = match deadline {
            None => putting.await,
            // Dropped, it leaves nothing, unless its COMMIT has begun.
            Some(deadline) => tokio::time::timeout_at(deadline.into(), putting).await.unwrap_or_else(|_| {
                Err(Error::new(
                    Kind::Deadline,
                    "the deadline passed before the rows were committed; whether they were is known by sending them again \
                     under the same pintail-idempotency-key",
                ))
            }),
        };
        match outcome {
            Ok(outcome) => Ok(format!("{}\n", outcome.answer(&name).to_json())),
            Err(error) => {
                *request = rest.await.ok();
                Err(error.into())
            }
        }
    }
}

/// Refuses what a request says that its body cannot keep.
fn check(options: &PutOptions, format: Format, seq: Option<u64>) -> Result<()> {
    if options.sources.is_some() {
        return Err(Error::invalid(
            "header pintail-sources is for DoPut, whose batches say what files they are from; use pintail-idempotency-key",
        ));
    }
    match (&options.producer, seq) {
        (Some(_), None) => Err(Error::invalid(format!(
            "header {PRODUCER}: number the batches with ?seq=N, the number of the first batch of the body; the next have the \
             numbers after it"
        ))),
        (Some(_), Some(_)) if format != Format::ArrowStream => Err(Error::invalid(format!(
            "header {PRODUCER}: expected an Arrow IPC stream, whose batches can be numbered; send other forms with \
             pintail-idempotency-key"
        ))),
        (None, Some(_)) => Err(Error::invalid(format!("?seq needs header {PRODUCER} beside it"))),
        _ => Ok(()),
    }?;
    let is_text = matches!(format, Format::Csv { .. } | Format::Ndjson { .. });
    if options.in_progress && is_text {
        return Err(Error::invalid(format!(
            "header {COMMIT}: expected stream for text, of which a part alone cannot be sent again by its number"
        )));
    }
    Ok(())
}

/// The table that rows are for; `None` when it is not there.
async fn given(
    server: &FlightServer,
    session: &Arc<ClientSession>,
    table: &TableName,
) -> Result<Option<Given>> {
    // The grants were asked already, and say nothing of who may only put.
    let lease = session.lease(On::Rows).await?.of_the_server();
    let table = table.clone();
    let found = server.infos.results().query.catalog(lease, move |connection| {
        let Some(found) = engine::find_table(connection, &table)? else { return Ok(None) };
        let described = engine::describe(connection, &format!("SELECT * FROM {}", table.to_sql()))?;
        let without_default =
            found.columns.iter().filter(|column| !column.has_default && !column.is_generated);
        let without_default = without_default.map(|column| column.name.clone()).collect();
        // The types that stand for others say so, as for a load of a file.
        let schema = Form::Extensions.schema(&described.schema);
        Ok(Some(Given { schema: Arc::new(with_booleans(&schema)), without_default }))
    });
    found.await
}

/// Arrow's own booleans, which is what texts hold.
fn with_booleans(schema: &arrow::datatypes::Schema) -> arrow::datatypes::Schema {
    use arrow::datatypes::{DataType, Field, Schema};
    let fields = schema.fields().iter().map(|field| {
        match field.metadata().get(pintail_protocol::extension::NAME).map(String::as_str) {
            Some("arrow.bool8") => Arc::new(Field::new(field.name(), DataType::Boolean, field.is_nullable())),
            _ => Arc::clone(field),
        }
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// What is left of a body when its rows are refused.
type Rest = tokio::sync::oneshot::Receiver<BodyDataStream>;

/// The messages in a body, numbered from `seq` on where there are numbers. The body is read as they are taken.
fn messages(
    body: BodyDataStream,
    reading: Reading,
    seq: Option<u64>,
    idle_timeout: Duration,
) -> (BodyMessages, Rest) {
    let Reading { chunks, items } = reading;
    let (give_back, rest) = tokio::sync::oneshot::channel();
    let left = CancellationToken::new();
    tokio::spawn(pump(body, chunks, left.clone(), give_back, idle_timeout));
    let numbered = Numbered { _left: left.drop_guard(), items, encoder: None, waiting: Vec::new(), seq };
    let messages = stream::try_unfold(numbered, |mut numbered| async move {
        Ok(numbered.next().await?.map(|message| (message, numbered)))
    });
    (messages.boxed(), rest)
}

/// Hands the body on, piece by piece, until nobody wants more of it.
async fn pump(
    mut body: BodyDataStream,
    chunks: mpsc::Sender<io::Result<bytes::Bytes>>,
    left: CancellationToken,
    give_back: tokio::sync::oneshot::Sender<BodyDataStream>,
    idle_timeout: Duration,
) {
    loop {
        let chunk = tokio::select! {
            chunk = body.next() => chunk,
            () = tokio::time::sleep(idle_timeout) => {
                let text = "the body said nothing for too long (limit: ingest.idle_timeout); nothing of it that was not acknowledged is stored";
                let late = Err(io::Error::new(io::ErrorKind::TimedOut, text));
                tokio::select! {
                    _ = chunks.send(late) => {}
                    () = left.cancelled() => {}
                }
                return;
            }
            // Nobody reads on, or nobody takes what was read.
            () = chunks.closed() => break,
            () = left.cancelled() => break,
        };
        let Some(chunk) = chunk else { return };
        let is_last = chunk.is_err();
        let chunk = chunk.map_err(|error| io::Error::new(io::ErrorKind::ConnectionAborted, error));
        let sent = tokio::select! {
            sent = chunks.send(chunk) => sent.is_ok(),
            () = left.cancelled() => false,
        };
        match (sent, is_last) {
            (_, true) => return,
            (true, false) => {}
            (false, false) => break,
        }
    }
    // Whoever wants the rest may be gone.
    let _ = give_back.send(body);
}

/// The items of a body as messages.
struct Numbered {
    // Tells the pump when the messages are not wanted any more.
    _left: DropGuard,
    items: mpsc::Receiver<Result<Item>>,
    encoder: Option<Encoder>,
    // What is to be given next, last first.
    waiting: Vec<FlightData>,
    seq: Option<u64>,
}

impl Numbered {
    async fn next(&mut self) -> Result<Option<(FlightData, Option<OwnedSemaphorePermit>)>> {
        loop {
            if let Some(message) = self.waiting.pop() {
                return Ok(Some((message, None)));
            }
            match self.items.recv().await.transpose()? {
                None => return Ok(None),
                Some(Item::Message(mut message, room)) => {
                    if let Some(seq) = &mut self.seq
                        && is_rows(&message)
                    {
                        message.app_metadata = json!({ "seq": *seq }).to_string().into();
                        *seq += 1;
                    }
                    return Ok(Some((message, Some(room))));
                }
                Some(Item::Schema(schema)) => {
                    let encoder = Encoder::in_form(&schema, Form::Plain, None)?;
                    let first = encoder.schema_frame(&schema)?;
                    self.encoder = Some(encoder);
                    return Ok(Some((first.into_flight_data(), None)));
                }
                Some(Item::Batch(batch)) => {
                    let encoder =
                        self.encoder.as_mut().ok_or_else(|| Error::internal("rows before their schema"))?;
                    let frames = encoder.encode(&batch)?;
                    self.waiting = frames
                        .into_iter()
                        .rev()
                        .map(pintail_protocol::frame::Frame::into_flight_data)
                        .collect();
                }
            }
        }
    }
}

fn is_rows(message: &FlightData) -> bool {
    arrow::ipc::root_as_message(&message.data_header)
        .is_ok_and(|message| message.header_type() == arrow::ipc::MessageHeader::RecordBatch)
}
