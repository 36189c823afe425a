//! Small pieces of work of many clients -> one commit for those that wait together, an answer for each.
//! Runs on: the threads that hand work over, which take a lock for a moment; one thread per queue for as long as it has work.
//! Never: knows what is committed; keeps work waiting for more work longer than its bound; leaves work without an
//! answer, also when a commit panics.
//!
//! A leaf: `ingest` commits small puts this way and `engine` small INSERT statements. Queues are told apart by a key,
//! a table's name, so that a long commit into one table holds up no other.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Pieces of work committed together at most.
const GROUP_MAX: usize = 512;
/// How long a queue's thread stays for more work before it ends; a thread costs more to start than to keep.
const LINGER: Duration = Duration::from_millis(100);
/// Stack of a queue's thread, which parses and binds: what the engine's own shell has.
const STACK_BYTES: usize = 8 << 20;

/// Tells a client what became of its work.
pub type Answer = Box<dyn FnOnce() + Send>;

/// A piece of work.
pub trait Work: Send + 'static {
    /// Its size in rows.
    fn rows(&self) -> usize;
    /// Answers it with an error, because nobody will commit it.
    fn fail(self, error: Error);
}

/// What commits the groups of one queue, one after the other, and gives an answer for each piece of work.
pub type Committer<W> = Box<dyn FnMut(Vec<W>) -> Vec<Answer> + Send>;

/// Queues of work, by key.
pub struct Groups<K, W> {
    wait: Duration,
    rows_max: usize,
    queues: Mutex<HashMap<K, Arc<Queue<W>>>>,
    committer: Box<dyn Fn() -> Committer<W> + Send + Sync>,
}

/// The work that waits under one key.
struct Queue<W> {
    pending: Mutex<Pending<W>>,
    arrived: Condvar,
}

struct Pending<W> {
    work: Vec<W>,
    rows: usize,
    // Since when the oldest of it waits for company.
    since: Option<Instant>,
    // How much of it is worth waking the thread for, or how many rows.
    wakes_at: usize,
    wakes_at_rows: usize,
    // Set for good when the queue's thread ends; later work goes to a new one.
    is_over: bool,
}

impl<W> Default for Pending<W> {
    fn default() -> Self {
        Self { work: Vec::new(), rows: 0, since: None, wakes_at: 1, wakes_at_rows: 0, is_over: false }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Clone + Eq + Hash + Send + 'static, W: Work> Groups<K, W> {
    /// No work yet. Work waits for more work for `wait` at most, and a group has about `rows_max` rows. `committer` is
    /// called once for each queue.
    pub fn new(
        wait: Duration,
        rows_max: usize,
        committer: impl Fn() -> Committer<W> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let committer = Box::new(committer);
        Arc::new(Self { wait, rows_max, queues: Mutex::new(HashMap::new()), committer })
    }

    /// Hands work over; its answer comes by the way it carries.
    pub fn put(self: &Arc<Self>, key: &K, work: W) {
        let known = locked(&self.queues).get(key).cloned();
        let work = match known {
            Some(queue) => match queue.push(work) {
                None => return,
                Some(work) => work,
            },
            None => work,
        };
        // Rare: the queue is to be made, unless somebody else has done so meanwhile.
        let mut queues = locked(&self.queues);
        let work = match queues.get(key) {
            Some(queue) => match queue.push(work) {
                None => return,
                Some(work) => work,
            },
            None => work,
        };
        let queue = Arc::new(Queue { pending: Mutex::default(), arrived: Condvar::new() });
        let _ = queue.push(work);
        queues.insert(key.clone(), Arc::clone(&queue));
        drop(queues);
        let thread =
            std::thread::Builder::new().name("pintail-group".into()).stack_size(STACK_BYTES).spawn({
                let (groups, key, queue) = (Arc::clone(self), key.clone(), Arc::clone(&queue));
                move || groups.serve(key, queue)
            });
        if let Err(error) = thread {
            let error =
                Error::busy("the system's", format!("the system gives no thread for a commit: {error}"));
            queue.end(&error);
        }
    }

    /// Commits group after group until nothing comes any more.
    fn serve(&self, key: K, queue: Arc<Queue<W>>) {
        // However this ends, what waits is answered, and the next work starts a new thread.
        let _end = End { groups: self, key, queue: Arc::clone(&queue) };
        // As many as were under way together are worth waiting for: clients that have just had their answer are about
        // to come back. Without them, half of the clients would always wait for the other half's commit.
        let mut under_way = 0;
        let mut last = Duration::ZERO;
        let mut commit = (self.committer)();
        while let Some(group) = self.next_group(&queue, under_way, last) {
            under_way = group.len();
            let started = Instant::now();
            let answers = commit(group);
            last = started.elapsed();
            // Before the answers: a client that is quick with its next work must not count twice.
            under_way += locked(&queue.pending).work.len();
            for answer in answers {
                answer();
            }
        }
    }

    /// The next group; `None` when the thread may end.
    fn next_group(&self, queue: &Queue<W>, under_way: usize, last: Duration) -> Option<Vec<W>> {
        // Waiting longer than one commit takes never pays: by then the next group could have been committed.
        let patience = self.wait.min(last);
        let mut pending = locked(&queue.pending);
        let idle_since = Instant::now();
        // What came during the last commit starts to wait for company now.
        pending.since = (!pending.work.is_empty()).then_some(idle_since);
        loop {
            // Work that comes alone goes alone, at once; where there was company, a moment's wait gathers it again. The
            // thread sleeps through that moment: being woken for each of many costs as much as committing them.
            let mut enough = under_way.max(1);
            let left = match pending.since {
                Some(since) => {
                    let left = patience.saturating_sub(since.elapsed());
                    if pending.work.len() >= enough || pending.rows >= self.rows_max || left.is_zero() {
                        return Some(pending.take(self.rows_max));
                    }
                    left
                }
                None => {
                    let idle = idle_since.elapsed();
                    if idle >= LINGER {
                        pending.is_over = true;
                        return None;
                    }
                    if idle < patience {
                        patience - idle
                    } else {
                        enough = 1;
                        LINGER - idle
                    }
                }
            };
            (pending.wakes_at, pending.wakes_at_rows) = (enough, self.rows_max);
            pending = queue.arrived.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<W: Work> Queue<W> {
    /// Adds work; gives it back when the queue takes no more.
    fn push(&self, work: W) -> Option<W> {
        let mut pending = locked(&self.pending);
        if pending.is_over {
            return Some(work);
        }
        pending.push(work);
        let wakes = pending.work.len() >= pending.wakes_at || pending.rows >= pending.wakes_at_rows;
        drop(pending);
        // Not under the lock, which is the first thing that the woken thread wants.
        if wakes {
            self.arrived.notify_one();
        }
        None
    }

    /// Takes no more work and answers what waits with `error`.
    fn end(&self, error: &Error) {
        let left = {
            let mut pending = locked(&self.pending);
            pending.is_over = true;
            std::mem::take(&mut pending.work)
        };
        for work in left {
            work.fail(error.clone());
        }
    }
}

impl<W: Work> Pending<W> {
    fn push(&mut self, work: W) {
        self.rows += work.rows();
        self.since.get_or_insert_with(Instant::now);
        self.work.push(work);
    }

    fn take(&mut self, rows_max: usize) -> Vec<W> {
        let mut count = 0;
        let mut total = 0;
        for work in &self.work {
            if count > 0 && (count >= GROUP_MAX || total + work.rows() > rows_max) {
                break;
            }
            count += 1;
            total += work.rows();
        }
        self.rows -= total;
        // A thread at work is not pending to be woken.
        (self.wakes_at, self.wakes_at_rows) = (usize::MAX, usize::MAX);
        self.work.drain(..count).collect()
    }
}

/// The end of a queue's thread.
struct End<'a, K: Eq + Hash, W: Work> {
    groups: &'a Groups<K, W>,
    key: K,
    queue: Arc<Queue<W>>,
}

impl<K: Eq + Hash, W: Work> Drop for End<'_, K, W> {
    fn drop(&mut self) {
        self.queue
            .end(&Error::internal("the thread of the shared commit failed; nothing of this was stored"));
        let mut queues = locked(&self.groups.queues);
        if queues.get(&self.key).is_some_and(|current| Arc::ptr_eq(current, &self.queue)) {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::error::Kind;
    use crate::error::Result;

    struct Number {
        value: u64,
        reply: Sender<Result<u64>>,
    }

    impl Work for Number {
        fn rows(&self) -> usize {
            1
        }

        fn fail(self, error: Error) {
            self.reply.send(Err(error)).unwrap();
        }
    }

    /// Answers each number with the size of its group; a group with a 13 panics.
    fn groups() -> Arc<Groups<&'static str, Number>> {
        Groups::new(Duration::from_millis(5), 100, || {
            Box::new(|group: Vec<Number>| {
                assert!(group.iter().all(|number| number.value != 13), "thirteen");
                std::thread::sleep(Duration::from_millis(2));
                let size = group.len() as u64;
                group
                    .into_iter()
                    .map(|number| Box::new(move || drop(number.reply.send(Ok(size)))) as Answer)
                    .collect()
            })
        })
    }

    #[test]
    fn work_that_comes_together_is_committed_together() {
        let groups = groups();
        let (reply, answers) = channel();
        let mut largest = 0;
        for _ in 0..20 {
            for value in 0..8 {
                groups.put(&"t", Number { value, reply: reply.clone() });
            }
            largest = (0..8).map(|_| answers.recv().unwrap().unwrap()).fold(largest, u64::max);
        }
        assert!(largest >= 7, "groups of {largest} at most");
    }

    /// Whoever comes back alone, at once or after a pause, is not kept pending for those that do not.
    #[test]
    fn work_whose_company_stays_away_goes_alone() {
        let groups = groups();
        let (reply, answers) = channel();
        for pause in [Duration::ZERO, Duration::from_millis(20)] {
            let alone = |_| {
                for value in 0..8 {
                    groups.put(&"t", Number { value, reply: reply.clone() });
                }
                (0..8).for_each(|_| assert!(answers.recv().unwrap().is_ok()));
                std::thread::sleep(pause);
                let started = Instant::now();
                groups.put(&"t", Number { value: 1, reply: reply.clone() });
                assert_eq!(answers.recv_timeout(Duration::from_secs(10)).unwrap().unwrap(), 1);
                started.elapsed()
            };
            let quickest = (0..10).map(alone).min().unwrap();
            assert!(quickest < LINGER / 2, "{quickest:?} after a pause of {pause:?}");
        }
    }

    /// A panic is an error for those that it met, and the next work is committed.
    #[test]
    fn a_panic_leaves_nobody_waiting_and_the_queue_usable() {
        let groups = groups();
        let (reply, answers) = channel();
        for round in 0..3 {
            for value in [13, 1, 2, 3] {
                groups.put(&"t", Number { value, reply: reply.clone() });
            }
            // Those in the panicking group are dropped with their replies; the others hear of it or are committed.
            let (alone, answer) = channel();
            let until = Instant::now() + Duration::from_secs(10);
            loop {
                groups.put(&"t", Number { value: 1, reply: alone.clone() });
                match answer.recv_timeout(Duration::from_millis(500)) {
                    Ok(Ok(_)) => break,
                    _ => assert!(Instant::now() < until, "round {round}: the queue hangs"),
                }
            }
        }
        drop(reply);
        for answer in answers {
            assert!(answer.is_ok() || answer.unwrap_err().kind() == Kind::Internal);
        }
    }
}
