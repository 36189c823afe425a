//! Admission: permits by bytes that travel with a batch from the wire until it is appended.
//! Runs on: the async side asks, before it decodes; the writer thread gives back by dropping.
//! Never: drops a batch, or lets streams that wait for each other stand still: when the budget is used up,
//! the stream that holds the most is told to append what it has.
//!
//! A message that waits for room is in memory as it came from the wire, and no more: each stream has one at most, so
//! that they are bounded by `ingest.max_streams` times `server.max_message_bytes`. HTTP/2 holds back the others.

mod budget;
mod intake;
mod permit;
mod stream;
#[cfg(test)]
mod tests;

pub(super) use budget::Budget;
pub use intake::Intake;
pub use permit::Permit;
pub(super) use stream::StreamBudget;
