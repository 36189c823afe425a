//! Names of the actions that are Pintail's own.
//! Runs on: any thread; pure.
//! Never: says what an action takes or does.

/// Sizes, memory, and what is running.
pub const STATUS: &str = "pintail.status";
/// Where a producer stands: [`IngestStatus`](crate::answer::IngestStatus).
pub const INGEST_STATUS: &str = "pintail.ingest_status";
/// Loads files that lie on the server's machine.
pub const LOAD: &str = "pintail.load";
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
/// The users.
pub const USERS: &str = "pintail.users";
/// Adds a user.
pub const USER_ADD: &str = "pintail.user_add";
/// Changes a user's password or role.
pub const USER_CHANGE: &str = "pintail.user_change";
/// Removes a user.
pub const USER_REMOVE: &str = "pintail.user_remove";
/// The API tokens.
pub const TOKENS: &str = "pintail.tokens";
/// Makes an API token.
pub const TOKEN_ADD: &str = "pintail.token_add";
/// Revokes an API token.
pub const TOKEN_REVOKE: &str = "pintail.token_revoke";
