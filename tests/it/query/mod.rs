//! Queries and what comes back.

mod arrays;
mod endpoints;
mod limits;
mod repeated;
mod results;
mod stalled;
