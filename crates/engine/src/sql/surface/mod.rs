//! What a client's SQL may do, found in its tokens and in what the catalog has behind names.

mod arguments;
mod definition;
mod lists;
mod names;
mod reach;
#[allow(clippy::module_inception, reason = "the folder is about this one type")]
mod surface;

pub(crate) use definition::{defined_kind, defined_path};
pub(crate) use reach::Reach;
pub(crate) use surface::{Surface, changing_body, no_checkpoint};

#[cfg(test)]
mod tests;
