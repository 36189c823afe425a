//! A connection that is kept for one client, and whose turn it is.
//! Runs on: async tasks wait for a turn; the connection is used on blocking threads.
//! Never: lets two statements use one connection at a time.

use tokio::sync::Mutex;

use crate::engine::Connection;
use crate::error::{Error, Result};

/// A connection kept for one client; statements on it take turns.
pub(super) type Seat = Mutex<Seated>;

/// What is on a seat.
#[derive(Default)]
pub(super) struct Seated {
    pub(super) connection: Option<Connection>,
    /// Why the open transaction cannot be committed.
    pub(super) broken: Option<String>,
    /// Whether temporary objects may be on it.
    pub(super) temporary: bool,
    /// Whether it ends with the call it is for.
    pub(super) is_fleeting: bool,
}

impl Seated {
    /// What is made on the connection from now on stays out of the pool.
    pub(super) fn expect_temporaries(&mut self) {
        self.temporary = true;
        if let Some(connection) = &mut self.connection {
            connection.spoil();
            connection.expect_temporaries();
        }
    }
}

/// Runs `work` on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    #[expect(clippy::disallowed_methods, reason = "this is a bridge: the engine blocks")]
    let done = tokio::task::spawn_blocking(work);
    done.await.unwrap_or_else(|error| Err(Error::internal(format!("a session's thread failed: {error}"))))
}

/// Drops something that holds connections: a rollback may take its time.
pub(super) fn drop_aside<T: Send + 'static>(held: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn_blocking(move || drop(held));
        }
        Err(_) => drop(held),
    }
}
