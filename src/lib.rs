//! Pintail: an Arrow Flight and Flight SQL server that appends RecordBatches to DuckDB without touching
//! single rows, and streams results back in flat memory.
//!
//! ```text
//!              WRITE                                        READ
//!  wire        flight::put                                  flight::get
//!                | FlightData                                 ^ Frame
//!              protocol::decode                             flight::wire
//!                | RecordBatch                                ^ RecordBatch
//!  rules       catalog::conform                             engine::statement   (schema known before running)
//!                | RecordBatch, the table's columns           ^ RecordBatch
//!  whose       session             (lease: a pooled connection, or the client's own)
//!  gate        ingest::admission   (bytes in flight)        query::admission    (queries in flight)
//!  bridge      ingest::writer      (bounded queue, thread)  query::reader       (bounded queue, thread)
//!                | row-group units                            ^ RecordBatch
//!  engine      engine::appender                             engine::cursor
//!                | data chunks (borrowed buffers)             ^ Arrow arrays built by DuckDB's own threads
//!              ---------------------------- DuckDB ----------------------------
//! ```
//!
//! Async lives in `flight`; blocking lives in `engine`; they meet in `ingest` and `query`, over queues
//! bounded in bytes. `about` knows what was done, `auth` finds out who asks, `tls` accepts connections, `session` keeps what lasts between calls. `server` alone joins the parts; `client` is what the command line and the tests use.

pub mod server;

pub mod flight;

pub mod load;

pub mod ingest;
pub mod operations;
pub mod query;

pub mod session;

pub mod about;

pub mod auth;
pub mod config;
pub mod files;
pub mod metrics;
pub mod running;
pub mod tls;
pub mod written;

pub use pintail_catalog as catalog;
pub use pintail_client as client;
pub use pintail_engine as engine;
pub use pintail_protocol::{error, rebuild, size};

#[cfg(test)]
#[path = "../tests/support/damaged.rs"]
mod damaged;
