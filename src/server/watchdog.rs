//! Asks the engine every second whether it answers -> how long ago it did, for health, `/readyz` and metrics.
//! Runs on: a thread of its own, so that its question has a place whatever else waits.
//! Never: takes an old answer for a new one; keeps a connection between two questions.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};

/// How often the engine is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// An engine whose last answer is older than this does not answer.
pub(super) const STALE_AFTER: Duration = Duration::from_millis(3500);
/// How often health is brought up to date: with the two above, a wedged engine shows within five seconds.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the engine said last, and when.
struct Answer<T> {
    at: Instant,
    said: Result<T>,
}

struct Shared<T> {
    answer: Mutex<Answer<T>>,
    // Whether the server stops.
    stop: Mutex<bool>,
    woken: Condvar,
}

/// The thread that asks. It ends soon after this is dropped, when it is not held up by the engine.
pub(super) struct Watchdog<T> {
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Clone + Send + 'static> Watchdog<T> {
    /// Asks once, and from then on every second.
    ///
    /// Errors: what the first question ended with; `Internal` when there is no thread to be had.
    pub(super) fn start(ask: impl Fn() -> Result<T> + Send + 'static) -> Result<Self> {
        let first = Answer { at: Instant::now(), said: Ok(ask()?) };
        let shared =
            Arc::new(Shared { answer: Mutex::new(first), stop: Mutex::new(false), woken: Condvar::new() });
        let weak = Arc::downgrade(&shared);
        let thread = std::thread::Builder::new()
            .name("pintail-watchdog".into())
            .spawn(move || watch(&weak, &ask))
            .map_err(|error| Error::internal(format!("cannot start the watchdog's thread: {error}")))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// What the engine said last.
    ///
    /// Errors: what its question ended with; `Unavailable` when it has not answered for too long.
    pub(super) fn answer(&self) -> Result<T> {
        let answer = locked(&self.shared.answer);
        let age = answer.at.elapsed();
        if age > STALE_AFTER {
            return Err(Error::new(
                Kind::Unavailable,
                format!("the engine has not answered a query for {:.1} s", age.as_secs_f64()),
            ));
        }
        answer.said.clone()
    }

    /// How long ago the engine answered last.
    pub(super) fn age(&self) -> Duration {
        locked(&self.shared.answer).at.elapsed()
    }
}

fn watch<T>(shared: &Weak<Shared<T>>, ask: &impl Fn() -> Result<T>) {
    loop {
        {
            let Some(shared) = shared.upgrade() else { return };
            let stop = locked(&shared.stop);
            let (stop, _) =
                shared.woken.wait_timeout(stop, ASK_EVERY).unwrap_or_else(PoisonError::into_inner);
            if *stop {
                return;
            }
        }
        let said = ask();
        let Some(shared) = shared.upgrade() else { return };
        *locked(&shared.answer) = Answer { at: Instant::now(), said };
    }
}

impl<T> Watchdog<T> {
    /// Asks no more, and waits for the question under way, so that the database can be closed. One that the engine holds up is
    /// left behind.
    pub(super) fn stop(&self) {
        *locked(&self.shared.stop) = true;
        self.shared.woken.notify_all();
        let Some(thread) = locked(&self.thread).take() else { return };
        let until = Instant::now() + STALE_AFTER;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Watchdog<T> {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn an_engine_that_hangs_is_noticed_within_five_seconds_and_so_is_one_that_answers_again() {
        let (hold, held) = mpsc::channel::<()>();
        let held = Mutex::new(Some(held));
        // The first two questions are answered, the third one waits until the test lets go.
        let asked = Mutex::new(0);
        let watchdog = Watchdog::start(move || {
            let mut asked = locked(&asked);
            *asked += 1;
            if *asked == 3
                && let Some(held) = locked(&held).take()
            {
                let _ = held.recv();
            }
            Ok(*asked)
        })
        .unwrap();
        assert_eq!(watchdog.answer().unwrap(), 1);
        let until = |done: &dyn Fn() -> bool, limit: Duration| {
            let started = Instant::now();
            while !done() {
                assert!(started.elapsed() < limit, "it took longer than {limit:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        until(&|| watchdog.answer().is_ok_and(|asked| asked == 2), Duration::from_secs(3));
        until(&|| watchdog.answer().is_err(), Duration::from_secs(5));
        assert_eq!(watchdog.answer().unwrap_err().kind(), Kind::Unavailable);
        drop(hold);
        until(&|| watchdog.answer().is_ok(), Duration::from_secs(3));
    }

    #[test]
    fn an_engine_that_refuses_says_why() {
        let told = Mutex::new(false);
        let watchdog = Watchdog::start(move || {
            let is_second = std::mem::replace(&mut *locked(&told), true);
            if is_second { Err(Error::new(Kind::Unavailable, "lost")) } else { Ok(()) }
        })
        .unwrap();
        let started = Instant::now();
        while watchdog.answer().is_ok() {
            assert!(started.elapsed() < Duration::from_secs(5));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(watchdog.answer().unwrap_err().message(), "lost");
    }
}
