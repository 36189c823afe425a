//! Memory for the Arrow bodies of messages, used again while rows come in.
//! Runs on: tonic's connection tasks; whoever lets go of a body last.
//! Never: keeps memory when no stream is open.
//!
//! Memory that the allocator gives back to the system comes again with a page fault for every 4 KiB, which was a
//! fourteenth of the server's time in a bulk load (`make bench-load`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::buffer::MutableBuffer;
use bytes::Bytes;

use super::room::Room;

/// Bytes that are kept at most, beside those in use.
const KEPT_BYTES: usize = 48 << 20;
/// Bodies below it are the allocator's alone.
pub(super) const SMALL_BYTES: usize = 128 << 10;

/// The memory of bodies that are gone, for those to come, and the room that all of them have. Clones are one pool.
#[derive(Debug, Clone)]
pub(in crate::flight) struct Pool {
    kept: Arc<Mutex<Kept>>,
    room: Room,
}

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<MutableBuffer>,
    bytes: usize,
    streams: usize,
}

impl Pool {
    pub(in crate::flight) fn new(room: Room) -> Self {
        Self { kept: Arc::default(), room }
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// A stream for whose bodies memory is kept.
    pub(super) fn stream(&self) -> Stream {
        self.lock().streams += 1;
        Stream(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream(Pool);

impl Stream {
    /// Memory for `length` bytes, empty and aligned as Arrow's is.
    pub(super) fn body(&self, length: usize) -> Landing {
        let mut kept = self.0.lock();
        // More than that would be memory that nobody has counted.
        let fits = |buffer: &MutableBuffer| {
            (length..=length.saturating_add(length / 4)).contains(&buffer.capacity())
        };
        let buffer = kept.buffers.iter().position(fits).map(|place| kept.buffers.swap_remove(place));
        kept.bytes -= buffer.as_ref().map_or(0, MutableBuffer::capacity);
        drop(kept);
        let buffer = buffer.unwrap_or_else(|| MutableBuffer::with_capacity(length));
        Landing { buffer, pool: self.0.clone() }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut kept = self.0.lock();
        kept.streams -= 1;
        if kept.streams == 0 {
            kept.bytes = 0;
            kept.buffers = Vec::new();
        }
    }
}

/// A body that is being received, or has been.
#[derive(Debug)]
pub(super) struct Landing {
    buffer: MutableBuffer,
    pool: Pool,
}

impl Landing {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Shared from now on; its memory goes back when the last part of it is let go of.
    pub(super) fn landed(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Landing {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let size = self.buffer.capacity();
        if size < SMALL_BYTES {
            return;
        }
        let mut kept = self.pool.lock();
        if kept.streams > 0 && kept.bytes + size <= KEPT_BYTES {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            kept.bytes += size;
            kept.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_while_a_stream_is_open() {
        let pool = Pool::new(Room::of(1 << 30));
        let stream = pool.stream();
        let fill = |stream: &Stream, length: usize| {
            let mut body = stream.body(length);
            body.extend(&vec![1; length]);
            body.landed()
        };
        let (one, two) = (fill(&stream, 1 << 20), fill(&stream, 1 << 20));
        let (place, part) = (one.as_ptr(), two.slice(5..));
        drop((one, two));
        assert_eq!(pool.lock().buffers.len(), 1, "a part of the second is in use");
        let again = fill(&stream, (1 << 20) - 64);
        assert_eq!(again.as_ptr(), place);
        assert_eq!(again.len(), (1 << 20) - 64);
        assert_ne!(fill(&stream, 1 << 19).as_ptr(), place, "half of it would be nobody's");
        drop(fill(&stream, 1000));
        drop(part);
        assert_eq!(pool.lock().buffers.len(), 2, "small ones are not kept");
        let all: Vec<Bytes> = (0..100).map(|_| fill(&stream, 1 << 20)).collect();
        drop(all);
        assert!(pool.lock().bytes <= KEPT_BYTES);
        drop(stream);
        assert_eq!(pool.lock().buffers.len(), 0);
        drop(again);
        let kept = pool.lock();
        assert_eq!((kept.bytes, kept.buffers.len()), (0, 0));
    }
}
