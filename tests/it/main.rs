//! Everything that a client sees, over real servers; `tests/crash`, `tests/fault` and `tests/meet` are programs of their own.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod about;
mod collisions;
mod connections;
mod crowd;
mod declared;
mod exactly_once;
mod exchange;
mod flight_sql;
mod grants;
mod identity;
mod load;
mod memory;
mod polling;
mod put;
mod query;
mod session;
mod side_port;
mod sql_surface;
#[path = "../support/mod.rs"]
mod support;
mod types;
