//! DuckDB, and nothing else: open, prepare, append, read. The only place that names the duckdb crate.
//! Runs on: threads the bridges (`ingest::writer`, `query::reader`) give it. Everything here may block.
//! Never: async, gRPC types, waiting for a client.
//!
//! What a caller may assume about threads: a [`Connection`] is one DuckDB connection; it may move between
//! threads but is used by one at a time. A [`Cursor`] stays on the thread that opened it. [`Interrupt`] may
//! be called from anywhere, at any time, and is a no-op when its statement is over.

mod access;
mod append;
mod backup;
mod bound;
mod checkpoint;
mod connection;
mod database;
mod declared;
mod duckdb_error;
mod ffi;
pub mod group_commit;
mod health;
mod identities;
mod internal;
mod introspect;
mod ledgers;
mod memory;
mod plain;
mod read;
mod sql;
mod table_functions;
mod timezone;

pub use access::{
    Access, Grant, Level, Right, StoredGrant, Tables, check_grant, create_grants, forget_grant, keep_grant,
    read_grants,
};
pub use append::{append, count_rows, describe_rows, over_segment, rows_of_segment};
pub use backup::{Existing, Restored, backup, restore};
pub use bound::{Bound, bulk_insert, describe_bound, is_ordered, match_columns};
pub use checkpoint::Maintenance;
pub use connection::{Connection, SchemaPath};
pub use database::{
    BackupTarget, CheckpointHold, Database, Interrupt, Options, Progress, Replacing, StatementTurn,
};
pub use declared::{
    RecordedVersion, apply_declared, drop_if_empty, earlier_declarations, plan_declared,
    recorded_declarations, recorded_versions,
};
pub use ffi::{trim_malloc, tune_malloc};
pub use identities::{
    StoredToken, StoredUser, remove_token, remove_user, store_token, store_user, stored_tokens, stored_users,
};
pub use internal::INTERNAL_SCHEMA;
pub use introspect::{
    ColumnEntry, ForeignKeyColumn, MemoryUse, PrimaryKeyColumn, SchemaInfo, TableEntry, actual_table,
    columns, columns_between, engine_version, find_table, foreign_keys, memory_use, primary_keys, schemas,
    table_extras, table_schema, tables,
};
pub use ledgers::{
    LedgerBounds, LedgerRow, LoadPieces, append_ledger, append_loads, create_ledger, create_loads,
    cut_ledger, find_loads, forget_loads, forget_loads_sql, has_rows, ledger_lines, read_ledger,
    stored_loads,
};
pub use memory::{look_at_memory, set_process_limit};
pub use pintail_protocol::expand::{expansion, may_expand, slice, slices};
pub use plain::{BIT, STANDS_FOR, plain_batch, plain_schema};
pub use read::{
    ArraySize, Cursor, Described, Parameter, Parsed, Step, count_batch, describe, is_read_only_refusal,
    parse, parse_script, plan_as_json,
};
pub use sql::{BulkInsert, Class, Insert, Masked, STACK_BYTES, runs_alone};
pub use table_functions::{Segment, Teller, UNIT_ROWS, Unit};

use pintail_catalog as catalog;
use pintail_protocol::{error, rebuild};
