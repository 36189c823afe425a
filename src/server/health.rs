//! Why the server does not serve, if it does not -> the status of each of its gRPC services.
//! Runs on: async tasks.
//! Never: says SERVING while one reason is left not to.

use std::sync::{Mutex, PoisonError};

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Services that health is asked for: all, and each by its name.
pub(super) const SERVICES: [&str; 2] = ["", "arrow.flight.protocol.FlightService"];

/// A reason not to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The database is lost, and being opened anew.
    Lost,
    /// The server stops.
    Stopping,
    /// The engine does not answer.
    Wedged,
}

/// What health says.
pub(super) struct Health {
    reporter: HealthReporter,
    reasons: Mutex<Vec<Reason>>,
}

impl Health {
    /// Serving.
    pub(super) async fn new(reporter: HealthReporter) -> Self {
        let health = Self { reporter, reasons: Mutex::default() };
        health.report(ServingStatus::Serving).await;
        health
    }

    /// A reason holds from now on, or no longer. Whether that is news.
    pub(super) async fn set(&self, reason: Reason, holds: bool) -> bool {
        let is_first_or_last = {
            let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
            if reasons.contains(&reason) == holds {
                return false;
            }
            if holds {
                reasons.push(reason);
                reasons.len() == 1
            } else {
                reasons.retain(|other| *other != reason);
                reasons.is_empty()
            }
        };
        if is_first_or_last {
            let status = if holds { ServingStatus::NotServing } else { ServingStatus::Serving };
            self.report(status).await;
        }
        true
    }

    async fn report(&self, status: ServingStatus) {
        for service in SERVICES {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_server::Health as _;
    use tonic_health::server::{HealthReporter, HealthService};

    use super::*;

    #[tokio::test]
    async fn each_service_serves_when_no_reason_is_left() {
        let reporter = HealthReporter::new();
        let service = HealthService::from_health_reporter(reporter.clone());
        let health = Health::new(reporter).await;
        let serves = async || {
            let mut all = Vec::new();
            for name in SERVICES {
                let request = tonic::Request::new(HealthCheckRequest { service: name.to_owned() });
                all.push(service.check(request).await.unwrap().into_inner().status == 1);
            }
            assert!(all.windows(2).all(|two| two[0] == two[1]), "{all:?}");
            all[0]
        };
        assert!(serves().await);
        assert!(health.set(Reason::Wedged, true).await);
        assert!(!health.set(Reason::Wedged, true).await);
        health.set(Reason::Lost, true).await;
        health.set(Reason::Wedged, false).await;
        assert!(!serves().await, "one reason is left");
        health.set(Reason::Lost, false).await;
        assert!(serves().await);
        let other = tonic::Request::new(HealthCheckRequest { service: "another".to_owned() });
        assert_eq!(service.check(other).await.unwrap_err().code(), tonic::Code::NotFound);
    }
}
