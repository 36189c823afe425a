//! A stream of rows -> what is bound to the parameters of a prepared statement.
//! Runs on: the task of the call.
//! Never: keeps more rows than `session.bound_memory_limit` has room for.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use pintail_protocol::decode::CheckedMessage;

use crate::engine::{self, Parameter};
use crate::error::{Error, Result};
use crate::flight::wire::Incoming;
use crate::session::{BoundRows, ClientSession, Room};

/// Rows gathered from a stream for a statement's parameters.
pub(super) struct Gathered<'a> {
    session: &'a ClientSession,
    // Of the rows in their plain form.
    pub(super) schema: Option<SchemaRef>,
    pub(super) batches: Vec<RecordBatch>,
    room: Vec<Room>,
}

impl<'a> Gathered<'a> {
    pub(super) fn new(session: &'a ClientSession) -> Self {
        Self { session, schema: None, batches: Vec::new(), room: Vec::new() }
    }

    /// Takes what came last, once there is room for it in its plain form.
    pub(super) fn take(&mut self, incoming: &mut Incoming, message: CheckedMessage) -> Result<()> {
        match message {
            CheckedMessage::Schema(schema) => self.schema = Some(engine::plain_schema(&schema)),
            CheckedMessage::Rows(rows) => {
                let plain =
                    self.schema.as_ref().ok_or_else(|| Error::invalid("rows arrived before their schema"))?;
                self.room.push(self.session.room(rows.held_bytes())?);
                let batch = incoming.rows(rows)?;
                if engine::may_expand(batch.schema_ref(), plain) {
                    let most = self.session.bound_bytes_max();
                    self.room.push(self.session.room(engine::expansion(&batch, plain, most))?);
                }
                self.batches.push(engine::plain_batch(batch, plain)?);
            }
            CheckedMessage::Dictionary(dictionary) => {
                self.room.push(self.session.room(dictionary.held_bytes())?);
                incoming.dictionary(dictionary)?;
            }
            CheckedMessage::Nothing => {}
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether nothing was sent for the parameters. Some clients send an empty schema when there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.schema.as_ref().is_none_or(|schema| schema.fields().is_empty())
    }

    pub(super) fn bound(self, parameters: &[Parameter]) -> Result<BoundRows> {
        let schema = self.schema.unwrap_or_else(|| Arc::new(Schema::empty()));
        engine::match_columns(parameters, &schema)?;
        Ok(BoundRows { schema, batches: self.batches, room: self.room })
    }
}
