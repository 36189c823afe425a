//! Small pieces of work of many clients in one commit.

mod groups;
mod inserts;

pub use groups::{Answer, Committer, Groups, Work};
pub(crate) use inserts::{SmallInsert, SmallInserts, taken_back};
