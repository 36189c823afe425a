//! A small Flight client: what the command line, tests, benches and examples use; and a producer that never doubles.
//! Runs on: async tasks of the caller.
//! Never: holds more than one batch of a stream; the producer alone keeps rows, within its bound.

mod backlog;
mod client;
mod connect;
mod cut;
mod delivery;
mod producer;
mod put;
mod runs;
mod wire;

pub use backlog::{Durable, ProducerOptions};
pub use client::{Client, Rows};
pub use connect::{Authorized, ConnectOptions};
pub use pintail_protocol::answer::PutAnswer;
pub use pintail_protocol::error;
pub use pintail_protocol::names::TableName;
pub use pintail_protocol::source::Source;
pub use pintail_protocol::status::from_status;
pub use producer::{Instance, Lag, Producer};
pub use put::Loaded;
