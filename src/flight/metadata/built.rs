//! What arrow-flight's builders give -> our results.
//! Runs on: any thread; pure.

use arrow_flight::error::FlightError;

use crate::error::{Error, Result};

/// A failure of arrow-flight's builders is a mistake of this server, not of the client.
pub(super) fn encoded<T>(built: std::result::Result<T, FlightError>) -> Result<T> {
    built.map_err(|error| Error::internal(format!("the metadata cannot be encoded: {error}")))
}
