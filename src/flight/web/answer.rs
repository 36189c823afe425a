//! A result -> the body of a response, batch by batch.
//! Runs on: the task of the call; writes one batch at a time, when the socket wants more.
//! Never: ends a broken result as if it were complete: the body breaks off then, and JSON lines say so in their last one.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::http::header::ACCEPT;
use ::http::{HeaderMap, StatusCode};
use arrow::array::RecordBatch;
use arrow::ipc::CompressionType;
use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use pintail_protocol::frame::Frame;
use tokio::sync::watch;
use tokio::time::Sleep;

use super::error::{Refused, body};
use crate::error::{Error, Result};
use crate::flight::request::{Call, Caller};
use crate::flight::wire::{Encoder, Form as TypeForm};
use crate::query::ResultStream;
use crate::written::{self, Form, Unwritten, Writer};

/// Bytes of a piece of the body at most.
const PIECE_BYTES: usize = 1 << 20;
/// How long a last line has to leave before the body breaks off.
const LAST_LINE: Duration = Duration::from_millis(100);

/// The form that a request wants its result in.
pub(super) fn wanted(headers: &HeaderMap) -> Result<Form, Refused> {
    let accept = headers.get(ACCEPT).map(|value| value.to_str().unwrap_or_default()).unwrap_or("*/*");
    let mut kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.find_map(form).ok_or_else(|| {
        let text = format!(
            "header accept: expected application/vnd.apache.arrow.stream, application/x-ndjson, text/csv or \
             application/vnd.apache.parquet, found \"{}\"",
            crate::error::shorten(accept, 100)
        );
        Refused::with(StatusCode::NOT_ACCEPTABLE, Error::invalid(text))
    })
}

fn form(kind: &str) -> Option<Form> {
    Some(match kind.to_ascii_lowercase().as_str() {
        "application/vnd.apache.arrow.stream" => Form::Arrow,
        "text/csv" => Form::Csv,
        "application/vnd.apache.parquet" => Form::Parquet,
        "application/x-ndjson" | "application/jsonl" | "application/json" | "application/*" | "*/*" => {
            Form::Json
        }
        _ => return None,
    })
}

/// The media type of a form.
pub(super) fn media_type(form: Form) -> &'static str {
    match form {
        Form::Arrow => "application/vnd.apache.arrow.stream",
        Form::Csv => "text/csv; charset=utf-8; header=present",
        Form::Json => "application/x-ndjson",
        Form::Parquet => "application/vnd.apache.parquet",
    }
}

/// What a writer has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<u8>>>);

impl Taken {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How batches are written.
enum Encoding {
    Arrow(Box<Encoder>),
    Written { writer: Option<Writer<Taken>>, taken: Taken, is_json: bool },
}

/// A result on its way to the socket.
pub(super) struct Answer {
    result: ResultStream,
    encoding: Encoding,
    ready: VecDeque<Bytes>,
    end: End,
    call: Call,
    // The session that the result is of lives as long, and a server that stops waits for it.
    _held: (Caller, watch::Receiver<()>),
}

enum End {
    /// More may come.
    Open,
    /// The last line is on its way.
    Breaking(Pin<Box<Sleep>>),
    /// The body is to break off.
    Broken,
    Over,
}

impl Answer {
    /// A result whose first batch has come, or that has ended without one.
    pub(super) fn new(
        result: ResultStream,
        form: Form,
        (types, compression): (TypeForm, Option<CompressionType>),
        held: (Caller, watch::Receiver<()>),
        mut call: Call,
    ) -> Result<Self, Refused> {
        call.stage("queue", result.queued);
        call.stage("prepare", result.prepared);
        let mut ready = VecDeque::new();
        let begun = begin(&result, form, types, compression, &mut ready);
        let encoding = begun.map_err(|error| Refused::from(call.failed(error)))?;
        Ok(Self { result, encoding, ready, end: End::Open, call, _held: held })
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.encoding {
            Encoding::Arrow(encoder) => {
                for frame in encoder.encode(batch)? {
                    self.ready.push_back(message(frame));
                }
            }
            Encoding::Written { writer, taken, .. } => {
                if let Some(writer) = writer {
                    writer.write(batch).map_err(error_of)?;
                }
                push(&mut self.ready, taken.take());
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        match &mut self.encoding {
            // The end of an Arrow stream: a message without a length.
            Encoding::Arrow(_) => {
                self.ready.push_back(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
            }
            Encoding::Written { writer, taken, .. } => {
                if let Some(writer) = writer.take() {
                    writer.finish().map_err(error_of)?;
                }
                push(&mut self.ready, taken.take());
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: Error) {
        self.end = End::Broken;
        if let Encoding::Written { is_json: true, .. } = self.encoding {
            self.ready.push_back(format!("{}\n", body(&error)).into());
            self.end = End::Breaking(Box::pin(tokio::time::sleep(LAST_LINE)));
        }
        self.call.failed(error);
    }
}

fn begin(
    result: &ResultStream,
    form: Form,
    types: TypeForm,
    compression: Option<CompressionType>,
    ready: &mut VecDeque<Bytes>,
) -> Result<Encoding> {
    if form == Form::Arrow {
        let encoder = Encoder::in_form(result.schema(), types, compression)?;
        ready.push_back(message(encoder.schema_frame(result.schema())?));
        return Ok(Encoding::Arrow(Box::new(encoder)));
    }
    written::check(form, result.schema())?;
    let taken = Taken::default();
    let writer = Writer::new(form, result.schema(), taken.clone()).map_err(error_of)?;
    push(ready, taken.take());
    Ok(Encoding::Written { writer: Some(writer), taken, is_json: form == Form::Json })
}

fn error_of(unwritten: Unwritten) -> Error {
    match unwritten {
        Unwritten::Rows(error) => error,
        Unwritten::Target(error) => Error::internal(format!("cannot write the result: {error}")),
    }
}

fn push(ready: &mut VecDeque<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        ready.push_back(bytes.split_to(bytes.len().min(PIECE_BYTES)));
    }
}

/// A message in the stream format of Arrow IPC, its header and body padded to eight bytes.
fn message(frame: Frame) -> Bytes {
    let data = frame.into_flight_data();
    let padded = |length: usize| length.next_multiple_of(8);
    // The prefix has eight bytes itself.
    let header = padded(data.data_header.len());
    let mut out = BytesMut::with_capacity(8 + header + padded(data.data_body.len()));
    out.put_u32_le(u32::MAX);
    out.put_u32_le(u32::try_from(header).unwrap_or(u32::MAX));
    out.put(data.data_header);
    out.resize(8 + header, 0);
    out.put(data.data_body);
    out.resize(padded(out.len()), 0);
    out.freeze()
}

impl Stream for Answer {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            match &mut this.end {
                End::Open => {}
                End::Breaking(until) => {
                    ready!(until.as_mut().poll(context));
                    this.end = End::Broken;
                }
                End::Broken => {
                    this.end = End::Over;
                    return Poll::Ready(Some(Err(io::Error::other("the result broke off"))));
                }
                End::Over => return Poll::Ready(None),
            }
            if !matches!(this.end, End::Open) {
                continue;
            }
            let done = match ready!(Pin::new(&mut this.result).poll_next(context)) {
                Some(Ok(batch)) => this.take(&batch),
                Some(Err(error)) => Err(error),
                None => {
                    let finished = this.finish();
                    if finished.is_ok() {
                        this.end = End::Over;
                        this.call.ok();
                    }
                    finished
                }
            };
            if let Err(error) = done {
                this.fail(error);
            }
        }
    }
}

impl Drop for Answer {
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

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn accept_names_the_form_that_comes_first() {
        let of = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            wanted(&headers).ok()
        };
        assert_eq!(of("text/csv"), Some(Form::Csv));
        assert_eq!(of("text/html, application/vnd.apache.arrow.stream;q=0.9, */*"), Some(Form::Arrow));
        assert_eq!(of("application/vnd.apache.parquet"), Some(Form::Parquet));
        assert_eq!(of("*/*"), Some(Form::Json));
        assert_eq!(of("text/html"), None);
        assert_eq!(wanted(&HeaderMap::new()).ok(), Some(Form::Json));
    }
}
