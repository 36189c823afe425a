//! What lasts between calls: who is asking, and what they hold (options, a connection of their own,
//! transactions, prepared statements).
//! Runs on: async tasks; what touches the engine goes to blocking threads.
//! Never: outlives its client for longer than its idle timeout, or holds more than its named limits.
//!
//! A client is known by its cookie, else by its bearer token, else by its TCP connection. Most calls need
//! nothing of this and run on a pooled connection; a [`Lease`] is what they get either way.

mod begin_end;
mod client;
mod ended;
mod handle;
mod holdings;
mod lease;
mod prepared;
mod registry;
mod seat;
mod share;
mod statements;
mod temporaries;
mod transaction;
mod usage;

pub use client::{ClientSession, Owner};
pub use handle::{Handle, On};
pub use lease::{Lease, Open};
pub use prepared::{BoundRows, Prepared, Room};
pub use registry::Sessions;
pub use share::{Counted, Share};
pub use transaction::Ending;
pub use usage::InUse;
