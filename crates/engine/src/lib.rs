//! DuckDB, and nothing else: open, prepare, append, read. The only place that names the duckdb crate.
//! Runs on: threads the bridges (`ingest::writer`, `query::reader`) give it. Everything here may block.
//! Never: async, gRPC types, waiting for a client.
//!
//! What a caller may assume about threads: a [`Connection`] is one DuckDB connection; it may move between
//! threads but is used by one at a time. A [`Cursor`] stays on the thread that opened it. [`Interrupt`] may
//! be called from anywhere, at any time, and is a no-op when its statement is over.

mod advice;
mod appender;
mod backup;
mod checkpoint_gate;
mod connection;
mod constraints;
mod culprits;
mod cursor;
mod database;
mod declared;
mod depth;
mod describe;
mod duckdb_error;
mod export;
mod extras;
mod ffi;
mod group;
pub mod group_commit;
mod holders;
mod interrupt;
mod inventory;
mod judge;
mod ledger;
mod load_ledger;
mod maintenance;
mod metadata;
mod open;
mod parameters;
mod plain;
mod prepared;
mod restore;
mod rewrite;
mod segment;
mod statement;
mod surface;
mod tables;
mod text;
mod timezone;

pub use appender::{BulkInsert, Insert, append, count_rows, describe_rows, over_segment, rows_of_segment};
pub use backup::{BackupTarget, backup};
pub use checkpoint_gate::StatementTurn;
pub use connection::{Connection, SchemaPath};
pub use constraints::{ForeignKeyColumn, PrimaryKeyColumn, foreign_keys, primary_keys};
pub use cursor::{Cursor, Step};
pub use database::{Database, Options};
pub use declared::{
    RecordedVersion, actual_table, apply_declared, earlier_declarations, plan_declared,
    recorded_declarations, recorded_versions,
};
pub use depth::STACK_BYTES;
pub use extras::table_extras;
pub use holders::CheckpointHold;
pub use interrupt::{Interrupt, Progress};
pub use judge::{Class, runs_alone};
pub use ledger::{
    INTERNAL_SCHEMA, LedgerBounds, LedgerRow, append_ledger, create_ledger, cut_ledger, ledger_lines,
    read_ledger,
};
pub use load_ledger::{
    LoadPieces, append_loads, create_loads, find_loads, forget_loads, forget_loads_sql, has_rows,
    stored_loads,
};
pub use maintenance::Maintenance;
pub use metadata::{ColumnEntry, SchemaInfo, TableEntry, columns, columns_between, schemas, tables};
pub use parameters::{bulk_insert, describe_bound, match_columns};
pub use pintail_protocol::expand::{expansion, may_expand, slice, slices};
pub use plain::{BIT, STANDS_FOR, plain_batch, plain_schema};
pub use prepared::Bound;
pub use restore::{Restored, restore};
pub use segment::{Segment, UNIT_ROWS, Unit};
pub use statement::{Described, Parameter, Parsed, READ_ONLY, count_batch, describe, parse, parse_script};
pub use tables::{drop_if_empty, find_table};

use pintail_catalog as catalog;
use pintail_protocol::{error, rebuild};
