//! Declared tables: their versions on record, and the change from one to the next.

mod apply;
mod lock;
mod versions;

pub use apply::{apply_declared, plan_declared};
pub use lock::drop_if_empty;
pub use versions::{RecordedVersion, earlier_declarations, recorded_declarations, recorded_versions};
