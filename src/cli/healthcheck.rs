//! `pintail healthcheck`: whether a server serves, as an exit code; for container runtimes and probes.
//! Runs on: the task of the command.
//! Never: needs an account, or waits longer than a probe does.

use std::time::Duration;

use pintail::error::{Error, Kind};
use pintail_protocol::status::from_status;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::{Failure, Remote};

/// How long the server may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the server's gRPC health service, which wants no credentials.
pub(super) async fn run(remote: Remote) -> Result<(), Failure> {
    let asked = async {
        let client = remote.connect().await?;
        let answer = HealthClient::new(client.channel()).check(HealthCheckRequest::default()).await;
        let status = answer.map_err(|status| Failure::Work(from_status(status)))?.into_inner().status();
        Ok(status)
    };
    let status = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        Err(Failure::Work(Error::new(
            Kind::Deadline,
            format!("the server did not answer within {} s", PATIENCE.as_secs()),
        )))
    })?;
    match status {
        ServingStatus::Serving => {
            say!("serving");
            Ok(())
        }
        other => Err(Failure::Work(Error::new(
            Kind::Unavailable,
            format!("the server answers, and does not serve: {}", other.as_str_name()),
        ))),
    }
}
