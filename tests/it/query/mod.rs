//! Queries and what comes back.

mod limits;
mod results;
