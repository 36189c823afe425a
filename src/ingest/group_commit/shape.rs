//! Puts of one shape: the same columns and the same rule for known keys, so that one INSERT takes the rows of all.
//! Runs on: the thread of the table's queue.
//! Never: puts rows together whose counts have to be told apart.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use pintail_protocol::header::OnConflict;

use super::member::Member;
use crate::engine::{Connection, UNIT_ROWS};
use crate::error::Result;
use crate::ingest::counts::Counts;
use crate::ingest::job::Job;
use crate::ingest::placement::Placement;
use crate::ingest::row_groups::{self, Rows};

/// Puts of one shape, whose rows go into one INSERT.
pub(super) struct Shape {
    schema: SchemaRef,
    on_conflict: OnConflict,
    pub(super) members: Vec<usize>,
}

/// Sorts the members by what their INSERT looks like.
pub(super) fn shapes(members: &[Member]) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let Job { schema, terms, .. } = &member.job;
        let same = shapes.iter_mut().find(|shape| {
            shape.on_conflict == terms.on_conflict
                && (Arc::ptr_eq(&shape.schema, schema) || shape.schema.fields() == schema.fields())
        });
        match same {
            Some(shape) => shape.members.push(index),
            None => shapes.push(Shape {
                schema: Arc::clone(schema),
                on_conflict: terms.on_conflict,
                members: vec![index],
            }),
        }
    }
    shapes
}

/// Appends the rows of a shape, in one INSERT where their counts need not be told apart.
pub(super) fn append_shape(
    connection: &Connection,
    shape: &Shape,
    placement: &Placement,
    members: &[Member],
    counts: &mut [Counts],
) -> Result<()> {
    let together = shape.members.iter().all(|index| !members[*index].wants_own_counts(placement));
    let parts: Vec<&[usize]> =
        if together { vec![&shape.members] } else { shape.members.chunks(1).collect() };
    for part in parts {
        let batches: Vec<RecordBatch> =
            part.iter().flat_map(|index| members[*index].batches.iter().cloned()).collect();
        if batches.is_empty() {
            continue;
        }
        // Rows of a few bytes each: one array is cheaper for the engine than many.
        let joined =
            if batches.len() == 1 { batches[0].clone() } else { concat_batches(&shape.schema, &batches)? };
        let mut units = Vec::new();
        for from in (0..joined.num_rows()).step_by(UNIT_ROWS) {
            units.push([joined.slice(from, UNIT_ROWS.min(joined.num_rows() - from))].into());
        }
        let producer = match part {
            [only] => members[*only].job.terms.producer.as_deref(),
            _ => None,
        };
        let done = row_groups::append(connection, placement, Rows { units, before: 0, producer })
            .map_err(|error| error.in_table(&placement.shown))?;
        match part {
            [only] => counts[*only] = done,
            several => {
                for index in several {
                    let rows = members[*index].rows();
                    counts[*index] = Counts { rows, inserted: rows, ..Counts::default() };
                }
            }
        }
    }
    Ok(())
}
