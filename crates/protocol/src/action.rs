//! Names of the actions that are Pintail's own.
//! Runs on: any thread; pure.
//! Never: says what an action takes or does.

/// Sizes, memory, and what is running.
pub const STATUS: &str = "pintail.status";
/// Where a producer stands: [`IngestStatus`](crate::answer::IngestStatus).
pub const INGEST_STATUS: &str = "pintail.ingest_status";
/// Forgets which files were loaded into a table.
pub const FORGET_LOADS: &str = "pintail.forget_loads";
/// The declared tables.
pub const SCHEMAS: &str = "pintail.schemas";
/// What applying declarations would change.
pub const SCHEMA_PLAN: &str = "pintail.schema_plan";
/// Applies declarations.
pub const SCHEMA_APPLY: &str = "pintail.schema_apply";
/// Writes the log into the database file.
pub const CHECKPOINT: &str = "pintail.checkpoint";
/// Lets a user do something with tables.
pub const GRANT: &str = "pintail.grant";
/// Takes back what a user was granted on tables.
pub const REVOKE: &str = "pintail.revoke";
/// What users were granted.
pub const GRANTS: &str = "pintail.grants";
/// Writes a copy of the database.
pub const BACKUP: &str = "pintail.backup";
