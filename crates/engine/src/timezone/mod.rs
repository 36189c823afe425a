//! TIMESTAMP WITH TIME ZONE without the engine's ICU extension: its functions, casts and setting.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: replaces a function the engine has; every registration is a further overload.
//!
//! The zone of a connection is UTC and stays UTC: so the engine itself converts timestamps with a zone to text,
//! and a second zone would contradict it. Other zones come in by name, with AT TIME ZONE and its like.
//! Results equal those of the extension with `TimeZone = 'UTC'`; `tests/python/test_timezones.py` compares them.

mod functions;
mod pure;

pub(crate) use functions::register;
