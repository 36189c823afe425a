//! Arrays as DuckDB built them -> batches of about `batch_bytes`, whatever the row width.
//! Runs on: the reader thread. Slices without copying; copies only arrays too small to send alone.
//! Never: holds more than one batch's worth of rows.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use crate::error::Result;
use crate::size::batch_bytes;

/// Arrays below this share of the target are merged; a message costs the client about as much as 200 KiB of
/// data, and copying more than that costs more than it saves.
const SMALL_DIVISOR: usize = 6;

pub(super) struct Shaper {
    schema: SchemaRef,
    target_bytes: usize,
    rows_max: usize,
    small: Vec<RecordBatch>,
    small_bytes: usize,
    small_rows: usize,
}

impl Shaper {
    pub(super) fn new(schema: SchemaRef, target_bytes: usize, rows_max: Option<usize>) -> Self {
        Self {
            schema,
            target_bytes,
            rows_max: rows_max.unwrap_or(usize::MAX).max(1),
            small: Vec::new(),
            small_bytes: 0,
            small_rows: 0,
        }
    }

    /// Takes the next array and gives the batches that are ready, in order.
    pub(super) fn push(&mut self, batch: RecordBatch, ready: &mut Vec<RecordBatch>) -> Result<()> {
        let bytes = batch_bytes(&batch);
        if bytes < self.target_bytes / SMALL_DIVISOR && batch.num_rows() < self.rows_max {
            if self.small_rows + batch.num_rows() > self.rows_max {
                self.flush(ready)?;
            }
            self.small_bytes += bytes;
            self.small_rows += batch.num_rows();
            self.small.push(batch);
            if self.small_bytes >= self.target_bytes {
                self.flush(ready)?;
            }
            return Ok(());
        }
        self.flush(ready)?;
        self.slice(batch, bytes, ready);
        Ok(())
    }

    /// Gives what is waiting.
    pub(super) fn flush(&mut self, ready: &mut Vec<RecordBatch>) -> Result<()> {
        match self.small.len() {
            0 => return Ok(()),
            1 => ready.append(&mut self.small),
            _ => ready.push(concat_batches(&self.schema, &self.small)?),
        }
        self.small.clear();
        self.small_bytes = 0;
        self.small_rows = 0;
        Ok(())
    }

    fn slice(&self, batch: RecordBatch, bytes: usize, ready: &mut Vec<RecordBatch>) {
        // An eighth above the target still goes out whole: two halves would cost more than they save.
        let fits = bytes <= self.target_bytes + self.target_bytes / 8 || batch.num_rows() <= 1;
        if fits && batch.num_rows() <= self.rows_max {
            ready.push(batch);
            return;
        }
        let parts = bytes.div_ceil(self.target_bytes).max(batch.num_rows().div_ceil(self.rows_max)).max(2);
        let rows = batch.num_rows().div_ceil(parts).min(self.rows_max).max(1);
        let mut offset = 0;
        while offset < batch.num_rows() {
            let part = batch.slice(offset, rows.min(batch.num_rows() - offset));
            offset += part.num_rows();
            // Widths vary, so a part may still be too heavy and is looked at again.
            let part_bytes = batch_bytes(&part);
            self.slice(part, part_bytes, ready);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn batch(widths: &[usize]) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("s", DataType::Utf8, true)]));
        let texts = StringArray::from_iter_values(widths.iter().map(|width| "x".repeat(*width)));
        RecordBatch::try_new(schema, vec![Arc::new(texts)]).unwrap()
    }

    /// Whatever the widths, rows keep their order and no batch but a single row leaves the band.
    #[test]
    fn tiny_arrays_merge_and_wide_ones_are_sliced() {
        let target = 64 * 1024;
        let inputs =
            [batch(&[10; 40]), batch(&[10; 3]), batch(&[3000; 500]), batch(&[5, 900_000, 5]), batch(&[1; 9])];
        let mut shaper = Shaper::new(inputs[0].schema(), target, None);
        let mut ready = Vec::new();
        for input in &inputs {
            shaper.push(input.clone(), &mut ready).unwrap();
        }
        shaper.flush(&mut ready).unwrap();
        let lengths = |batches: &[RecordBatch]| -> Vec<usize> {
            batches
                .iter()
                .flat_map(|b| {
                    b.column(0).as_string::<i32>().iter().map(|s| s.unwrap().len()).collect::<Vec<_>>()
                })
                .collect()
        };
        assert_eq!(lengths(&ready), lengths(&inputs));
        for out in &ready {
            assert!(batch_bytes(out) <= target * 9 / 8 || out.num_rows() == 1, "{} bytes", batch_bytes(out));
        }
        assert_eq!(ready[0].num_rows(), 43, "two tiny arrays leave as one batch");
    }

    #[test]
    fn rows_per_batch_are_bounded_when_asked() {
        let mut shaper = Shaper::new(batch(&[1]).schema(), 1 << 20, Some(100));
        let mut ready = Vec::new();
        for _ in 0..5 {
            shaper.push(batch(&[8; 250]), &mut ready).unwrap();
            shaper.push(batch(&[8; 30]), &mut ready).unwrap();
        }
        shaper.flush(&mut ready).unwrap();
        assert_eq!(ready.iter().map(RecordBatch::num_rows).sum::<usize>(), 5 * 280);
        assert!(ready.iter().all(|out| out.num_rows() <= 100));
    }
}
