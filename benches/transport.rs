//! Flight servers with nothing behind them: they send an Arrow file from memory, and forget what they are put.
//!
//! `cargo bench --bench transport -- stock FILE.arrow` is arrow-flight and tonic as they come; `ours` is Pintail's own way
//! between batch and socket. Each says where it listens and serves until it is killed; `bench/run.py --only transport`
//! measures them beside pyarrow's.
#![allow(missing_docs, reason = "a benchmark")]

use std::convert::Infallible;
use std::fs;
use std::io::{Cursor, IoSlice};
use std::iter;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::FileReader;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use http_body::{Body, Frame as HttpFrame};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pintail::flight::{Encoder, ForgottenPuts, Frame, Welcome, connections, forgotten, sent};
use pintail::tls::{Door, Protocol, accept};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Rows of a batch of lineitem of about 1.5 MiB, the server's own size of messages.
const BATCH_ROWS: usize = 8_192;
/// As in src/server/ports.rs.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
const FRAME_BYTES: u32 = 1 << 20;
const CONNECTIONS_MAX: usize = 1_000;
const HANDSHAKE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [kind, file] = arguments.as_slice() else {
        println!("transport: name stock or ours, and an Arrow file; bench/run.py does");
        return Ok(());
    };
    let rows = Arc::new(Rows::read(file)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on grpc://{}", listener.local_addr()?);
    match kind.as_str() {
        "stock" => stock(listener, rows).await,
        "ours" => ours(listener, rows).await,
        other => anyhow::bail!("{other} is neither stock nor ours"),
    }
}

/// What is sent.
struct Rows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Rows {
    fn read(file: &str) -> anyhow::Result<Self> {
        let bytes = fs::read(file).with_context(|| format!("cannot read {file}"))?;
        let reader = FileReader::try_new(Cursor::new(bytes), None)?;
        let schema = reader.schema();
        let mut batches = Vec::new();
        for batch in reader {
            let batch = batch?;
            for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
                let part = batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start));
                // Copied, as a result of the engine's has buffers of its own.
                batches.push(concat_batches(&schema, [&part])?);
            }
        }
        Ok(Self { schema, batches })
    }
}

async fn stock(listener: TcpListener, rows: Arc<Rows>) -> anyhow::Result<()> {
    let service =
        FlightServiceServer::new(Null { rows, ours: false }).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let connections = TcpListenerStream::new(listener);
    tonic::transport::Server::builder().add_service(service).serve_with_incoming(connections).await?;
    Ok(())
}

async fn ours(listener: TcpListener, rows: Arc<Rows>) -> anyhow::Result<()> {
    let service = Null { rows: Arc::clone(&rows), ours: true };
    let service = FlightServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let puts = ForgottenPuts::new(MESSAGE_BYTES_MAX);
    let door = Door { connections_max: CONNECTIONS_MAX, handshake_timeout: HANDSHAKE, tls: None };
    let mut connections =
        pin!(connections(accept(listener, door, Protocol::Http2), HANDSHAKE, Welcome::AtOnce));
    while let Some(connection) = connections.next().await {
        let connection = connection?;
        let (service, rows, puts) = (service.clone(), Arc::clone(&rows), puts.clone());
        let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (mut service, rows, puts) = (service.clone(), Arc::clone(&rows), puts.clone());
            async move {
                if request.uri().path().ends_with("/DoGet") {
                    let mut response = http::Response::new(Answer::Sent(Box::pin(sent(frames(rows)?))));
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                    return Ok(response);
                }
                let Ok(response) = service.call(puts.request(request, MESSAGE_BYTES_MAX)).await;
                Ok::<_, pintail::error::Error>(response.map(Answer::Tonic))
            }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES);
        tokio::spawn(async move { builder.serve_connection(TokioIo::new(connection), answer).await });
    }
    Ok(())
}

/// Encoded as the socket wants more.
fn frames(
    rows: Arc<Rows>,
) -> pintail::error::Result<impl Stream<Item = Result<Frame, Status>> + Send + Unpin> {
    let mut encoder = Encoder::new(&rows.schema, None)?;
    let first = encoder.schema_frame(&rows.schema)?;
    let rest = (0..rows.batches.len()).flat_map(move |number| match encoder.encode(&rows.batches[number]) {
        Ok(frames) => frames.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(Status::from(error))],
    });
    Ok(stream::iter(iter::once(Ok(first)).chain(rest)))
}

/// The body of an answer: a result's own, or what tonic has written.
enum Answer<B> {
    Sent(Pin<Box<B>>),
    Tonic(tonic::body::Body),
}

/// Data of either.
enum Data<D> {
    Sent(D),
    Tonic(Bytes),
}

impl<B: Body<Data: Buf, Error = Infallible>> Body for Answer<B> {
    type Data = Data<B::Data>;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Self::Data>, Status>>> {
        match self.get_mut() {
            Self::Sent(body) => body
                .as_mut()
                .poll_frame(context)
                .map_ok(|frame| frame.map_data(Data::Sent))
                .map_err(|never| match never {}),
            Self::Tonic(body) => {
                Pin::new(body).poll_frame(context).map_ok(|frame| frame.map_data(Data::Tonic))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Sent(body) => body.is_end_stream(),
            Self::Tonic(body) => body.is_end_stream(),
        }
    }
}

impl<D: Buf> Buf for Data<D> {
    fn remaining(&self) -> usize {
        match self {
            Self::Sent(data) => data.remaining(),
            Self::Tonic(data) => data.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Sent(data) => data.chunk(),
            Self::Tonic(data) => data.chunk(),
        }
    }

    // What a batch consists of leaves in one system call only if it is handed out at once.
    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::Sent(data) => data.chunks_vectored(slices),
            Self::Tonic(data) => data.chunks_vectored(slices),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Sent(data) => data.advance(count),
            Self::Tonic(data) => data.advance(count),
        }
    }
}

/// Flight's calls; all but DoGet and DoPut are refused. DoGet of `ours` never comes here.
#[derive(Clone)]
struct Null {
    rows: Arc<Rows>,
    ours: bool,
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn refused<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("there is nothing behind this server"))
}

#[tonic::async_trait]
impl FlightService for Null {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let rows = Arc::clone(&self.rows);
        let schema = Arc::clone(&rows.schema);
        let batches = (0..rows.batches.len()).map(move |number| Ok(rows.batches[number].clone()));
        let encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(stream::iter(batches));
        Ok(Response::new(encoded.map_err(Status::from).boxed()))
    }

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let rows = if self.ours {
            forgotten(request, MESSAGE_BYTES_MAX).await?
        } else {
            let messages = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
            let batches = FlightRecordBatchStream::new_from_flight_data(messages);
            batches.try_fold(0, async |rows, batch| Ok(rows + batch.num_rows())).await?
        };
        let answer = PutResult { app_metadata: rows.to_string().into() };
        Ok(Response::new(stream::iter([Ok(answer)]).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        refused()
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        refused()
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        refused()
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        refused()
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        refused()
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        refused()
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        refused()
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        refused()
    }
}
