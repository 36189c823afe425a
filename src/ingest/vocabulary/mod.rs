//! The words of a put: what is asked for, and what became of the rows.
//! Runs on: any thread; pure values.
//! Never: does anything about them.

pub(super) mod counts;
pub(super) mod request;
