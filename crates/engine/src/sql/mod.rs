//! The text of statements: what they do, what they may reach, and the same statement over other values.

mod bulk_insert;
mod casts;
mod class;
pub(crate) mod depth;
mod insert;
mod judge;
mod masked;
mod parameters;
mod series;
mod surface;
mod target;
mod token;

pub(crate) use bulk_insert::bulk_insert;
pub(crate) use casts::{Inside, with_integers, with_types, without_casts};
pub use class::{Class, runs_alone};
pub(crate) use class::{Impact, impact};
pub use depth::STACK_BYTES;
pub use insert::{BulkInsert, Insert};
pub(crate) use judge::{ALWAYS, Judge, Judged, explained_at};
pub use masked::Masked;
pub(crate) use masked::masked;
pub(crate) use series::{UTC_FUNCTION, is_read_alike, next_statement};
pub(crate) use surface::Surface;
pub(crate) use target::{may_drop_or_rename, renamed_table, replaced_table, written_table};
pub(crate) use token::{Token, opened, tokens};
