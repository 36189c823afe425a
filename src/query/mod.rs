//! Bridge for reads: a thread per running query behind, a stream in front, a bounded queue between.
//! Runs on: async tasks call [`Query::describe`] and [`Query::run`].
//! Never: collects a result; runs more queries than allowed; leaves one running that nobody reads.

mod admission;
mod bound;
mod guarded;
mod opening;
mod queue;
mod reader;
mod returned;
mod shape;
mod sink;
mod statement;
mod stream;
mod text;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::oneshot;

pub use statement::{RunOptions, Statement};
pub use stream::ResultStream;

use returned::Limits;
use stream::UnderWay;

use crate::config;
use crate::engine::Database;
use crate::error::{Error, Result};
use crate::running::{EngineThread, Running};
use crate::session::{Lease, Open};

/// The read side of the server.
pub struct Query {
    database: Arc<Database>,
    admission: admission::Admission,
    running: Arc<Running>,
    config: config::Query,
}

impl Query {
    /// A read side over `database` within the bounds of `config`. What it runs is entered in `running`.
    pub fn new(database: Arc<Database>, running: Arc<Running>, config: &config::Query) -> Self {
        Self {
            database,
            admission: admission::Admission::new(
                config.max_concurrent,
                config.max_queued,
                config.queue_timeout.0,
            ),
            running,
            config: config.clone(),
        }
    }

    /// Runs a query of one row, past the places and the queue: says whether the engine answers at all.
    pub async fn probe(&self) -> Result<()> {
        self.catalog(Lease::pooled(Arc::clone(&self.database)), |connection| {
            connection.execute("SELECT 1").map(|_| ())
        })
        .await
    }

    /// Runs short catalog work, such as describing a statement, past the places and the queue.
    pub async fn catalog<T: Send + 'static>(
        &self,
        lease: Lease,
        work: impl FnOnce(&mut Open) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the bridge: catalog work blocks for microseconds"
        )]
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = lease.open()?;
            work(&mut connection).map_err(|error| connection.explain(error))
        });
        done.await.unwrap_or_else(|error| Err(Error::internal(format!("the catalog thread failed: {error}"))))
    }

    /// Starts a statement. A SELECT streams; a change has been committed when the stream ends, unless it
    /// belongs to a transaction of the client.
    ///
    /// Errors: as `engine::describe`; `Exhausted` when neither a place nor a seat in the queue is free.
    pub async fn run(&self, lease: Lease, statement: Statement, options: RunOptions) -> Result<ResultStream> {
        let started = Instant::now();
        let place = self.admission.enter(options.deadline).await?;
        let queued = started.elapsed();
        let own_limit = (!self.config.timeout.0.is_zero()).then(|| started + self.config.timeout.0);
        let deadline = match (options.deadline, own_limit) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let (opened, opening) = oneshot::channel();
        let (queue, results) = queue::queue(self.config.buffer_bytes.as_usize(), self.config.stall_timeout.0);
        let interrupt = Arc::new(OnceLock::new());
        let running = Arc::clone(&self.running);
        let in_use = lease.in_use();
        let job = reader::Job {
            lease,
            statement,
            running: Arc::clone(&self.running),
            interrupt: Arc::clone(&interrupt),
            progress: options.progress,
            batch_bytes: self.config.batch_bytes.as_usize(),
            batch_rows_max: options.batch_rows_max,
            only_reads: options.only_reads,
            returned: Limits {
                memory: self.config.buffer_bytes.as_usize(),
                file: self.database.options().max_temp_bytes,
                all: options.returned_bytes_max,
            },
        };
        let runtime = tokio::runtime::Handle::current();
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: one blocking thread per query")]
        let handle = tokio::task::spawn_blocking(move || {
            let _place = place;
            reader::run(job, &runtime, opened, &queue).map_err(|error| running.explain(error))
        });
        // From here on, dropping this future (the call was dropped) stops the thread.
        let mut thread = EngineThread::new(interrupt, handle);
        match opening::opened(deadline, opening, &mut thread).await? {
            Ok(start) => {
                let under_way = UnderWay { results, thread, deadline, in_use, queued, started };
                let mut result = ResultStream::new(start, under_way);
                result.settle().await?;
                Ok(result)
            }
            // The reader ended before it could start; its own error says why.
            Err(_) => match thread.ended().await {
                Err(error) => Err(error),
                Ok(()) => Err(Error::internal("the query ended before it began")),
            },
        }
    }

    /// Queries running.
    pub fn running(&self) -> u64 {
        self.admission.running()
    }

    /// Queries waiting for a place.
    pub fn queued(&self) -> u64 {
        self.admission.queued()
    }
}
