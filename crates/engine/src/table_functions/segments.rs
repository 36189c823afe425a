//! Segment of row-group units -> `pintail_segment(token)` -> data chunks that borrow the batches.
//! Runs on: DuckDB's worker threads, inside an INSERT; registration on the writer thread.
//! Never: waits. All rows of a segment are in memory before its statement starts, because a worker thread
//! that blocks on a slow client would stall every query in the process.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use duckdb::DuckDBType;
use duckdb::bind_arguments::BindArgument;
use duckdb::connection::{Connection as DuckDBConnection, Context, SettingScope};
use duckdb::custom_option::{CustomOptionBuilder, CustomOptionCallbacks};
use duckdb::data_chunk::DataChunkRef;
use duckdb::signature::{FunctionParameter, SignatureBuilder};
use duckdb::table_function::{
    BindFunctionHandle, ExecColumnInfo, InitColumnData, OrderPreservation, PartitionData,
    TableFunctionBuilder, TableFunctionCallbacks, TablePartitioningCallbacks,
};
use duckdb::value::Value;

use crate::ffi::Importer;

pub use pintail_protocol::size::UNIT_ROWS;

/// Batches that make up one row group, in order.
pub type Unit = VecDeque<RecordBatch>;

/// The rows of one INSERT: numbered units of one schema.
pub struct Segment {
    schema: SchemaRef,
    rows: usize,
    // Each unit is taken once, by the thread whose number came up.
    units: Vec<Mutex<Option<Unit>>>,
}

impl Segment {
    /// A segment of `units`, each at most [`UNIT_ROWS`] rows of `schema`.
    pub fn new(schema: SchemaRef, units: Vec<Unit>) -> Self {
        let rows_of = |unit: &Unit| unit.iter().map(RecordBatch::num_rows).sum::<usize>();
        debug_assert!(units.iter().all(|unit| rows_of(unit) <= UNIT_ROWS));
        let rows = units.iter().map(rows_of).sum();
        Self { schema, rows, units: units.into_iter().map(|unit| Mutex::new(Some(unit))).collect() }
    }

    /// What its rows look like.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows in all units.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Setting of a connection with a word that no other one has: a callback is told of its connection by its settings alone.
pub(crate) const OWNER: &str = "pintail_connection";

struct Owner;

impl CustomOptionCallbacks for Owner {
    fn update(
        &self,
        _context: &Context,
        value: Value,
        _scope: SettingScope,
        _is_reset: bool,
    ) -> duckdb::Result<Value> {
        Ok(value)
    }
}

/// Makes the setting [`OWNER`] known to the instance behind `connection`.
pub(crate) fn register_owner(connection: &DuckDBConnection) -> duckdb::Result<()> {
    let about = "whose segments a connection may read";
    CustomOptionBuilder::new(OWNER, about, String::logical_type(connection)?, Owner)
        .no_global()
        .register(connection)
}

/// Segments that a statement of this process may read, by token, each with the word of its connection.
///
/// No client's statement may name the function (`surface`). Still tokens are random and good on one connection only, so
/// that one that shows in a text is worth nothing to others.
#[derive(Clone, Default)]
pub(crate) struct Segments(Arc<Mutex<HashMap<String, Held>>>);

#[derive(Clone)]
struct Held {
    segment: Arc<Segment>,
    owner: Arc<str>,
}

impl Segments {
    /// Makes `segment` readable as `pintail_segment('<token>')` on the connection with the word `owner`, until the
    /// returned guard is dropped.
    pub(crate) fn publish(&self, owner: &str, token: String, segment: Segment) -> Published<'_> {
        let held = Held { segment: Arc::new(segment), owner: owner.into() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), held);
        Published { segments: self, token }
    }

    fn get(&self, token: &str) -> Option<Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// Registers `pintail_segment` for every connection of the instance behind `connection`, and `pintail_rows`, the
    /// same without numbered units. From units the engine makes row groups of its own and moves them into the table,
    /// which costs more than writing a few rows into the table at once.
    pub(crate) fn register(&self, connection: &DuckDBConnection) -> duckdb::Result<()> {
        let signature = || SignatureBuilder::new().param(FunctionParameter::new::<String>("token"));
        TableFunctionBuilder::new("pintail_segment", signature(), SegmentFunction(self.clone()))
            .with_partitioning()
            .register(connection)?;
        TableFunctionBuilder::new("pintail_rows", signature(), SegmentFunction(self.clone()))
            .register(connection)
    }
}

/// A token that nobody guesses.
pub(crate) fn random_token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What a statement was bound to; a prepared one runs over several segments, one after the other.
struct Binding {
    token: String,
    schema: SchemaRef,
}

/// One statement's way through one segment.
struct Draining {
    segment: Arc<Segment>,
    next_unit: AtomicUsize,
}

/// Takes the segment back when the statement is over, however it ended.
pub(crate) struct Published<'a> {
    segments: &'a Segments,
    token: String,
}

impl Published<'_> {
    #[cfg(test)]
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// What a FROM calls it by. The name is the full one: a client's macro of the short one would come first.
    pub(crate) fn source(&self) -> String {
        format!("system.main.pintail_segment('{}')", self.token)
    }

    /// The same for few rows, which the engine then writes into the table at once.
    pub(crate) fn source_of_few(&self) -> String {
        format!("system.main.pintail_rows('{}')", self.token)
    }
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        self.segments.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

struct SegmentFunction(Segments);

fn unknown() -> duckdb::Error {
    duckdb::Error::invalid_input("pintail_segment is internal to the server; use DoPut to send rows")
}

/// What one DuckDB thread is working on.
struct Scan {
    importer: Importer,
    unit: Unit,
    number: usize,
}

impl TableFunctionCallbacks for SegmentFunction {
    type BindData = Binding;
    type GlobalState = Draining;
    type LocalState = Scan;

    fn bind(
        &self,
        context: &Context,
        arguments: Vec<BindArgument>,
        output: BindFunctionHandle<'_>,
    ) -> duckdb::Result<Binding> {
        let token = match arguments.first().and_then(|argument| argument.value.as_ref()) {
            Some(value) => value.get::<String>()?,
            None => None,
        };
        let token = token.unwrap_or_default();
        let held = self.0.get(&token).ok_or_else(unknown)?;
        let (word, _) = context.config()?.get_value(OWNER)?;
        if word.get::<String>()?.as_deref() != Some(&*held.owner) {
            return Err(unknown());
        }
        let segment = held.segment;
        for column in Importer::new(context, &segment.schema)?.schema()?.iter()? {
            let (name, logical_type) = column?;
            output.add_result_column(name, &logical_type)?;
        }
        // An estimate: the next run of a prepared statement has other rows.
        output.set_cardinality(segment.rows, false)?;
        output.set_order(OrderPreservation::Insertion)?;
        Ok(Binding { token, schema: Arc::clone(&segment.schema) })
    }

    fn init_global_state(
        &self,
        binding: &Binding,
        _context: &Context,
        _columns: InitColumnData<'_>,
    ) -> duckdb::Result<(Option<Draining>, Option<usize>)> {
        let segment = self.0.get(&binding.token).ok_or_else(unknown)?.segment;
        // The plan reads vectors of the types that it was bound to.
        if !Arc::ptr_eq(&segment.schema, &binding.schema)
            && segment.schema.fields() != binding.schema.fields()
        {
            return Err(duckdb::Error::api_error(
                "a segment is not of the schema that its statement was bound to",
            ));
        }
        let threads = segment.units.len().max(1);
        Ok((Some(Draining { segment, next_unit: AtomicUsize::new(0) }), Some(threads)))
    }

    fn init_local_state(
        &self,
        binding: &Binding,
        _draining: Option<&Draining>,
        context: &Context,
        _columns: InitColumnData<'_>,
    ) -> duckdb::Result<Option<Scan>> {
        let importer = Importer::new(context, &binding.schema)?;
        Ok(Some(Scan { importer, unit: Unit::new(), number: 0 }))
    }

    fn exec(
        &self,
        _binding: &Binding,
        draining: Option<&Draining>,
        scan: Option<&mut Scan>,
        _context: &Context,
        mut output: DataChunkRef<'_>,
        _columns: ExecColumnInfo<'_>,
    ) -> duckdb::Result<()> {
        let (Some(Draining { segment, next_unit }), Some(scan)) = (draining, scan) else {
            return Err(duckdb::Error::api_error("segment scan runs without its state"));
        };
        loop {
            if scan.importer.lend_next(&mut output)? {
                return Ok(());
            }
            if let Some(batch) = scan.unit.pop_front() {
                scan.importer.feed(batch)?;
                continue;
            }
            let number = next_unit.fetch_add(1, Ordering::Relaxed);
            let Some(unit) = segment.units.get(number) else {
                // An output chunk left empty ends this thread's scan.
                return Ok(());
            };
            scan.unit = unit.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
            scan.number = number;
        }
    }
}

impl TablePartitioningCallbacks for SegmentFunction {
    /// The unit's number: with it the ordered INSERT stays parallel and rows keep the order they came in.
    fn partition_data(
        &self,
        _binding: &Binding,
        _draining: Option<&Draining>,
        scan: Option<&mut Scan>,
        _context: &Context,
        _request: PartitionData<'_>,
    ) -> duckdb::Result<usize> {
        Ok(scan.map_or(0, |scan| scan.number))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::{Segment, Unit};
    use crate::Database;

    /// A token is good on the connection that its segment was published for, once or again, and nowhere else.
    #[test]
    fn a_token_is_worth_nothing_on_another_connection() {
        let database = Database::open(crate::Options::in_memory()).unwrap();
        let (own, other) = (database.connection().unwrap(), database.connection().unwrap());
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        let segment = || {
            let rows = Arc::new(Int64Array::from(vec![1, 2, 3]));
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![rows]).unwrap();
            Segment::new(Arc::clone(&schema), vec![Unit::from([batch])])
        };
        own.execute("CREATE TABLE t (a BIGINT)").unwrap();
        for published in [own.publish(segment()), own.publish_again(segment())] {
            let insert = format!("INSERT INTO t FROM pintail_segment('{}')", published.token());
            let refused = other.execute(&insert).unwrap_err();
            assert!(refused.message().contains("internal"), "{refused}");
            assert_eq!(own.execute(&insert).unwrap(), 3);
        }
        for sql in ["CALL enable_logging()", "SET threads = 1", "CALL enable_profiling()"] {
            let refused = own.execute(sql).unwrap_err();
            assert!(refused.message().contains("locked"), "{sql}: {refused}");
        }
    }
}
