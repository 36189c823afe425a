//! A result -> a stream of frames.
//! Runs on: the task of the call; encodes one batch at a time, when the socket wants more.
//! Never: ends a broken result as if it were complete.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use pintail_protocol::frame::Frame;
use tonic::{Response, Status};

use crate::error::Result;
use crate::flight::request::{Call, Reply};
use crate::flight::result::Stop;
use crate::flight::wire::Encoder;
use crate::query::ResultStream;

/// A result on its way to the socket.
pub(in crate::flight) struct FrameStream {
    result: ResultStream,
    encoder: Encoder,
    ready: VecDeque<Frame>,
    call: Call,
    stop: Option<Stop>,
    ended: bool,
}

/// A result that has begun, and how its batches are encoded.
pub(super) struct OpenResult {
    pub(super) result: ResultStream,
    pub(super) encoder: Encoder,
    /// Tells when its ticket is taken back, if it has one.
    pub(super) stop: Option<Stop>,
}

/// The answer of a call that streams a result.
pub(super) fn frames(begun: Result<OpenResult>, mut call: Call) -> Reply<FrameStream> {
    let OpenResult { mut result, encoder, stop } = begun.map_err(|error| call.failed(error))?;
    if let Some(stop) = &stop {
        result.end_after(stop.told(), Stop::why);
    }
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
            if this.stop.as_ref().is_some_and(Stop::is_told) {
                this.ended = true;
                return Poll::Ready(Some(Err(this.call.failed(Stop::why()))));
            }
            let error = match Pin::new(&mut this.result).poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(batch))) => match this.encoder.encode(&batch) {
                    Ok(frames) => {
                        this.call.so_far(this.result.rows, this.result.bytes);
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
