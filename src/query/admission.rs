//! Places for running queries, and a bounded queue in front of them.
//! Runs on: async tasks.
//! Never: lets a query wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Kind, Result};

pub(super) struct Admission {
    places: Arc<Semaphore>,
    places_max: usize,
    queued: AtomicUsize,
    queued_max: usize,
    queue_timeout: Duration,
}

impl Admission {
    pub(super) fn new(places_max: usize, queued_max: usize, queue_timeout: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            queued: AtomicUsize::new(0),
            queued_max,
            queue_timeout,
        }
    }

    /// A place, given back when the permit is dropped.
    ///
    /// Errors: `Exhausted` naming `query.max_queued` or `query.queue_timeout`; `Deadline` when the caller's
    /// deadline comes first.
    pub(super) async fn enter(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _seat = Seat::take(self)?;
        let patience = Instant::now() + self.queue_timeout;
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        match tokio::time::timeout_at(until.into(), Arc::clone(&self.places).acquire_owned()).await {
            Ok(place) => place.map_err(|_| Error::internal("the query places were closed")),
            Err(_) if until < patience => {
                Err(Error::new(Kind::Deadline, "the deadline passed while the query waited for a place"))
            }
            Err(_) => Err(Error::exhausted(
                "query.queue_timeout",
                format!(
                    "{} queries are running and none ended within {}",
                    self.places_max,
                    humantime::format_duration(self.queue_timeout)
                ),
            )),
        }
    }

    pub(super) fn running(&self) -> u64 {
        (self.places_max - self.places.available_permits()) as u64
    }

    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed) as u64
    }
}

struct Seat<'a>(&'a AtomicUsize);

impl<'a> Seat<'a> {
    fn take(admission: &'a Admission) -> Result<Self> {
        if admission.queued.fetch_add(1, Ordering::Relaxed) >= admission.queued_max {
            admission.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::exhausted(
                "query.max_queued",
                format!(
                    "{} queries are running and {} are waiting",
                    admission.places_max, admission.queued_max
                ),
            ));
        }
        Ok(Self(&admission.queued))
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_limits_are_named_when_hit() {
        let admission = Arc::new(Admission::new(1, 1, Duration::from_millis(200)));
        let _running = admission.enter(None).await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.enter(None).await.map(|_| ()).unwrap_err().to_string() }
        });
        while admission.queued() == 0 {
            tokio::task::yield_now().await;
        }
        let refused = admission.enter(None).await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("query.max_queued"), "{refused}");
        let tired = waiting.await.unwrap();
        assert!(tired.contains("query.queue_timeout"), "{tired}");
        assert_eq!(admission.queued(), 0);
    }
}
