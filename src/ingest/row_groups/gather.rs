//! Batches of any size -> units of exactly one row group.
//! Runs on: the writer thread. Slices batches; copies only batches too small to be worth a data chunk each.
//! Never: changes the order of rows.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use crate::engine::{UNIT_ROWS, Unit};
use crate::error::Result;
use crate::ingest::admission::Permit;

/// Batches below this many rows (one data chunk) are joined before they are appended: a chunk of a few rows
/// costs the engine as much as a full one.
const SMALL_ROWS: usize = 2048;
/// Rows that joined batches are brought to.
const JOINED_ROWS: usize = 8192;

/// A unit in the making, with the permits of the batches it refers to.
#[derive(Default)]
struct Part {
    unit: Unit,
    rows: usize,
    permits: Vec<Arc<Permit>>,
}

/// What is taken of the rows that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ingest) enum Take {
    /// Whole units.
    Whole,
    /// Everything, the last unit short.
    All,
}

/// Rows waiting to be appended.
pub(in crate::ingest) struct Gather {
    schema: SchemaRef,
    whole: VecDeque<Part>,
    open: Part,
    small: Vec<RecordBatch>,
    small_rows: usize,
    small_permits: Vec<Arc<Permit>>,
}

/// Units taken for one statement; the permits are given back when this is dropped.
pub(in crate::ingest) struct Taken {
    pub(in crate::ingest) units: Vec<Unit>,
    pub(in crate::ingest) permits: Vec<Arc<Permit>>,
}

impl Gather {
    pub(in crate::ingest) fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            whole: VecDeque::new(),
            open: Part::default(),
            small: Vec::new(),
            small_rows: 0,
            small_permits: Vec::new(),
        }
    }

    /// Adds a batch behind those already here.
    pub(in crate::ingest) fn push(&mut self, batch: RecordBatch, permit: Arc<Permit>) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if batch.num_rows() < SMALL_ROWS {
            self.small_rows += batch.num_rows();
            self.small.push(batch);
            self.small_permits.push(permit);
            if self.small_rows >= JOINED_ROWS {
                self.join_small()?;
            }
            return Ok(());
        }
        self.join_small()?;
        self.place(batch, &[permit]);
        Ok(())
    }

    /// Bytes kept alive by the rows here. A batch cut at the end of a unit counts until its rest is gone.
    pub(in crate::ingest) fn bytes(&self) -> u64 {
        let parts = self.whole.iter().chain([&self.open]).flat_map(|part| &part.permits);
        parts.chain(&self.small_permits).map(|permit| permit.bytes()).sum()
    }

    /// Whole units here.
    pub(in crate::ingest) fn whole_units(&self) -> usize {
        self.whole.len()
    }

    /// Takes up to `units_max` units.
    pub(in crate::ingest) fn take(&mut self, units_max: usize, what: Take) -> Result<Taken> {
        if what == Take::All {
            self.join_small()?;
        }
        let mut parts: Vec<Part> = self.whole.drain(..self.whole.len().min(units_max)).collect();
        if what == Take::All && self.whole.is_empty() && self.open.rows > 0 {
            parts.push(std::mem::take(&mut self.open));
        }
        let mut taken = Taken { units: Vec::with_capacity(parts.len()), permits: Vec::new() };
        for part in parts {
            taken.units.push(part.unit);
            taken.permits.extend(part.permits);
        }
        Ok(taken)
    }

    /// Whether nothing is waiting.
    pub(in crate::ingest) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.open.rows == 0 && self.small_rows == 0
    }

    fn join_small(&mut self) -> Result<()> {
        if self.small.is_empty() {
            return Ok(());
        }
        let joined = if self.small.len() == 1 {
            self.small.remove(0)
        } else {
            concat_batches(&self.schema, &self.small)?
        };
        self.small.clear();
        self.small_rows = 0;
        let permits = std::mem::take(&mut self.small_permits);
        self.place(joined, &permits);
        Ok(())
    }

    fn place(&mut self, batch: RecordBatch, permits: &[Arc<Permit>]) {
        let mut offset = 0;
        while offset < batch.num_rows() {
            let rows = (batch.num_rows() - offset).min(UNIT_ROWS - self.open.rows);
            self.open.unit.push_back(batch.slice(offset, rows));
            self.open.permits.extend(permits.iter().map(Arc::clone));
            self.open.rows += rows;
            offset += rows;
            if self.open.rows == UNIT_ROWS {
                self.whole.push_back(std::mem::take(&mut self.open));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::admission::{Budget, StreamBudget};
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use pintail_protocol::decode::Need;

    /// Whatever the batch sizes, units hold one row group each, the last one the rest, rows in order.
    #[tokio::test]
    async fn units_are_whole_and_in_order_for_any_batch_sizes() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let gate = StreamBudget::open(&Budget::new(1 << 30, 1 << 30, 1), None).unwrap();
        for sizes in
            [vec![1, 2047, 2048, 5], vec![65_536; 5], vec![300_000], vec![100; 3_000], vec![122_880; 2]]
        {
            let mut gather = Gather::new(Arc::clone(&schema));
            let mut next = 0_i64;
            for size in &sizes {
                let numbers = Int64Array::from_iter_values(next..next + *size as i64);
                next += *size as i64;
                let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(numbers)]).unwrap();
                let need = Need { held: 1, ..Need::default() };
                gather.push(batch, Arc::new(gate.acquire(need).await)).unwrap();
            }
            let mut units = gather.take(usize::MAX, Take::Whole).unwrap().units;
            assert!(units.iter().all(|unit| rows(unit) == UNIT_ROWS), "{sizes:?}");
            units.extend(gather.take(usize::MAX, Take::All).unwrap().units);
            assert!(gather.is_empty());
            let seen: Vec<i64> = units
                .iter()
                .flatten()
                .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
                .collect();
            assert!(seen.iter().copied().eq(0..next), "{sizes:?}");
        }
    }

    fn rows(unit: &Unit) -> usize {
        unit.iter().map(RecordBatch::num_rows).sum()
    }
}
