//! Arrow IPC messages that say other things than they hold.
#![allow(unreachable_pub, dead_code, reason = "included by test programs and by unit tests")]

use arrow::ipc;
use arrow_flight::FlightData;

/// The parts of a record batch's header, or of a dictionary's, that can be written over.
pub struct Forged {
    message: FlightData,
    nodes: usize,
    buffers: usize,
    counts: Option<usize>,
    rows: usize,
}

impl Forged {
    /// A message, to be changed.
    pub fn new(message: &FlightData) -> Self {
        let root = ipc::root_as_message(&message.data_header).unwrap();
        let dictionary = root.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        let batch = root.header_as_record_batch().or(dictionary).unwrap();
        let at = |part: &[u8]| part.as_ptr() as usize - message.data_header.as_ptr() as usize;
        let vtable = batch._tab.vtable();
        Self {
            message: message.clone(),
            nodes: at(batch.nodes().unwrap().bytes()),
            buffers: at(batch.buffers().unwrap().bytes()),
            counts: batch.variadicBufferCounts().map(|counts| at(counts.bytes())),
            rows: batch._tab.loc() + usize::from(vtable.get(ipc::RecordBatch::VT_LENGTH)),
        }
    }

    /// Rows of the batch.
    pub fn rows(self, rows: i64) -> Self {
        let at = self.rows;
        self.header(at, rows)
    }

    /// Length and NULLs of an array.
    pub fn node(self, index: usize, length: i64, nulls: i64) -> Self {
        let at = self.nodes + 16 * index;
        self.header(at, length).header(at + 8, nulls)
    }

    /// Where a buffer lies.
    pub fn buffer(self, index: usize, offset: i64, length: i64) -> Self {
        let at = self.buffers + 16 * index;
        self.header(at, offset).header(at + 8, length)
    }

    /// Buffers of a view column.
    pub fn count(self, index: usize, count: i64) -> Self {
        let at = self.counts.unwrap() + 8 * index;
        self.header(at, count)
    }

    /// What a compressed buffer says of its length.
    pub fn unpacked(mut self, index: usize, bytes: i64) -> Self {
        let at = self.buffers + 16 * index;
        let at = i64::from_le_bytes(self.message.data_header[at..at + 8].try_into().unwrap()) as usize;
        let mut body = self.message.data_body.to_vec();
        body[at..at + 8].copy_from_slice(&bytes.to_le_bytes());
        self.message.data_body = body.into();
        self
    }

    /// The changed message.
    pub fn message(self) -> FlightData {
        self.message
    }

    fn header(mut self, at: usize, number: i64) -> Self {
        let mut header = self.message.data_header.to_vec();
        header[at..at + 8].copy_from_slice(&number.to_le_bytes());
        self.message.data_header = header.into();
        self
    }
}
