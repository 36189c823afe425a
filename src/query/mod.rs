//! Bridge for reads: a thread per running query behind, a stream in front, a bounded queue between.
//! Runs on: async tasks call [`Query::describe`] and [`Query::run`].
//! Never: collects a result; runs more queries than allowed; leaves one running that nobody reads.

mod admission;
mod bound;
mod guarded;
mod listed;
mod opening;
mod queue;
mod reader;
mod returned;
mod shape;
mod sink;
mod statement;
mod stream;
mod text;
mod under_way;

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use listed::Listed;
pub use statement::{RunOptions, Statement};
pub use stream::{ResultStream, SharedResult};

use admission::Place;
use returned::Limits;
use stream::Started;
use under_way::{Begun, UnderWay};

use crate::config;
use crate::engine::{Class, Database};
use crate::error::{Error, Result};
use crate::running::{EngineThread, Running};
use crate::session::{Lease, Open, Share};

/// How often a query that waits for a place looks for one whose reader has stalled.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The read side of the server.
pub struct Query {
    database: Arc<Database>,
    admission: admission::Admission,
    running: Arc<Running>,
    listing: Arc<listed::Listing>,
    // Statements whose readers may stall.
    under_way: Mutex<Vec<Weak<UnderWay>>>,
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
            listing: Arc::default(),
            under_way: Mutex::default(),
            config: config.clone(),
        }
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
        let share = lease.share().cloned();
        let entry = self.listing.enter(&statement, &options);
        let listed = Arc::clone(&entry.listed);
        let place = tokio::select! {
            place = self.enter(share.as_ref(), options.deadline) => place?,
            () = listed.told() => return Err(listed::cancelled()),
        };
        let queued = started.elapsed();
        let own_limit = (!self.config.timeout.0.is_zero()).then(|| started + self.config.timeout.0);
        let deadline = match (options.deadline, own_limit) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let (opened, opening) = oneshot::channel();
        let (queue, results) = queue::queue(self.config.buffer_bytes.as_usize(), place);
        let (interrupt, outcome) = (Arc::clone(&listed.interrupt), Arc::new(OnceLock::new()));
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
        let thread_has = (queue, Arc::clone(&outcome), Arc::clone(&self.running), Arc::clone(&listed));
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: one blocking thread per query")]
        let handle = tokio::task::spawn_blocking(move || {
            let (queue, outcome, running, listed) = thread_has;
            let ended = reader::run(job, &runtime, opened, &queue)
                .map_err(|error| listed.explain(running.explain(error)));
            // Before the queue ends, whose readers ask for it then.
            let _ = outcome.set(ended.clone());
            ended
        });
        // From here on, dropping this future (the call was dropped) stops the thread.
        let mut thread = EngineThread::new(interrupt, handle);
        let Ok(start) = opening::opened(deadline, opening, &mut thread).await? else {
            // The reader ended before it could start; its own error says why.
            return Err(match thread.ended().await {
                Err(error) => error,
                Ok(()) => Error::internal("the query ended before it began"),
            });
        };
        let class = start.class;
        let under_way =
            UnderWay::new(Begun { class, results, thread, outcome, share, in_use, deadline, entry });
        let began = Started { schema: start.schema, prepared: start.prepared, queued, at: started };
        let mut result = ResultStream::new(began, &under_way);
        if class == Class::Query {
            under_way.end_when(listed.told(), listed::cancelled);
        }
        if !options.is_shared {
            result.settle().await?;
        }
        under_way.watch(self.config.stall_timeout.0);
        self.list(&under_way);
        Ok(result)
    }

    /// Waits for a place. A reader that has stalled for too long makes room for those who wait.
    async fn enter(&self, share: Option<&Arc<Share>>, deadline: Option<Instant>) -> Result<Place> {
        let limit = self.config.busy_stall_timeout.0;
        let relieved = async {
            loop {
                tokio::time::sleep(LOOK_EVERY.min(limit)).await;
                self.relieve(share, limit);
            }
        };
        tokio::select! {
            biased;
            entered = self.admission.enter(share, deadline) => entered,
            () = relieved => Err(Error::internal("looking for stalled readers ended")),
        }
    }

    /// Cuts the reader that has stalled for longest, if that is longer than `limit`: of this client, when it waits for a
    /// place of its own.
    fn relieve(&self, share: Option<&Arc<Share>>, limit: Duration) {
        let own = share.filter(|share| share.is_used_up());
        let listed = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let stalled =
            listed.iter().filter_map(Weak::upgrade).filter(|one| own.is_none_or(|own| one.is_of(own)));
        let longest =
            stalled.filter_map(|one| Some((one.clock.waited()?, one))).max_by_key(|(waited, _)| *waited);
        if let Some((_, one)) = longest {
            one.yield_to_another(limit);
        }
    }

    fn list(&self, under_way: &Arc<UnderWay>) {
        if under_way.is_over() {
            return;
        }
        let mut listed = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        listed.retain(|one| one.strong_count() > 0);
        listed.push(Arc::downgrade(under_way));
    }

    /// Ends results that wait for their readers: no interrupt reaches a thread that waits.
    pub fn let_go_of_readers(&self, why: &Error) {
        let listed = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for one in listed.iter().filter_map(Weak::upgrade).filter(|one| one.clock.waited().is_some()) {
            one.stop(why.clone());
        }
    }

    /// Ends the result that has waited for its reader for longest, and says for how long it has; `None` when none waits.
    pub(crate) fn let_go_of_one(&self, why: &Error) -> Option<Duration> {
        let listed = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let waiting = listed.iter().filter_map(Weak::upgrade).filter(|one| !one.is_over());
        let (waited, one) =
            waiting.filter_map(|one| Some((one.clock.waited()?, one))).max_by_key(|(waited, _)| *waited)?;
        one.make_room(why);
        Some(waited)
    }

    /// Statements that run or wait for a place, the oldest first.
    pub fn listed(&self) -> Vec<Arc<Listed>> {
        self.listing.all()
    }

    /// Stops a statement that `may` be stopped.
    ///
    /// Errors: `NotFound`, also for one that may not.
    pub fn cancel(&self, id: u64, may: impl Fn(&Listed) -> bool) -> Result<()> {
        self.listing.cancel(id, may)
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
