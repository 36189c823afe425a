//! DoGet: a ticket or a command's own bytes -> the result as a stream of frames.
//! Runs on: the task of the call; encodes one batch at a time, when the socket wants more.
//! Never: ends a broken result as if it were complete.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::Ticket;
use futures::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use super::FlightServer;
use super::call::Call;
use super::caller::Caller;
use super::descriptor;
use pintail_protocol::frame::Frame;

use super::encode::Encoder;
use super::header::Options;
use super::metadata::Metadata;
use super::ticket::{Fetch, Stop};
use crate::engine::Class;
use crate::error::{Error, Kind, Result};
use crate::query::{ResultStream, RunOptions, Statement};
use crate::session::{On, Owner};

/// A result on its way to the socket.
pub(super) struct FrameStream {
    result: ResultStream,
    encoder: Encoder,
    ready: VecDeque<Frame>,
    call: Call,
    stop: Option<Stop>,
    ended: bool,
}

impl FlightServer {
    /// Starts the statement of a ticket, or of command bytes sent as a ticket, and streams its result.
    pub(super) async fn get(
        &self,
        request: Request<Ticket>,
    ) -> std::result::Result<Response<FrameStream>, Status> {
        let caller = self.caller(request.metadata(), request.extensions());
        let mut call = Call::new("DoGet", &caller);
        let opened = self.open_ticket(&caller, &request, &mut call).await;
        opened_stream(opened, call)
    }

    async fn open_ticket(
        &self,
        caller: &Caller,
        request: &Request<Ticket>,
        call: &mut Call,
    ) -> Result<(ResultStream, Encoder, Option<Stop>)> {
        let options = Options::new(request.metadata(), &caller.session);
        let (run_options, compression) = (options.run_options()?, options.compression()?);
        let form = options.form()?;
        call.slow_after(self.slow_query);
        let ticket = &request.get_ref().ticket;
        let (fetch, stop) = match self.tickets.redeem(ticket)? {
            Some((fetch, stop)) => (fetch, Some(stop)),
            None => {
                let read = descriptor::read_command(ticket)?;
                (Arc::new(self.fetch(&caller.session, read, call).await?), None)
            }
        };
        // A change has been made before its ticket is, and a ticket may be fetched again.
        let run_options = RunOptions { only_reads: stop.is_some(), ..run_options };
        let result = self.open_fetch(&fetch, run_options, call).await?;
        let encoder = Encoder::in_form(result.schema(), form, compression)?;
        Ok((result, encoder, stop))
    }

    /// Starts what a ticket stands for.
    pub(super) async fn open_fetch(
        &self,
        fetch: &Fetch,
        options: RunOptions,
        call: &mut Call,
    ) -> Result<ResultStream> {
        match fetch {
            Fetch::Statement { sql, on, owner } => {
                call.what = crate::error::shorten(sql, 500);
                let lease = self.sessions.of(owner)?.lease_of(owner, *on).await?;
                self.query.run(lease, Statement::Text(sql.clone()), options).await
            }
            Fetch::Bound { prepared, bound, described, owner, .. } => {
                call.what = crate::error::shorten(bound.sql(), 500);
                let session = self.sessions.of(owner)?;
                let lease = session.lease_of(owner, session.now(prepared.on)).await?;
                let statement = Statement::Bound(bound.clone(), described.clone());
                self.query.run(lease, statement, options).await
            }
            Fetch::Metadata { metadata, owner } => {
                call.what = metadata.name().to_owned();
                self.open_metadata(metadata.clone(), owner.clone(), options).await
            }
            Fetch::Stored { schema, class, batches } => {
                Ok(ResultStream::stored(Arc::clone(schema), *class, batches.clone()))
            }
            Fetch::Begun(result) => {
                let begun = result.lock().unwrap_or_else(PoisonError::into_inner).take();
                begun.map(|result| *result).ok_or_else(|| {
                    Error::not_found("this result could be fetched once, and has been; poll for it again")
                })
            }
        }
    }
}

impl FlightServer {
    /// Reads the beginning of an answer; the rest is read piece by piece as the client takes it, past the places and the
    /// queue like all short catalog work. No connection waits for the client in between.
    async fn open_metadata(
        &self,
        metadata: Metadata,
        owner: Owner,
        options: RunOptions,
    ) -> Result<ResultStream> {
        let lease = self.sessions.of(&owner)?.lease_of(&owner, On::Join).await?;
        let (schema, in_use) = (metadata.schema(), lease.in_use());
        let begun = self.query.look(lease, move |connection| {
            let mut answer = metadata.begin(connection)?;
            Ok((answer.next(connection)?, answer))
        });
        let (first, answer) = begun.await?;
        if answer.is_done() {
            return Ok(ResultStream::stored(schema, Class::Query, vec![first]));
        }
        let server = self.clone();
        let rest = stream::try_unfold(answer, move |mut answer| {
            let (server, owner) = (server.clone(), owner.clone());
            async move {
                if answer.is_done() {
                    return Ok(None);
                }
                let lease = server.sessions.of(&owner)?.lease_of(&owner, On::Join).await?;
                let piece =
                    server.query.look(lease, move |connection| Ok((answer.next(connection)?, answer)));
                piece.await.map(Some)
            }
        });
        let pieces = stream::once(std::future::ready(Ok(first))).chain(rest).boxed();
        Ok(ResultStream::in_pieces(schema, pieces, options.deadline, in_use))
    }
}

/// The answer of a call that streams a result.
pub(super) fn opened_stream(
    opened: Result<(ResultStream, Encoder, Option<Stop>)>,
    mut call: Call,
) -> std::result::Result<Response<FrameStream>, Status> {
    let (result, encoder, stop) = opened.map_err(|error| call.failed(error))?;
    call.stage("queue", result.queued);
    call.stage("prepare", result.prepared);
    let schema = encoder.schema_frame(result.schema()).map_err(|error| call.failed(error))?;
    let ready = VecDeque::from([schema]);
    Ok(Response::new(FrameStream { result, encoder, ready, call, stop, ended: false }))
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
            if let Some(stop) = &mut this.stop
                && let Poll::Ready(told) = Pin::new(stop).poll(context)
            {
                this.stop = None;
                // A ticket that has merely expired does not stop the stream it began.
                if told.is_ok() {
                    this.ended = true;
                    this.result.stop();
                    // Not CANCELLED: pyarrow takes that for a Ctrl-C of its own user (ARCHITECTURE.md).
                    let cancelled = Error::new(Kind::Aborted, "the query was cancelled by another call");
                    return Poll::Ready(Some(Err(this.call.failed(cancelled))));
                }
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

/// Runs a statement to its end and counts the changed rows.
pub(super) async fn count_changed(mut result: ResultStream) -> Result<u64> {
    let mut rows = 0;
    while let Some(batch) = result.next().await {
        rows += changed_rows(&batch?, result.class());
    }
    Ok(rows)
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
