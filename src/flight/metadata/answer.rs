//! The answer to a metadata command as batches of about a MiB, each made when the client wants it.
//! Runs on: the thread of a query; blocks for a catalog query.
//! Never: holds more than one batch, or the columns of more tables than one look-up gives.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::sql::CommandGetTables;

use super::{columns, listing};
use crate::catalog::TableName;
use crate::engine::{self, ColumnEntry, Connection, TableEntry};
use crate::error::{Error, Kind, Result};
use crate::flight::wire::Form;

/// Bytes of a batch, roughly: half of what clients take in a message leaves room for a schema above it.
pub(in crate::flight) const PIECE_BYTES: usize = 1 << 20;
/// Bytes that one table's schema may take in a message: clients refuse messages above 4 MiB unless told otherwise.
const SCHEMA_BYTES_MAX: usize = 3 << 20;
/// Columns looked up at once. Each look-up costs the engine a pass over all columns there are, and each column some
/// 200 bytes here.
const COLUMNS_AT_ONCE: u64 = 100_000;

/// What is left of an answer.
pub(in crate::flight) enum Answer {
    /// One batch, or none any more.
    Whole(Option<RecordBatch>),
    /// Batches of items that are in memory.
    Pieces(Box<dyn Pieces>),
    /// Tables, whose schemas are looked up as they leave.
    Tables(Box<Tables>),
}

/// Batches, one after the other.
pub(in crate::flight) trait Pieces: Send {
    fn next(&mut self) -> Result<RecordBatch>;
    fn is_done(&self) -> bool;
}

struct Cut<T, B> {
    items: VecDeque<T>,
    weigh: fn(&T) -> usize,
    build: B,
}

impl<T: Send, B: Fn(&[T]) -> Result<RecordBatch> + Send> Pieces for Cut<T, B> {
    fn next(&mut self) -> Result<RecordBatch> {
        let mut bytes = 0;
        let mut piece = Vec::new();
        while bytes < PIECE_BYTES
            && let Some(item) = self.items.pop_front()
        {
            bytes += (self.weigh)(&item);
            piece.push(item);
        }
        (self.build)(&piece)
    }

    fn is_done(&self) -> bool {
        self.items.is_empty()
    }
}

impl Answer {
    /// `items`, made into batches by `build`; `weigh` says how many bytes one takes.
    pub(super) fn of<T: Send + 'static>(
        items: Vec<T>,
        weigh: fn(&T) -> usize,
        build: impl Fn(&[T]) -> Result<RecordBatch> + Send + 'static,
    ) -> Self {
        Self::Pieces(Box::new(Cut { items: items.into(), weigh, build }))
    }

    /// The tables that `command` asks for.
    pub(super) fn tables(command: &CommandGetTables, tables: Vec<TableEntry>) -> Result<Self> {
        let entries: VecDeque<_> = listing::choose(command, tables)?.into();
        let include_schema = command.include_schema;
        Ok(Self::Tables(Box::new(Tables {
            entries,
            include_schema,
            columns: HashMap::new(),
            known: 0,
            ahead: None,
        })))
    }

    /// Whether there are no more batches. Never so before the first one, which may have no rows.
    pub(in crate::flight) fn is_done(&self) -> bool {
        match self {
            Self::Whole(batch) => batch.is_none(),
            Self::Pieces(pieces) => pieces.is_done(),
            Self::Tables(tables) => tables.entries.is_empty() && tables.ahead.is_none(),
        }
    }

    /// The next batch.
    pub(in crate::flight) fn next(&mut self, connection: &Connection) -> Result<RecordBatch> {
        match self {
            Self::Whole(batch) => {
                batch.take().ok_or_else(|| Error::internal("an answer was read beyond its end"))
            }
            Self::Pieces(pieces) => pieces.next(),
            Self::Tables(tables) => tables.next(connection),
        }
    }
}

/// Tables that are still to be listed.
pub(in crate::flight) struct Tables {
    entries: VecDeque<TableEntry>,
    include_schema: bool,
    // Of as many tables at the front as `known` says.
    columns: HashMap<TableName, Vec<ColumnEntry>>,
    known: usize,
    // A table that had no room in the batch before.
    ahead: Option<(TableEntry, SchemaRef)>,
}

impl Tables {
    fn next(&mut self, connection: &Connection) -> Result<RecordBatch> {
        let unasked = Arc::new(Schema::empty());
        let mut bytes = 0;
        let mut rows = Vec::new();
        while bytes < PIECE_BYTES {
            let (entry, schema) = match self.ahead.take() {
                Some(row) => row,
                None if self.include_schema => match self.described(connection)? {
                    Some(row) => row,
                    None => break,
                },
                None => match self.entries.pop_front() {
                    Some(entry) => (entry, Arc::clone(&unasked)),
                    None => break,
                },
            };
            let row =
                entry.catalog.len() + entry.schema.len() + entry.table.len() + 64 + columns::size(&schema);
            if bytes > 0 && bytes + row > 2 * PIECE_BYTES {
                self.ahead = Some((entry, schema));
                break;
            }
            bytes += row;
            rows.push((entry, schema));
        }
        listing::tables(self.include_schema, &rows)
    }

    /// The next table that is still there, with its schema.
    fn described(&mut self, connection: &Connection) -> Result<Option<(TableEntry, SchemaRef)>> {
        loop {
            if self.known == 0 {
                self.read_columns(connection)?;
            }
            let Some(entry) = self.entries.pop_front() else { return Ok(None) };
            self.known -= 1;
            let columns = self.columns.remove(&entry.name()).unwrap_or_default();
            if let Some(schema) = readable_schema(connection, &entry)? {
                let schema = Arc::new(fitting(schema, &entry, &columns));
                return Ok(Some((entry, schema)));
            }
        }
    }

    /// Looks up the columns of the tables at the front.
    fn read_columns(&mut self, connection: &Connection) -> Result<()> {
        let mut found = 0;
        let at_once = |entry: &&TableEntry| {
            let is_first = found == 0;
            found += entry.columns.max(1);
            is_first || found <= COLUMNS_AT_ONCE
        };
        self.known = self.entries.iter().take_while(at_once).count();
        let (Some(first), Some(last)) = (self.entries.front(), self.known.checked_sub(1)) else {
            return Ok(());
        };
        self.columns = engine::columns_between(connection, first, &self.entries[last])?;
        Ok(())
    }
}

/// `schema` with as much of what `columns` knows as there is room for in a message.
fn fitting(schema: Schema, entry: &TableEntry, columns: &[ColumnEntry]) -> Schema {
    let full = columns::annotated(&schema, entry, columns);
    if columns::size(&full) <= SCHEMA_BYTES_MAX {
        return full;
    }
    let typed = columns::typed(&schema, columns);
    tracing::debug!(table = %entry.name(), "its columns are too many for all of their metadata");
    if columns::size(&typed) <= SCHEMA_BYTES_MAX { typed } else { schema }
}

/// What reading all of `entry` gives: no columns for a view that does not bind, or for a type without an
/// Arrow form, which must not hide the other tables. `None` for a table that was dropped since it was listed.
fn readable_schema(connection: &Connection, entry: &TableEntry) -> Result<Option<Schema>> {
    let error = match engine::table_schema(connection, entry) {
        Ok(schema) => return Ok(Some(Form::Plain.schema(&schema))),
        Err(error) => error,
    };
    let is_view = entry.table_type == listing::VIEW;
    match error.kind() {
        // These are about the call or the server, not about the table.
        Kind::Unavailable | Kind::Exhausted | Kind::Aborted | Kind::Cancelled | Kind::Deadline => Err(error),
        Kind::NotFound if !is_view => Ok(None),
        kind if is_view || kind == Kind::Unsupported => {
            tracing::debug!(table = %entry.name(), %error, "listed without its columns");
            Ok(Some(Schema::empty()))
        }
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, StringArray};
    use arrow::datatypes::{DataType, Field};

    /// Every item once, in order, and none in a batch that is full already.
    #[test]
    fn items_leave_in_batches_of_a_mebibyte() {
        let schema = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, false)]));
        let build = move |items: &[String]| -> Result<RecordBatch> {
            let texts = StringArray::from_iter_values(items);
            Ok(RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(texts)])?)
        };
        for count in [0, 1, 100] {
            let items: Vec<String> =
                (0..count).map(|index| format!("{index:0>50000}{index:0>50000}")).collect();
            let Answer::Pieces(mut pieces) = Answer::of(items.clone(), String::len, build.clone()) else {
                panic!()
            };
            let mut found: Vec<String> = Vec::new();
            let mut batches = 0;
            loop {
                let batch = pieces.next().unwrap();
                assert!(batch.num_rows() <= 11, "{} rows", batch.num_rows());
                found.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
                batches += 1;
                if pieces.is_done() {
                    break;
                }
            }
            assert_eq!((found, batches), (items, (count as usize).div_ceil(11).max(1)));
        }
    }
}
