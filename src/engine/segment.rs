//! Segment of row-group units -> `pintail_segment(token)` -> data chunks that borrow the batches.
//! Runs on: DuckDB's worker threads, inside an INSERT; registration on the writer thread.
//! Never: waits. All rows of a segment are in memory before its statement starts, because a worker thread
//! that blocks on a slow client would stall every query in the process.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use duckdb::bind_arguments::BindArgument;
use duckdb::connection::{Connection, Context};
use duckdb::data_chunk::DataChunkRef;
use duckdb::signature::{FunctionParameter, SignatureBuilder};
use duckdb::table_function::{
    BindFunctionHandle, ExecColumnInfo, InitColumnData, OrderPreservation, PartitionData,
    TableFunctionBuilder, TableFunctionCallbacks, TablePartitioningCallbacks,
};

use super::ffi::Importer;

/// Rows of a unit: DuckDB's row group. A unit is taken by one thread whole, so only the last unit of a load
/// may be shorter; anything else leaves fragments that nearly double the file.
pub const UNIT_ROWS: usize = 122_880;

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

    /// Rows in all units.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Segments that a statement of this process may read, by token.
///
/// Tokens are random, because any SQL may call the function: a guessed token would read another client's rows.
#[derive(Clone, Default)]
pub(super) struct Segments(Arc<Mutex<HashMap<String, Arc<Segment>>>>);

impl Segments {
    /// Makes `segment` readable as `pintail_segment('<token>')` until the returned guard is dropped.
    pub(super) fn publish(&self, segment: Arc<Segment>) -> Published<'_> {
        let token = format!("{:032x}", rand::random::<u128>());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), segment);
        Published { segments: self, token }
    }

    fn get(&self, token: &str) -> Option<Arc<Segment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// Registers `pintail_segment` for every connection of the instance behind `connection`.
    pub(super) fn register(&self, connection: &Connection) -> duckdb::Result<()> {
        TableFunctionBuilder::new(
            "pintail_segment",
            SignatureBuilder::new().param(FunctionParameter::new::<String>("token")),
            SegmentFunction(self.clone()),
        )
        .with_partitioning()
        .register(connection)
    }
}

/// Takes the segment back when the statement is over, however it ended.
pub(super) struct Published<'a> {
    segments: &'a Segments,
    token: String,
}

impl Published<'_> {
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        self.segments.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

struct SegmentFunction(Segments);

/// What one DuckDB thread is working on.
struct Scan {
    importer: Importer,
    unit: Unit,
    number: usize,
}

impl TableFunctionCallbacks for SegmentFunction {
    type BindData = Arc<Segment>;
    type GlobalState = AtomicUsize;
    type LocalState = Scan;

    fn bind(
        &self,
        context: &Context,
        arguments: Vec<BindArgument>,
        output: BindFunctionHandle<'_>,
    ) -> duckdb::Result<Arc<Segment>> {
        let token = match arguments.first().and_then(|argument| argument.value.as_ref()) {
            Some(value) => value.get::<String>()?,
            None => None,
        };
        let segment = token.as_deref().and_then(|token| self.0.get(token)).ok_or_else(|| {
            duckdb::Error::invalid_input("pintail_segment is internal to the server; use DoPut to send rows")
        })?;
        for column in Importer::new(context, &segment.schema)?.schema()?.iter()? {
            let (name, logical_type) = column?;
            output.add_result_column(name, &logical_type)?;
        }
        output.set_cardinality(segment.rows, true)?;
        output.set_order(OrderPreservation::Insertion)?;
        Ok(segment)
    }

    fn init_global_state(
        &self,
        segment: &Arc<Segment>,
        _context: &Context,
        _columns: InitColumnData<'_>,
    ) -> duckdb::Result<(Option<AtomicUsize>, Option<usize>)> {
        Ok((Some(AtomicUsize::new(0)), Some(segment.units.len().max(1))))
    }

    fn init_local_state(
        &self,
        segment: &Arc<Segment>,
        _next_unit: Option<&AtomicUsize>,
        context: &Context,
        _columns: InitColumnData<'_>,
    ) -> duckdb::Result<Option<Scan>> {
        let importer = Importer::new(context, &segment.schema)?;
        Ok(Some(Scan { importer, unit: Unit::new(), number: 0 }))
    }

    fn exec(
        &self,
        segment: &Arc<Segment>,
        next_unit: Option<&AtomicUsize>,
        scan: Option<&mut Scan>,
        _context: &Context,
        mut output: DataChunkRef<'_>,
        _columns: ExecColumnInfo<'_>,
    ) -> duckdb::Result<()> {
        let (Some(next_unit), Some(scan)) = (next_unit, scan) else {
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
        _segment: &Arc<Segment>,
        _next_unit: Option<&AtomicUsize>,
        scan: Option<&mut Scan>,
        _context: &Context,
        _request: PartitionData<'_>,
    ) -> duckdb::Result<usize> {
        Ok(scan.map_or(0, |scan| scan.number))
    }
}
