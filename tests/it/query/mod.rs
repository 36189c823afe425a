//! Queries and what comes back.

mod endpoints;
mod limits;
mod results;
mod stalled;
