//! BeginTransaction and EndTransaction.
//! Runs on: the task of the call.

use std::sync::Arc;

use arrow_flight::Action;
use arrow_flight::sql::{ActionBeginTransactionResult, ActionEndTransactionRequest, EndTransaction};
use bytes::Bytes;

use super::any::{packed, unpack};
use crate::error::{Error, Result};
use crate::flight::request::{handle_bytes, transaction_handle};
use crate::session::{ClientSession, Ending};

/// Opens a transaction and answers its id.
pub(super) async fn begin(session: &Arc<ClientSession>) -> Result<Bytes> {
    let transaction_id = handle_bytes(session.begin().await?);
    Ok(packed(&ActionBeginTransactionResult { transaction_id }))
}

/// Commits a transaction or rolls it back.
pub(super) async fn end(session: &Arc<ClientSession>, action: &Action) -> Result<()> {
    let request: ActionEndTransactionRequest = unpack(action)?;
    let handle = transaction_handle(&request.transaction_id)?;
    let ending = match request.action() {
        EndTransaction::Commit => Ending::Commit,
        EndTransaction::Rollback => Ending::Rollback,
        EndTransaction::Unspecified => {
            return Err(Error::invalid("EndTransaction: expected the action COMMIT or ROLLBACK"));
        }
    };
    session.end(handle, ending).await
}
