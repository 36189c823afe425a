//! DoAction and ListActions: the server's own actions, named `pintail.*`.
//! Runs on: the task of the call. Answers are JSON.
//! Never: shows a path or a secret.

use arrow_flight::{Action, ActionType};
use bytes::Bytes;
use serde_json::json;

use super::FlightServer;
use super::call::Call;
use crate::error::{Error, Result};

/// Actions and what they do.
const ACTIONS: [(&str, &str); 2] = [
    ("pintail.status", "sizes, memory, and what is running; answers JSON"),
    ("pintail.checkpoint", "writes the log into the database file; answers JSON when done"),
];

pub(super) fn list() -> Vec<ActionType> {
    ACTIONS
        .iter()
        .map(|(name, what)| ActionType { r#type: (*name).into(), description: (*what).into() })
        .collect()
}

impl FlightServer {
    /// Runs one action and gives its one answer.
    pub(super) async fn action(&self, action: Action, call: &mut Call) -> Result<Bytes> {
        call.what = crate::error::shorten(&action.r#type, 100);
        match action.r#type.as_str() {
            "pintail.status" => Ok(self.status().to_string().into()),
            "pintail.checkpoint" => {
                let before = self.database.wal_bytes();
                self.query.checkpoint().await?;
                let answer = json!({ "wal_bytes_before": before, "wal_bytes": self.database.wal_bytes() });
                Ok(answer.to_string().into())
            }
            other => {
                let known: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
                Err(Error::unsupported(format!(
                    "unknown action \"{}\"; this server has {}",
                    crate::error::shorten(other, 100),
                    known.join(", ")
                )))
            }
        }
    }

    fn status(&self) -> serde_json::Value {
        let options = self.database.options();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "database": {
                "bytes": self.database.file_bytes(),
                "wal_bytes": self.database.wal_bytes(),
                "memory_limit_bytes": options.memory_limit_bytes,
                "threads": options.threads,
                "healthy": !self.database.is_lost(),
            },
            "memory": {
                "resident_bytes": crate::metrics::resident_bytes(),
                "peak_resident_bytes": crate::metrics::peak_resident_bytes(),
            },
            "ingest": {
                "streams": self.ingest.streams_open(),
                "inflight_bytes": self.ingest.inflight_bytes(),
            },
            "query": { "running": self.query.running(), "queued": self.query.queued() },
        })
    }
}
