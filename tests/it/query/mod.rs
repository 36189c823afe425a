//! Queries and what comes back.

mod arrays;
mod limits;
mod repeated;
mod results;
