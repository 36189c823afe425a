//! Where the messages of an Arrow file or stream lie.
//! Runs on: threads that read; blocks. Reads headers, and passes over the bodies.
//! Never: allocates what a length declares before it is held against the file.

use crate::error::{Error, Result};
use arrow::ipc::{MessageHeader, root_as_footer, root_as_message};
use arrow_flight::FlightData;
use pintail_protocol::decode::Decoder;

use super::super::input::Input;

/// Begins and ends a file.
const MAGIC: &[u8; 6] = b"ARROW1";
/// Where the first message of a file lies, behind the magic and two bytes.
const FILE_START: u64 = 8;
/// Begins a message since 0.15; before that, its length did.
const CONTINUATION: u32 = 0xffff_ffff;
/// The longest header that is read. That of a batch takes 32 bytes for each column.
const HEADER_BYTES_MAX: u64 = 64 << 20;
/// What writers leave between messages, so that bodies begin at a multiple of something.
const PADDING_MAX: u64 = 64;

/// A message of rows or of a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Where the message begins.
    at: u64,
    /// Bytes of what stands before the header.
    prefix: u8,
    /// Bytes of the header.
    header: u32,
    /// Bytes of the body.
    pub(super) body: u64,
    /// Rows; `None` for a dictionary.
    pub(super) rows: Option<u64>,
}

/// The messages of a file in the order that they are to be decoded in, its schema apart.
pub(super) struct Layout {
    schema: Begin,
    pub(super) frames: Vec<Frame>,
}

enum Begin {
    Message(Vec<u8>),
    Footer(Vec<u8>),
}

/// What stands at a place of a stream.
enum Next {
    /// A header, and where the body begins.
    Header(Vec<u8>, u8, u64),
    End,
}

impl Layout {
    /// Gives the schema to a decoder.
    pub(super) fn begin(&self, decoder: &mut Decoder) -> Result<()> {
        match &self.schema {
            Begin::Footer(footer) => decoder.footer(footer).map(drop),
            Begin::Message(header) => {
                let message = FlightData { data_header: header.clone().into(), ..Default::default() };
                decoder.decode(message).map(drop)
            }
        }
    }
}

impl Frame {
    /// Bytes of the whole message.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.prefix) + u64::from(self.header) + self.body
    }

    /// Where the body begins.
    pub(super) fn body_at(&self) -> u64 {
        self.at + u64::from(self.prefix) + u64::from(self.header)
    }

    /// The header alone.
    pub(super) fn header(&self, input: &Input) -> Result<Vec<u8>> {
        let mut header = vec![0; self.header as usize];
        input.read_at(self.at + u64::from(self.prefix), &mut header)?;
        Ok(header)
    }

    /// The message.
    pub(super) fn read(&self, input: &Input) -> Result<FlightData> {
        let header = self.header(input)?;
        let length =
            usize::try_from(self.body).map_err(|_| Error::invalid("a body larger than memory has bytes"))?;
        let mut body = vec![0; length];
        input.read_at(self.body_at(), &mut body)?;
        Ok(FlightData { data_header: header.into(), data_body: body.into(), ..Default::default() })
    }
}

/// Finds the messages of a file or stream, by its first bytes.
///
/// Errors: `Invalid` saying where it is not what it says.
pub(super) fn read(input: &Input) -> Result<Layout> {
    let mut start = [0; MAGIC.len()];
    if input.len() >= MAGIC.len() as u64 {
        input.read_at(0, &mut start)?;
    }
    if &start == MAGIC { read_file(input) } else { read_stream(input) }
}

fn read_stream(input: &Input) -> Result<Layout> {
    let mut at = 0;
    let mut schema = None;
    let mut frames: Vec<Frame> = Vec::new();
    let mut number = 1;
    while at < input.len() {
        let here = |error: Error| match schema {
            None => error.context("its schema"),
            Some(_) => error.context(format!("record batch {number}")),
        };
        match next(input, at).map_err(&here)? {
            Next::End => {
                at += 4;
                // The marker of today is twice as long.
                at += u64::from(input.len() >= at + 4 && is_continuation(input, at - 4)?) * 4;
                if at < input.len() {
                    return Err(Error::invalid(format!(
                        "{} bytes behind the end of the stream, at {at}; several streams in one file are to be \
                         written to files of their own",
                        input.len() - at
                    )));
                }
                break;
            }
            Next::Header(header, _, body_at) if schema.is_none() => {
                let message =
                    root_as_message(&header).map_err(|error| here(Error::invalid(error.to_string())))?;
                if message.header_type() != MessageHeader::Schema {
                    return Err(Error::invalid("it does not begin with a schema"));
                }
                at = body_at;
                schema = Some(header);
            }
            Next::Header(header, prefix, body_at) => {
                let frame = frame(&header, at, prefix, body_at, input.len()).map_err(&here)?;
                at = body_at + frame.body;
                number += u64::from(frame.rows.is_some());
                frames.push(frame);
            }
        }
    }
    let schema = schema.ok_or_else(|| Error::invalid("it has no schema"))?;
    Ok(Layout { schema: Begin::Message(schema), frames })
}

fn is_continuation(input: &Input, at: u64) -> Result<bool> {
    Ok(word(input, at)? == CONTINUATION)
}

fn word(input: &Input, at: u64) -> Result<u32> {
    let mut bytes = [0; 4];
    if at + 4 > input.len() {
        return Err(short(at, 4, input.len()));
    }
    input.read_at(at, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn short(at: u64, wanted: u64, end: u64) -> Error {
    Error::invalid(format!(
        "the file ends at {end}, within {wanted} bytes at {at}; it is cut short or still written"
    ))
}

fn next(input: &Input, at: u64) -> Result<Next> {
    let first = word(input, at)?;
    let (length, prefix) = if first == CONTINUATION { (word(input, at + 4)?, 8) } else { (first, 4) };
    if length == 0 {
        return Ok(Next::End);
    }
    let (length, start) = (u64::from(length), at + u64::from(prefix));
    if length > HEADER_BYTES_MAX {
        return Err(Error::invalid(format!("a header of {length} bytes at {at}, which is no Arrow message")));
    }
    if start + length > input.len() {
        return Err(short(start, length, input.len()));
    }
    let mut header = vec![0; usize::try_from(length).unwrap_or_default()];
    input.read_at(start, &mut header)?;
    Ok(Next::Header(header, prefix, start + length))
}

/// What a header says of its message.
fn frame(header: &[u8], at: u64, prefix: u8, body_at: u64, end: u64) -> Result<Frame> {
    let message = root_as_message(header).map_err(|error| Error::invalid(error.to_string()))?;
    let body =
        u64::try_from(message.bodyLength()).map_err(|_| Error::invalid("a body of a negative length"))?;
    if body_at.checked_add(body).is_none_or(|body_end| body_end > end) {
        return Err(short(body_at, body, end));
    }
    let rows = match message.header_type() {
        MessageHeader::DictionaryBatch => None,
        MessageHeader::RecordBatch => {
            let rows = message.header_as_record_batch().map_or(-1, |batch| batch.length());
            Some(u64::try_from(rows).map_err(|_| Error::invalid(format!("{rows} rows are declared")))?)
        }
        MessageHeader::Schema => return Err(Error::invalid("a second schema in one stream")),
        other => return Err(Error::invalid(format!("an Arrow IPC message of type {other:?}"))),
    };
    let header = u32::try_from(header.len()).map_err(|_| Error::invalid("a header too large"))?;
    Ok(Frame { at, prefix, header, body, rows })
}

/// Goes by the footer, and holds it against the file: what it leaves out would be lost.
fn read_file(input: &Input) -> Result<Layout> {
    let length = input.len();
    let tail = MAGIC.len() as u64 + 4;
    if length < FILE_START + tail {
        return Err(short(0, FILE_START + tail, length));
    }
    let mut end = [0; MAGIC.len()];
    input.read_at(length - MAGIC.len() as u64, &mut end)?;
    if &end != MAGIC {
        return Err(Error::invalid(
            "it does not end as an Arrow file does; it is cut short or still written",
        ));
    }
    let footer_length = u64::from(word(input, length - tail)?);
    let footer_at = (length - tail)
        .checked_sub(footer_length)
        .filter(|at| *at >= FILE_START && footer_length <= HEADER_BYTES_MAX)
        .ok_or_else(|| Error::invalid(format!("its footer of {footer_length} bytes does not fit into it")))?;
    let mut bytes = vec![0; usize::try_from(footer_length).unwrap_or_default()];
    input.read_at(footer_at, &mut bytes)?;
    let footer = root_as_footer(&bytes).map_err(|error| Error::invalid(format!("its footer: {error}")))?;
    let mut dictionaries = Vec::new();
    for block in footer.dictionaries().into_iter().flatten() {
        let number = dictionaries.len() + 1;
        dictionaries.push(
            at_block(input, block, false, footer_at)
                .map_err(|error| error.context(format!("dictionary {number}")))?,
        );
    }
    let mut rows: Vec<Frame> = Vec::new();
    for block in footer.recordBatches().into_iter().flatten() {
        let number = rows.len() + 1;
        let frame = at_block(input, block, true, footer_at);
        let frame = frame.map_err(|error| error.context(format!("record batch {number}")))?;
        if rows.last().is_some_and(|before| before.at >= frame.at) {
            return Err(Error::invalid(format!("its footer has record batch {number} out of order")));
        }
        rows.push(frame);
    }
    let mut ordered: Vec<Frame> = dictionaries.iter().chain(&rows).copied().collect();
    ordered.sort_by_key(|frame| frame.at);
    check_gaps(input, &ordered, footer_at)?;
    // Dictionaries that come once may lie anywhere; those that are added to or replaced count from where they lie.
    let ids = dictionaries.iter().map(|frame| dictionary(&frame.header(input)?));
    let mut ids = ids.collect::<Result<Vec<_>>>()?;
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    let frames = if ids.len() == count { dictionaries.into_iter().chain(rows).collect() } else { ordered };
    Ok(Layout { schema: Begin::Footer(bytes), frames })
}

fn dictionary(header: &[u8]) -> Result<i64> {
    let message = root_as_message(header).map_err(|error| Error::invalid(error.to_string()))?;
    Ok(message.header_as_dictionary_batch().map_or(0, |dictionary| dictionary.id()))
}

/// The message that a footer names.
fn at_block(input: &Input, block: &arrow::ipc::Block, is_rows: bool, footer_at: u64) -> Result<Frame> {
    let declared = || {
        format!(
            "the footer declares {} bytes of header and {} of body at {}",
            block.metaDataLength(),
            block.bodyLength(),
            block.offset()
        )
    };
    let outside = || Error::invalid(format!("{}, which are not in the file", declared()));
    let at = u64::try_from(block.offset()).map_err(|_| outside())?;
    if at < FILE_START || at + 8 > footer_at {
        return Err(outside());
    }
    let Next::Header(header, prefix, body_at) = next(input, at)? else {
        return Err(Error::invalid(format!("{}, where no message is", declared())));
    };
    let frame = frame(&header, at, prefix, body_at, footer_at)?;
    let says = (u64::try_from(block.metaDataLength()), u64::try_from(block.bodyLength()));
    if says != (Ok(body_at - at), Ok(frame.body)) || frame.rows.is_some() != is_rows {
        return Err(Error::invalid(format!("{}, and another message is there", declared())));
    }
    Ok(frame)
}

/// Messages lie one behind the other; a footer that leaves one out leaves a gap.
fn check_gaps(input: &Input, frames: &[Frame], footer_at: u64) -> Result<()> {
    // What the file begins with is its schema once more, or at once its first rows. Some writers put the schema there
    // without a message around it.
    let first = frames.first().map_or(footer_at, |frame| frame.at);
    let mut at = match next(input, FILE_START) {
        Ok(Next::Header(header, _, body_at)) => {
            match root_as_message(&header).map(|message| message.header_type()) {
                Ok(MessageHeader::Schema) => body_at,
                Ok(MessageHeader::RecordBatch | MessageHeader::DictionaryBatch) => FILE_START,
                _ => first,
            }
        }
        _ => first,
    };
    for (from, next) in
        frames.iter().map(|frame| (frame.at, frame.at + frame.bytes())).chain([(footer_at, 0)])
    {
        if from < at || from - at > PADDING_MAX {
            return Err(Error::invalid(format!(
                "its footer says nothing of the bytes from {at} to {from}, so rows may be missing; write it again"
            )));
        }
        at = next;
    }
    Ok(())
}
