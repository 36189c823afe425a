//! Places for running queries, and a bounded queue in front of them.
//! Runs on: async tasks.
//! Never: lets a query wait for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Kind, Result};
use crate::session::Share;

pub(super) struct Admission {
    places: Arc<Semaphore>,
    places_max: usize,
    queued: AtomicUsize,
    queued_max: usize,
    queue_timeout: Duration,
}

/// A place for a running query; given back when dropped.
pub(super) struct Place {
    _own: Option<OwnedSemaphorePermit>,
    _place: OwnedSemaphorePermit,
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

    /// A place for a client, whose queries have a part of the places at most. What is beyond that waits behind its own
    /// queries, not before those of others.
    ///
    /// Errors: `Exhausted` naming `query.max_queued`, `query.queue_timeout` or `session.max_queries`; `Deadline` when the
    /// caller's deadline comes first.
    pub(super) async fn enter(&self, share: Option<&Arc<Share>>, deadline: Option<Instant>) -> Result<Place> {
        let own = share.map(|share| share.try_query());
        if own.as_ref().is_none_or(Option::is_some)
            && let Ok(place) = Arc::clone(&self.places).try_acquire_owned()
        {
            return Ok(Place { _own: own.flatten(), _place: place });
        }
        drop(own);
        let _seat = Seat::take(self)?;
        let _own_seat = share.map(|share| share.queue(self.queued_max)).transpose()?;
        let patience = Instant::now() + self.queue_timeout;
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        let place = async {
            let own = match share {
                Some(share) => Some(share.query().await?),
                None => None,
            };
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_| Error::internal("the query places were closed"))?;
            Ok(Place { _own: own, _place: place })
        };
        match tokio::time::timeout_at(until.into(), place).await {
            Ok(place) => place,
            Err(_) if until < patience => {
                Err(Error::new(Kind::Deadline, "the deadline passed while the query waited for a place"))
            }
            Err(_) => {
                let waited = humantime::format_duration(self.queue_timeout);
                Err(match share.filter(|share| share.is_used_up()) {
                    Some(share) => Error::busy(
                        "session.max_queries",
                        format!(
                            "{} queries of this client are running and none ended within {waited}",
                            share.queries_max()
                        ),
                    ),
                    None => Error::busy(
                        "query.queue_timeout",
                        format!("{} queries are running and none ended within {waited}", self.places_max),
                    ),
                })
            }
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
            return Err(Error::busy(
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
        let _running = admission.enter(None, None).await.unwrap();
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.enter(None, None).await.map(|_| ()).unwrap_err().to_string() }
        });
        while admission.queued() == 0 {
            tokio::task::yield_now().await;
        }
        let refused = admission.enter(None, None).await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("query.max_queued"), "{refused}");
        let tired = waiting.await.unwrap();
        assert!(tired.contains("query.queue_timeout"), "{tired}");
        assert_eq!(admission.queued(), 0);
    }

    /// A client that asks for all places and the whole queue leaves others theirs, and its own wait their turn.
    #[tokio::test]
    async fn a_greedy_client_leaves_places_to_others() {
        let admission = Arc::new(Admission::new(4, 8, Duration::from_millis(200)));
        let (greedy, other) = (Share::new(2), Share::new(2));
        let first = admission.enter(Some(&greedy), None).await.unwrap();
        let _second = admission.enter(Some(&greedy), None).await.unwrap();
        let waiting: Vec<_> = (0..4)
            .map(|_| {
                let (admission, greedy) = (Arc::clone(&admission), Arc::clone(&greedy));
                tokio::spawn(async move { admission.enter(Some(&greedy), None).await })
            })
            .collect();
        while admission.queued() < 4 {
            tokio::task::yield_now().await;
        }
        let refused = admission.enter(Some(&greedy), None).await.map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("query.max_queued") && refused.contains("this client"), "{refused}");
        let _others = admission.enter(Some(&other), None).await.unwrap();
        assert_eq!(admission.running(), 3, "one place is left");
        drop(first);
        let mut got = 0;
        for one in waiting {
            match one.await.unwrap() {
                // Kept, so that the others wait until they are told.
                Ok(place) => {
                    got += 1;
                    drop(tokio::spawn(async move {
                        let _place = place;
                        std::future::pending::<()>().await;
                    }));
                }
                Err(error) => assert!(error.to_string().contains("session.max_queries"), "{error}"),
            }
        }
        assert_eq!(got, 1);
    }
}
