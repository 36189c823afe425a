//! Statements of clients and of the server's own: read, described without running, and run for their rows.

mod cursor;
mod evident;
mod export;
mod likely;
mod plan;
mod query;
mod statement;

pub use cursor::{ArraySize, Cursor, Step};
pub(crate) use export::arrow_schema;
pub(crate) use likely::Likely;
pub use plan::plan_as_json;
pub(crate) use query::query;
pub use statement::{
    Described, Parameter, Parsed, count_batch, describe, is_read_only_refusal, parse, parse_script,
};
pub(crate) use statement::{names_of, without_casts_in};

#[cfg(test)]
mod any_text;
