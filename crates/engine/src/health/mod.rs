//! Fatal errors of the engine: noticed, reported, and held against the statements that led to them.

mod culprits;
#[allow(clippy::module_inception, reason = "the folder is about this one type")]
mod health;

pub(crate) use health::{Health, lost};
