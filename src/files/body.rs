//! The body of a request, in any form of rows -> Arrow messages, or batches.
//! Runs on: one blocking thread for a body; it waits for more of it, and for those who take what it read.
//! Never: holds a body; reads on when nobody takes.

use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use ::arrow::array::RecordBatch;
use ::arrow::datatypes::SchemaRef;
use ::arrow::ipc::root_as_message;
use arrow_flight::FlightData;
use bytes::{Buf, Bytes};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::found::{Copied, FoundFile, Place};
use super::sniff::{Compression, Format};
use super::text::{self, Given, Kind};
use super::{arrow as ipc, parquet};
use crate::error::{Error, Kind as ErrorKind, Result};

/// What bodies are called in errors.
const SHOWN: &str = "body";
/// Pieces of a body that wait to be read.
const CHUNKS: usize = 8;
/// What was read and waits to be taken.
const READ_AHEAD: usize = 2;
/// The longest header of an Arrow message.
const HEADER_BYTES_MAX: usize = 64 << 20;
/// Before the length of a message.
const CONTINUATION: u32 = 0xffff_ffff;
const STEP_BYTES: u64 = 1 << 20;
const PERMIT_BYTES: usize = 1024;

/// What bodies are read within.
#[derive(Clone)]
pub struct Bounds {
    /// Largest Arrow message.
    pub message_bytes_max: usize,
    /// Where bodies that can only be read as a file are kept meanwhile, and how large they may be.
    pub folder: Option<PathBuf>,
    /// Bytes of such a file.
    pub file_bytes_max: u64,
    room: Arc<Semaphore>,
    permits: usize,
    readers: Arc<Semaphore>,
}

impl Bounds {
    /// Room for `receive_bytes` of Arrow messages, and for `readers` bodies of other forms, at one time.
    pub fn new(
        message_bytes_max: usize,
        receive_bytes: usize,
        readers: usize,
        folder: Option<PathBuf>,
        file_bytes_max: u64,
    ) -> Self {
        let permits = (receive_bytes / PERMIT_BYTES).clamp(1, u32::MAX as usize);
        let room = Arc::new(Semaphore::new(permits));
        let readers = Arc::new(Semaphore::new(readers));
        Self { message_bytes_max, folder, file_bytes_max, room, permits, readers }
    }
}

/// What a body holds and how it is packed.
pub struct Body {
    /// The form of its rows.
    pub format: Format,
    /// How all of it is packed.
    pub compression: Compression,
    /// The table that the rows are for, where it is there.
    pub given: Option<Given>,
}

/// What was read of a body.
pub enum Item {
    /// An Arrow message, and its room.
    Message(FlightData, OwnedSemaphorePermit),
    /// The columns of the batches that follow.
    Schema(SchemaRef),
    /// Rows.
    Batch(RecordBatch),
}

/// Both ends of a body under way.
pub struct Reading {
    /// Where the body goes, piece by piece. The end of the body is the end of what is sent; an error in it is sent.
    pub chunks: mpsc::Sender<io::Result<Bytes>>,
    /// What is in it.
    pub items: mpsc::Receiver<Result<Item>>,
}

/// Begins to read a body. Waits for a place where its form takes much memory.
pub async fn read(body: Body, bounds: &Bounds) -> Result<Reading> {
    let place = match body.format {
        Format::ArrowStream => None,
        _ => Some(
            Arc::clone(&bounds.readers)
                .acquire_owned()
                .await
                .map_err(|_| Error::internal("no bodies are read any more"))?,
        ),
    };
    let (chunks, received) = mpsc::channel(CHUNKS);
    let (tell, items) = mpsc::channel(READ_AHEAD);
    let (bounds, runtime) = (bounds.clone(), Handle::current());
    #[expect(
        clippy::disallowed_methods,
        reason = "one blocking thread for a body, which waits for the network"
    )]
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let late = Arc::new(OnceLock::new());
        let source = Source { received, rest: Bytes::new(), late: Arc::clone(&late) };
        let out = Out { tell, bounds, runtime };
        if let Err(error) = read_on(body, source, &out) {
            // Whatever a reader of rows makes of it.
            let error = late.get().map_or(error, |why| Error::new(ErrorKind::Deadline, why));
            // Whoever took what was read is gone, and needs no reason.
            let _ = out.tell.blocking_send(Err(error));
        }
    });
    Ok(Reading { chunks, items })
}

/// The body as a file that is read once.
struct Source {
    received: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
    // What is said of a body that was silent for too long.
    late: Arc<OnceLock<String>>,
}

impl Read for Source {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.received.blocking_recv() {
                None => return Ok(0),
                Some(Ok(chunk)) => self.rest = chunk,
                Some(Err(error)) => {
                    if error.kind() == io::ErrorKind::TimedOut {
                        let _ = self.late.set(error.to_string());
                    }
                    return Err(error);
                }
            }
        }
        let count = self.rest.len().min(bytes.len());
        self.rest.copy_to_slice(&mut bytes[..count]);
        Ok(count)
    }
}

/// Where what was read goes.
struct Out {
    tell: mpsc::Sender<Result<Item>>,
    bounds: Bounds,
    runtime: Handle,
}

impl Out {
    /// False when nobody takes it.
    fn give(&self, item: Item) -> bool {
        self.tell.blocking_send(Ok(item)).is_ok()
    }

    fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        // One that is larger than all of it passes alone.
        let permits = bytes.div_ceil(PERMIT_BYTES).clamp(1, self.bounds.permits) as u32;
        let room = Arc::clone(&self.bounds.room).acquire_many_owned(permits);
        self.runtime.block_on(room).map_err(|_| Error::internal("no bodies are read any more"))
    }
}

fn read_on(body: Body, source: Source, out: &Out) -> Result<()> {
    let mut source: Box<dyn Read + Send> = match body.compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::new(source))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(source).map_err(unreadable)?),
    };
    let text = |source, kind| {
        let stream = text::stream(source, kind, body.given.as_ref(), SHOWN)?;
        let schema = Arc::clone(stream.schema());
        give_all(out, schema, stream).map(|_| ())
    };
    match body.format {
        Format::ArrowStream => messages(&mut source, out),
        Format::Csv { .. } => text(source, Kind::Csv),
        Format::Ndjson { .. } => text(source, Kind::Ndjson),
        Format::Parquet | Format::ArrowFile => file(body.format, source, out),
    }
}

fn give_all(
    out: &Out,
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<bool> {
    if !out.give(Item::Schema(schema)) {
        return Ok(false);
    }
    for batch in batches {
        if !out.give(Item::Batch(batch?)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A form whose end says where everything is: kept on disk until it is read.
fn file(format: Format, source: Box<dyn Read + Send>, out: &Out) -> Result<()> {
    let kept = |error: io::Error| Error::internal(format!("cannot keep the body on disk: {error}"));
    let mut file = match &out.bounds.folder {
        Some(folder) if folder.is_dir() => tempfile::tempfile_in(folder),
        _ => tempfile::tempfile(),
    }
    .map_err(kept)?;
    let limit = out.bounds.file_bytes_max;
    let mut source = source.take(limit.saturating_add(1));
    let mut bytes = 0_u64;
    let mut step = Vec::new();
    loop {
        step.clear();
        source.by_ref().take(STEP_BYTES).read_to_end(&mut step).map_err(unreadable)?;
        if step.is_empty() {
            break;
        }
        bytes += step.len() as u64;
        if bytes > limit {
            return Err(Error::exhausted(
                "database.max_temp_size",
                "the body is larger than what may be kept on disk while it is read",
            ));
        }
        file.write_all(&step).map_err(kept)?;
    }
    file.rewind().map_err(kept)?;
    let found = FoundFile {
        place: Place::Copied(Copied(Arc::new(file))),
        name: SHOWN.to_owned(),
        shown: SHOWN.to_owned(),
        partitions: Vec::new(),
    };
    let opened = if format == Format::Parquet { parquet::open(&found)? } else { ipc::open(&found)? };
    if !out.give(Item::Schema(Arc::clone(opened.schema()))) {
        return Ok(());
    }
    let mut reader = opened.reader()?;
    for piece in 0..opened.pieces().len() {
        for batch in reader.read(piece)? {
            if !out.give(Item::Batch(batch?)) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The messages of an Arrow IPC stream, as they are.
fn messages(source: &mut dyn Read, out: &Out) -> Result<()> {
    let mut number = 0_u64;
    loop {
        number += 1;
        let broken =
            |why: &str| Error::invalid(format!("{SHOWN}, message {number} of the Arrow stream: {why}"));
        let Some(mut length) = prefix(source, number == 1)? else { return Ok(()) };
        if length == CONTINUATION {
            length = prefix(source, false)?.ok_or_else(|| broken("the body ends within it"))?;
        }
        if length == 0 {
            return Ok(());
        }
        let length = length as usize;
        if length > HEADER_BYTES_MAX {
            return Err(broken("its header is longer than 64 MiB; is the body an Arrow IPC stream?"));
        }
        let header = exactly(source, length)?;
        let message = root_as_message(&header)
            .map_err(|_| broken("its header is none; is the body an Arrow IPC stream (and not a file)?"))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| broken("its length is negative"))?;
        if body > out.bounds.message_bytes_max {
            return Err(Error::exhausted(
                "server.max_message_bytes",
                format!("message {number} of the Arrow stream has {body} bytes; send smaller batches"),
            ));
        }
        let room = out.room(length + body)?;
        let data = FlightData {
            data_header: header.into(),
            data_body: exactly(source, body)?.into(),
            ..FlightData::default()
        };
        if !out.give(Item::Message(data, room)) {
            return Ok(());
        }
    }
}

/// The four bytes before a message; `None` at the end of the body.
fn prefix(source: &mut dyn Read, is_first: bool) -> Result<Option<u32>> {
    let mut bytes = Vec::with_capacity(4);
    source.take(4).read_to_end(&mut bytes).map_err(unreadable)?;
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Ok(Some(u32::from_le_bytes(bytes))),
        Err(_) if bytes.is_empty() && is_first => {
            Err(Error::invalid("the body is empty; expected an Arrow IPC stream"))
        }
        Err(_) if bytes.is_empty() => Ok(None),
        Err(_) => Err(cut()),
    }
}

fn exactly(source: &mut dyn Read, length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(length as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() == length { Ok(bytes) } else { Err(cut()) }
}

fn cut() -> Error {
    Error::invalid("the body ends within a message of the Arrow stream")
}

/// A client that left is told apart from a body that is wrong.
fn unreadable(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return Error::new(
            ErrorKind::Cancelled,
            "the client left before the end of the body; nothing was stored",
        );
    }
    Error::invalid(format!("cannot read the {SHOWN}: {error}"))
}
