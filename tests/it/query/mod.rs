//! Queries and what comes back.

mod limits;
mod repeated;
mod results;
