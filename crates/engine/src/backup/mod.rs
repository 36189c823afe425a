//! The whole database into a file, and back.

#[allow(clippy::module_inception, reason = "the way out, beside the way back")]
mod backup;
mod inventory;
mod restore;

pub use backup::backup;
pub use restore::{Existing, Restored, restore};
