//! DoGet: a ticket or a command's own bytes -> the result as a stream of frames.
//! Runs on: the task of the call; encodes one batch at a time, when the socket wants more.
//! Never: ends a broken result as if it were complete.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::Ticket;
use futures::Stream;
use tonic::{Request, Response, Status};

use super::call::Call;
use super::descriptor;
use super::encode::{Encoder, Frame};
use super::{FlightServer, header};
use crate::engine::Class;
use crate::error::Result;
use crate::query::ResultStream;

/// A result on its way to the socket.
pub(super) struct FrameStream {
    result: ResultStream,
    encoder: Encoder,
    ready: VecDeque<Frame>,
    call: Call,
    ended: bool,
}

impl FlightServer {
    /// Starts the statement of a ticket, or of command bytes sent as a ticket, and streams its result.
    pub(super) async fn get(
        &self,
        request: Request<Ticket>,
    ) -> std::result::Result<Response<FrameStream>, Status> {
        let mut call = Call::new("DoGet", request.remote_addr());
        match self.open(&request, &mut call).await {
            Ok((result, encoder)) => {
                call.stage("queue", result.queued);
                call.stage("prepare", result.prepared);
                let schema = encoder.schema_frame(result.schema());
                match schema {
                    Ok(schema) => Ok(Response::new(FrameStream {
                        result,
                        encoder,
                        ready: VecDeque::from([schema]),
                        call,
                        ended: false,
                    })),
                    Err(error) => Err(call.failed(error)),
                }
            }
            Err(error) => Err(call.failed(error)),
        }
    }

    async fn open(&self, request: &Request<Ticket>, call: &mut Call) -> Result<(ResultStream, Encoder)> {
        let options = header::run_options(request.metadata())?;
        let compression = header::compression(request.metadata())?;
        let ticket = &request.get_ref().ticket;
        let sql = match self.tickets.redeem(ticket)? {
            Some(sql) => sql,
            None => descriptor::read_command(ticket)?.into_sql(),
        };
        call.what = crate::error::shorten(&sql, 500);
        call.slow_after(self.slow_query);
        let result = self.query.run(sql, options).await?;
        let encoder = Encoder::new(result.schema(), compression)?;
        Ok((result, encoder))
    }
}

impl Stream for FrameStream {
    type Item = std::result::Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let error = match Pin::new(&mut this.result).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(batch))) => match this.encoder.encode(&batch) {
                    Ok(frames) => {
                        this.ready.extend(frames);
                        continue;
                    }
                    Err(error) => error,
                },
                Poll::Ready(Some(Err(error))) => error,
                Poll::Ready(None) => {
                    this.ended = true;
                    this.call.ok();
                    return Poll::Ready(None);
                }
            };
            this.ended = true;
            return Poll::Ready(Some(Err(this.call.failed(error))));
        }
    }
}

impl Drop for FrameStream {
    fn drop(&mut self) {
        self.call.rows = self.result.rows;
        self.call.bytes = self.result.bytes;
        if let Some(first_batch) = self.result.first_batch {
            self.call.stage("first_batch", first_batch);
        }
        let streamed = self.result.streamed();
        self.call.stage("stream", streamed);
        crate::metrics::rows_out(self.result.rows, self.result.bytes);
    }
}

/// Rows changed, as the result of a change or definition says it.
pub(super) fn changed_rows(batch: &RecordBatch, class: Class) -> u64 {
    if class == Class::Query || batch.num_columns() != 1 {
        return batch.num_rows() as u64;
    }
    match batch.column(0).as_primitive_opt::<Int64Type>() {
        Some(counts) if batch.schema_ref().field(0).name() == "count" => {
            counts.iter().flatten().filter_map(|count| u64::try_from(count).ok()).sum()
        }
        // RETURNING gives the changed rows themselves.
        _ => batch.num_rows() as u64,
    }
}
