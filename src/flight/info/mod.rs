//! GetFlightInfo, PollFlightInfo, GetSchema and ListFlights: what a result will look like, and where to fetch it.
//! Runs on: the task of the call.
//! Never: runs a SELECT, except one whose columns are known only once it runs (PIVOT), and one that is polled.

mod change;
mod describe;
mod endpoint;
mod flight_info;
mod infos;
mod listing;
mod parallel;
mod poll;

pub(super) use describe::fetch;
pub(super) use endpoint::{expiration, schema_message};
pub(super) use flight_info::{flight_info, schema};
pub(super) use infos::Infos;
pub(super) use listing::list_flights;
pub(super) use poll::{Polls, poll};
