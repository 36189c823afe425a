//! Results and the tickets that stand for them.
//! Runs on: the task of the call.

mod fetch;
mod prepared;
mod run;
mod ticket;

pub(super) use fetch::{Fetch, Parts};
pub(super) use prepared::{fetch_bound, fetch_prepared, prepared_fetch, result_schema};
pub(super) use run::{Results, changed_rows, count_changed};
pub(super) use ticket::{Asked, LIFETIME, Stop, Tickets};
