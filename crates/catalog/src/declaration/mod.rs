//! A table as its users declare it: the contract between producers and readers.
//! Runs on: any thread; pure values. Never: looks at the database; `evolution` compares the two.

mod folder;
mod in_force;
mod literal;
mod model;
mod problem;
mod read;
mod write;

pub use folder::read_folder;
pub use in_force::Declarations;
pub(super) use literal::{from_expression, toml_value};
pub use model::{Declaration, DeclaredField, DeclaredType, NewColumns, Strictness};
pub use problem::{Problem, Problems};
pub use read::{SchemaFile, read_declarations};

#[cfg(test)]
mod tests;
