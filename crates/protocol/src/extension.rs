//! The keys of a field's metadata that say more of its type: Arrow's extension types, and our own.
//! Runs on: any thread; pure.
//! Never: knows an extension type.

/// Its name, such as `arrow.json`.
pub const NAME: &str = "ARROW:extension:name";
/// What the type takes besides its name.
pub const METADATA: &str = "ARROW:extension:metadata";
/// Which of DuckDB's types a column stands for that was sent as another one.
pub const STANDS_FOR: &str = "pintail:stands_for";
