//! A database that is open, and what all connections to it share.

mod backup_target;
mod checkpoint_gate;
#[allow(clippy::module_inception, reason = "the folder is about this one type")]
mod database;
mod files;
mod holders;
mod interrupt;
mod no_files;
mod open;
mod options;
mod row_commits;

pub use backup_target::BackupTarget;
pub(crate) use checkpoint_gate::CommitKind;
pub use checkpoint_gate::StatementTurn;
pub use database::Database;
pub(crate) use files::{remove_files, sync_folder, with_ending};
pub use holders::CheckpointHold;
pub(crate) use holders::Hold;
pub use interrupt::{Interrupt, Progress};
pub(crate) use open::LOSSLESS;
pub use options::Options;
pub use row_commits::Replacing;
pub(crate) use row_commits::Touched;
