//! Files of the server's machine -> its own put streams: what the action `pintail.load` does.
//! Runs on: a task for each load, and threads that read. The server calls itself over a connection inside of the process, as
//! the caller, so that a load is held to what their puts are held to.
//! Never: reads outside of `ingest.load_directories`; tells anybody but an admin where on the machine a file lies.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use http::Uri;
use hyper_util::rt::TokioIo;
use pintail_protocol::header;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tower_service::Service;

use super::ports::serve_inside;
use crate::auth::{Principal, Role};
use crate::catalog::quote_text;
use crate::client::Client;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::flight::{FileLoader, FlightServer, Link, LoadOrder, Transport};
use crate::load::{Clients, Failed, Fence, JOBS, Load, Output, Progress, Summary};

/// Loads under way at one time: each reads ahead and has put streams of its own.
const LOADS_MAX: usize = 2;
/// How often the caller hears how far a load is.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Answers that wait for a caller who does not read; more of them are left out.
const ANSWERS_MAX: usize = 64;
/// Bytes between both ends of a connection inside of the process.
const PIPE_BYTES: usize = 1 << 20;
/// As whom the server asks itself what a table holds, and which files it has.
const SERVER: &str = "pintail.load";

/// Loads files of this machine.
pub(super) struct Loader {
    folders: Vec<PathBuf>,
    places: Arc<Semaphore>,
    message_bytes: usize,
    receive_bytes: usize,
    // The database has a file.
    keeps_rows: bool,
}

impl Loader {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            folders: config.ingest.load_directories.clone(),
            places: Arc::new(Semaphore::new(LOADS_MAX)),
            message_bytes: config.server.max_message_bytes.as_usize(),
            receive_bytes: config.ingest.receive_memory_limit.as_usize(),
            keeps_rows: config.database.path != ":memory:",
        }
    }
}

impl FileLoader for Loader {
    fn load(&self, server: FlightServer, order: LoadOrder) -> Result<BoxStream<'static, Result<Value>>> {
        if self.folders.is_empty() {
            return Err(Error::new(
                Kind::Denied,
                "this server loads no files of its machine; its operator allows directories with the setting \
                 ingest.load_directories",
            ));
        }
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Error::busy(&format!("{LOADS_MAX} loads at one time"), "the server is loading files for others")
        })?;
        let fence = Arc::new(Fence::new(&self.folders)?);
        let files = order.paths.iter().map(|path| fence.path(path).map(Into::into)).collect::<Result<_>>()?;
        let load = Load {
            files,
            table: order.table.clone(),
            mode: order.mode,
            on_conflict: order.on_conflict,
            again: false,
            jobs: JOBS,
            keep_going: false,
            hive: true,
            add_columns: false,
            widen: false,
            follow: false,
            fence: Some(Arc::clone(&fence)),
        };
        let transport =
            Transport::new(Arc::new(server), self.message_bytes, self.receive_bytes, Routes::default());
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let hides = (!order.is_admin).then_some(fence);
        let output = Answers { sender, hides: hides.clone() };
        let work = Work { load, order, transport, place, keeps_rows: self.keeps_rows };
        let task = tokio::spawn(async move {
            work.run(&output).await.map_err(|error| match &hides {
                Some(fence) => error.reworded(fence.hide(error.message())),
                None => error,
            })
        });
        let running = Running { answers, task: Some(task) };
        let told = stream::unfold(running, |mut running| async move {
            let answer = running.next().await?;
            Some((answer, running))
        });
        Ok(told.boxed())
    }
}

/// One load.
struct Work {
    load: Load,
    order: LoadOrder,
    transport: Transport,
    place: OwnedSemaphorePermit,
    keeps_rows: bool,
}

impl Work {
    async fn run(self, output: &Answers) -> Result<Value> {
        let Self { load, order, transport, place, keeps_rows } = self;
        let started = Instant::now();
        let mut asks = inside(&transport, Arc::new(Principal::issued(SERVER, Role::Admin))).await?;
        let puts = inside(&transport, order.principal).await?;
        if let Some(key) = &order.key {
            let sql = format!(
                "SELECT 1 FROM pintail_internal.ingest_ledger WHERE key = {} AND table_name = {} LIMIT 1",
                quote_text(key),
                quote_text(&load.table.in_ledger())
            );
            if rows(&mut asks, &sql).await? > 0 {
                return Ok(
                    json!({ "table": load.table.to_string(), "rows": 0, "durable": keeps_rows, "duplicate": true }),
                );
            }
        }
        let failed = |failed: Failed| match failed {
            Failed::NotFound(error) | Failed::Load(error) => error,
        };
        let files = load.find(output).await.map_err(failed)?;
        let ready = load.open(files, &mut asks).await?;
        let clients = Clients { puts: puts.clone(), asks: asks.clone() };
        let summary = load.run(clients, ready, output).await?;
        if let Some(key) = order.key {
            remember(&load, puts, &mut asks, key).await?;
        }
        drop(place);
        Ok(answer(&load, &summary, keeps_rows, started.elapsed()))
    }
}

fn answer(load: &Load, summary: &Summary, keeps_rows: bool, took: Duration) -> Value {
    json!({
        "table": load.table.to_string(),
        "rows": summary.rows,
        "ignored": summary.ignored,
        "replaced": summary.replaced,
        "rejected": summary.rejected,
        "files": summary.files,
        "left_out": summary.left_out,
        "durable": keeps_rows,
        "duplicate": false,
        "seconds": took.as_secs_f64(),
    })
}

/// Remembers the load's key by a put without rows, after all of it was committed: until then the load may be done again,
/// and leaves out what it finds stored.
async fn remember(load: &Load, mut puts: Client, asks: &mut Client, key: String) -> Result<()> {
    let table = asks.query(&format!("SELECT * FROM {} LIMIT 0", load.table.to_sql()), &[]).await?;
    let headers = [(header::MODE, "append".to_owned()), (header::IDEMPOTENCY_KEY, key)];
    let none = stream::empty::<Result<RecordBatch>>();
    puts.put(&load.table, table.schema, none, &headers).await.map(|_| ())
}

/// Rows of a result; none where there is no such table yet.
async fn rows(client: &mut Client, sql: &str) -> Result<usize> {
    let mut batches = match client.query(sql, &[]).await {
        Ok(result) => result.batches,
        Err(error) if error.kind() == Kind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows();
    }
    Ok(rows)
}

/// What the caller hears of a load, and the task that does it.
struct Running {
    answers: mpsc::Receiver<Value>,
    task: Option<JoinHandle<Result<Value>>>,
}

impl Running {
    async fn next(&mut self) -> Option<Result<Value>> {
        if let Some(answer) = self.answers.recv().await {
            return Some(Ok(answer));
        }
        let ended = self.task.take()?.await;
        Some(ended.unwrap_or_else(|error| Err(Error::internal(format!("the load's task failed: {error}")))))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What a load says, as answers to its caller.
struct Answers {
    sender: mpsc::Sender<Value>,
    hides: Option<Arc<Fence>>,
}

impl Output for Answers {
    fn say(&self, line: &str) -> Result<()> {
        self.tell(line);
        Ok(())
    }

    fn tell(&self, line: &str) {
        let line = self.hides.as_ref().map_or_else(|| line.to_owned(), |fence| fence.hide(line));
        // Whoever does not read them does not miss them.
        let _ = self.sender.try_send(json!({ "note": line }));
    }

    fn progress(&self, rows: Option<u64>) -> Arc<dyn Progress> {
        let told = Mutex::new(Instant::now());
        Arc::new(Counter { sender: self.sender.clone(), of: rows, rows: AtomicU64::new(0), told })
    }
}

/// How far a load is, told now and then.
struct Counter {
    sender: mpsc::Sender<Value>,
    of: Option<u64>,
    rows: AtomicU64,
    told: Mutex<Instant>,
}

impl Progress for Counter {
    fn advance(&self, rows: u64) {
        let sent = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            // The next one says more.
            let _ = self.sender.try_send(json!({ "progress": { "rows": sent, "of": self.of } }));
        }
    }

    fn finish(&self) {
        let sent = self.rows.load(Ordering::Relaxed);
        let _ = self.sender.try_send(json!({ "progress": { "rows": sent, "of": self.of } }));
    }
}

/// A client of this server, as `principal`, without a socket.
async fn inside(transport: &Transport, principal: Arc<Principal>) -> Result<Client> {
    let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    tokio::spawn(serve_inside(transport.clone(), Link::inside(principal), theirs));
    let channel = Endpoint::from_static("http://inside")
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(64 << 20)
        .connect_with_connector(Pipe(Some(ours)))
        .await
        .map_err(|error| Error::internal(format!("the server cannot call itself: {error}")))?;
    Ok(Client::over(channel))
}

/// Gives a pipe as the connection, once.
struct Pipe(Option<DuplexStream>);

impl Service<Uri> for Pipe {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let pipe = self.0.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        Box::pin(async move { pipe.map(TokioIo::new) })
    }
}
