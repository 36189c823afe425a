//! The tables that say what was stored already: puts by key and producer, and pieces of files.

mod ingest;
mod load;
mod own_table;

pub(crate) use own_table::create_own;

pub use ingest::{
    LedgerBounds, LedgerRow, append_ledger, create_ledger, cut_ledger, ledger_lines, read_ledger,
};
pub use load::{
    LoadPieces, append_loads, create_loads, find_loads, forget_loads, forget_loads_sql, has_rows,
    stored_loads,
};
