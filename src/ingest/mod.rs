//! Bridge for writes: async in front, a thread per stream behind, a budget of bytes between.
//! Runs on: async tasks call [`Ingest::begin`], [`Put::send`] and [`Put::finish`].
//! Never: holds more bytes than the budget, or gives up rows silently.
//!
//! A put is one transaction, or part of one that the client has opened, or, with [`Commit::Progress`], a
//! transaction per slice. Small puts into one table share a transaction (`group_commit`). [`Put::finish`] returns after
//! COMMIT; a [`Put`] that is dropped before that is rolled back.

mod admission;
mod counts;
mod engine_text;
mod error;
mod exactly_once;
mod group_commit;
mod job;
mod placement;
mod put;
mod request;
mod row_groups;
mod service;
mod shared;
mod tables;
mod writer;

pub use admission::{Intake, Permit as Room};
pub use counts::{Ack, Counts, PutSummary, Timings};
pub use exactly_once::{Claim, KeyEntry, Keyed, LineStatus, ProducerStatus, StreamChecksum, sequence};
pub use pintail_protocol::decode::Need;
pub use pintail_protocol::header::{Mode, OnConflict, Sources};
pub use put::Put;
pub use request::{Commit, PutRequest, PutTarget, Terms};
pub use service::Ingest;
