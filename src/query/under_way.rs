//! A statement under way, as those know it who may end it: the readers of its result, its deadline, other calls.
//! Runs on: async tasks. A task of its own looks at the clocks, because HTTP/2 asks for the next batch only when its client
//! has taken the last one.
//! Never: keeps the engine, or a place, for a client that does not read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_channel::Receiver;
use tokio::task::AbortHandle;

use super::listed::Entry;
use super::opening::STOPPED;
use super::queue::{Clock, Item, QueueReader};
use crate::engine::Class;
use crate::error::{Error, Kind, Result};
use crate::running::{EngineThread, INTERRUPT_EVERY};
use crate::session::{InUse, Share};

/// How long a result without a reader waits for the next one to come, when some of its endpoints are still to be read.
const NEXT_READER: Duration = Duration::from_secs(5);

/// What the reader thread has ended with; empty until then, and for ever when it panicked.
pub(super) type Outcome = Arc<OnceLock<Result<()>>>;

/// A statement under way. Without anybody who holds it, it is stopped.
pub(super) struct UnderWay {
    pub(super) class: Class,
    pub(super) clock: Arc<Clock>,
    items: Receiver<Item>,
    thread: Mutex<Option<EngineThread>>,
    outcome: Outcome,
    stopped: OnceLock<Error>,
    deadline: Option<Instant>,
    share: Option<Arc<Share>>,
    // The session it is for, and its transaction, until its last batch is given.
    in_use: Mutex<Vec<InUse>>,
    readers: AtomicUsize,
    // Readers there have been.
    joined: AtomicUsize,
    watch: OnceLock<AbortHandle>,
    told: OnceLock<AbortHandle>,
    // Until nobody holds it.
    _entry: Entry,
}

/// What a statement is made known with.
pub(super) struct Begun {
    pub(super) class: Class,
    pub(super) results: QueueReader,
    pub(super) thread: EngineThread,
    pub(super) outcome: Outcome,
    /// Whose it is.
    pub(super) share: Option<Arc<Share>>,
    pub(super) in_use: Vec<InUse>,
    pub(super) deadline: Option<Instant>,
    /// Its place among those that are listed.
    pub(super) entry: Entry,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl UnderWay {
    pub(super) fn new(begun: Begun) -> Arc<Self> {
        let Begun { class, results, thread, outcome, share, in_use, deadline, entry } = begun;
        Arc::new(Self {
            class,
            clock: results.clock,
            items: results.items,
            thread: Mutex::new(Some(thread)),
            outcome,
            stopped: OnceLock::new(),
            deadline,
            share,
            in_use: Mutex::new(in_use),
            readers: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            watch: OnceLock::new(),
            told: OnceLock::new(),
            _entry: entry,
        })
    }

    /// The batches, for one more reader.
    pub(super) fn join(&self) -> Receiver<Item> {
        self.joined.fetch_add(1, Ordering::SeqCst);
        self.readers.fetch_add(1, Ordering::SeqCst);
        self.items.clone()
    }

    /// A reader has become something that others join.
    pub(super) fn detach(&self) {
        self.readers.fetch_sub(1, Ordering::SeqCst);
    }

    /// A reader has gone. The last one leaves a moment for the next, if anybody still holds the result.
    pub(super) fn leave(self: Arc<Self>) {
        if self.readers.fetch_sub(1, Ordering::SeqCst) > 1 || self.is_over() {
            return;
        }
        let (weak, joined) = (Arc::downgrade(&self), self.joined.load(Ordering::SeqCst));
        drop(self);
        if weak.strong_count() == 0 {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(NEXT_READER).await;
                let Some(left) = weak.upgrade() else { return };
                if left.readers.load(Ordering::SeqCst) == 0 && left.joined.load(Ordering::SeqCst) == joined {
                    left.stop(Error::new(
                        Kind::Aborted,
                        "the endpoints of the result were left before it was read to its end; ask for it again with \
                         GetFlightInfo",
                    ));
                }
            });
        }
    }

    /// A reader has taken a batch.
    pub(super) fn taken(&self) {
        self.clock.taken();
    }

    /// Nothing is left to be read.
    pub(super) fn is_over(&self) -> bool {
        self.stopped.get().is_some() || (self.outcome.get().is_some() && self.items.is_empty())
    }

    /// Why it was stopped, if it was.
    pub(super) fn stopped(&self) -> Option<&Error> {
        self.stopped.get()
    }

    /// How the result has ended, for a reader that has come to its end: only the thread's own word tells a complete
    /// result from a broken one.
    pub(super) fn ended(&self) -> Result<()> {
        if let Some(why) = self.stopped.get() {
            return Err(why.clone());
        }
        match self.outcome.get() {
            Some(Err(error)) if error.kind() == Kind::Cancelled && self.is_late() => {
                Err(Error::new(Kind::Deadline, STOPPED))
            }
            Some(ended) => ended.clone(),
            None => Err(Error::internal("the query thread failed")),
        }
    }

    /// Ends it for all its readers, now: its thread is interrupted, and what waits in the queue is let go of.
    pub(super) fn stop(&self, why: Error) {
        if self.stopped.set(why).is_err() {
            return;
        }
        self.items.close();
        while self.items.try_recv().is_ok() {}
        self.let_go_of_thread();
        locked(&self.in_use).clear();
    }

    fn let_go_of_thread(&self) {
        let Some(thread) = locked(&self.thread).take() else { return };
        if self.outcome.get().is_some() {
            thread.has_ended();
        }
    }

    /// Ends it when its deadline passes, or nobody has taken a batch for `stall_timeout`. A change is asked to stop, again and
    /// again: it may be in its COMMIT, and its own end says whether it was made.
    pub(super) fn watch(self: &Arc<Self>, stall_timeout: Duration) {
        if self.is_over() {
            return;
        }
        let task = tokio::spawn(watch(Arc::downgrade(self), self.deadline, stall_timeout));
        // The first one stays: a statement is watched once.
        let _ = self.watch.set(task.abort_handle());
    }

    /// Ends it with `why` when something has happened.
    pub(super) fn end_when(
        self: &Arc<Self>,
        happened: impl Future<Output = ()> + Send + 'static,
        why: fn() -> Error,
    ) {
        let weak = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            happened.await;
            if let Some(one) = weak.upgrade().filter(|one| !one.is_over()) {
                one.stop(why());
            }
        });
        // Asked for once.
        let _ = self.told.set(task.abort_handle());
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// What is done about a deadline that has passed; when to look again.
    fn deadline_passes(&self) -> Option<Instant> {
        if self.class == Class::Query {
            self.stop(Error::new(Kind::Deadline, STOPPED));
            return None;
        }
        if self.outcome.get().is_some() {
            return None;
        }
        if self.clock.has_begun() {
            self.stop(Error::new(
                Kind::Deadline,
                "the deadline passed while the rows of a change were read; the change itself was made",
            ));
            return None;
        }
        if let Some(thread) = &*locked(&self.thread) {
            thread.ask_to_stop();
        }
        Some(Instant::now() + INTERRUPT_EVERY)
    }

    /// Cuts a reader that has taken nothing for `limit`, which the setting `name` says; when to look again.
    fn is_stalled(&self, limit: Duration, name: &str, meanwhile: &str) -> Instant {
        let waited = self.clock.waited().unwrap_or_default();
        if waited < limit {
            return Instant::now() + (limit - waited);
        }
        let made = if self.class == Class::Query { "" } else { "; the change itself was made" };
        let limit = humantime::format_duration(limit);
        self.stop(Error::exhausted(name, format!("the reader took no batch for {limit}{meanwhile}{made}")));
        Instant::now()
    }

    /// Whether it is this client's.
    pub(super) fn is_of(&self, share: &Arc<Share>) -> bool {
        self.share.as_ref().is_some_and(|own| Arc::ptr_eq(own, share))
    }

    /// Cuts its reader, because the process has no memory left.
    pub(super) fn make_room(&self, why: &Error) {
        let made = if self.class == Class::Query { "" } else { "; the change itself was made" };
        self.stop(why.reworded(format!("{}{made}", why.message())));
    }

    /// Cuts its reader, for another query that waits for its place.
    pub(super) fn yield_to_another(&self, limit: Duration) {
        self.is_stalled(limit, "query.busy_stall_timeout", " while another query waited for a place");
    }
}

async fn watch(under_way: Weak<UnderWay>, mut deadline: Option<Instant>, stall_timeout: Duration) {
    loop {
        let Some(one) = under_way.upgrade().filter(|one| !one.is_over()) else { return };
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            deadline = one.deadline_passes();
        }
        let look = one.is_stalled(stall_timeout, "query.stall_timeout", "");
        if one.stopped().is_some() {
            return;
        }
        drop(one);
        let at = deadline.map_or(look, |deadline| deadline.min(look));
        tokio::time::sleep_until(at.into()).await;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        for task in [self.watch.get(), self.told.get()].into_iter().flatten() {
            task.abort();
        }
        self.items.close();
        self.let_go_of_thread();
    }
}
