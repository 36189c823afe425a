//! Statements with parameters, and the rows bound to them.

mod order;
mod parameters;
mod prepared;
mod values;

pub use order::is_ordered;
pub use parameters::{bulk_insert, describe_bound, match_columns};
pub use prepared::Bound;
