//! What the database says of its own tables.

mod actual;
mod constraints;
mod extras;
mod memory;
mod metadata;
mod rows;
mod table;
mod temporaries;

pub use actual::actual_table;
pub use constraints::{ForeignKeyColumn, PrimaryKeyColumn, foreign_keys, primary_keys};
pub use extras::table_extras;
pub use memory::{MemoryUse, engine_version, memory_use};
pub use metadata::{ColumnEntry, SchemaInfo, TableEntry, columns, columns_between, schemas, tables};
pub(crate) use rows::rows;
pub use table::{find_table, table_schema};
