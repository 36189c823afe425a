//! The bytes of an object, by ranges.
//! Runs on: threads that read, never on the runtime's own; blocks. Never: mixes bytes of two versions of an object.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, Once, PoisonError};

use crate::error::Result;
use bytes::Bytes;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};
use tokio::runtime::Handle;

use super::url::{changed, failed};

/// Bytes that are kept and asked for together; columns of Parquet lie apart and are read in turns.
const BLOCK_BYTES: u64 = 1 << 20;
/// Blocks asked for together by whoever reads on.
const AHEAD_BLOCKS: u64 = 8;
/// Blocks kept of an open object.
const KEPT_BLOCKS: usize = 32;

/// An object as it was when it was found.
#[derive(Clone)]
pub(in super::super) struct Object {
    store: Arc<dyn ObjectStore>,
    meta: ObjectMeta,
    name: Arc<str>,
    runtime: Handle,
}

impl Object {
    pub(super) fn new(store: &Arc<dyn ObjectStore>, meta: ObjectMeta, name: &str, runtime: Handle) -> Self {
        Self { store: Arc::clone(store), meta, name: name.into(), runtime }
    }

    pub(in super::super) fn size(&self) -> u64 {
        self.meta.size
    }

    /// What tells versions apart.
    pub(in super::super) fn version(&self) -> u64 {
        let tag = self.meta.e_tag.as_deref().unwrap_or_default();
        let text = format!("{tag}\0{}", self.meta.last_modified.timestamp_micros());
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }

    fn get(&self, range: Range<u64>) -> Result<Bytes> {
        // A weak tag never matches; then the answers' own headers tell.
        let strong = self.meta.e_tag.clone().filter(|tag| !tag.starts_with("W/"));
        let wanted = range.end - range.start;
        let options =
            GetOptions { range: Some(GetRange::Bounded(range)), if_match: strong, ..Default::default() };
        let answer = async {
            let result = self.store.get_opts(&self.meta.location, options).await?;
            let meta = result.meta.clone();
            Ok((meta, result.bytes().await?))
        };
        let (meta, bytes) = self.runtime.block_on(answer).map_err(|error| failed(&self.name, &error))?;
        let known = match (&meta.e_tag, &self.meta.e_tag) {
            (Some(tag), Some(found)) => tag == found,
            // Listings count in smaller steps than headers do.
            _ => meta.last_modified.timestamp() == self.meta.last_modified.timestamp(),
        };
        let same = known && meta.size == self.meta.size;
        if !same || bytes.len() as u64 != wanted {
            return Err(changed(&self.name));
        }
        Ok(bytes)
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.meta == other.meta
    }
}

impl Eq for Object {}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A store's own form may show credentials.
        f.debug_tuple("Object").field(&self.name).finish()
    }
}

/// An open object: blocks that were read last.
pub(in super::super) struct ObjectBytes {
    object: Object,
    /// By number; the last one was used last.
    kept: Mutex<VecDeque<(u64, Bytes)>>,
}

impl ObjectBytes {
    pub(in super::super) fn new(object: Object) -> Self {
        Self { object, kept: Mutex::default() }
    }

    /// Up to as many bytes as there is room for; none at the end of the object.
    pub(in super::super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<usize> {
        if offset >= self.object.size() || bytes.is_empty() {
            return Ok(0);
        }
        let block = self.block(offset / BLOCK_BYTES)?;
        let within = usize::try_from(offset % BLOCK_BYTES).unwrap_or(usize::MAX);
        let rest = block.get(within..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn block(&self, number: u64) -> Result<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| *known == number) {
            let found = kept.remove(at).map(|entry| {
                let bytes = entry.1.clone();
                kept.push_back(entry);
                bytes
            });
            return Ok(found.unwrap_or_default());
        }
        let reads_on = number.checked_sub(1).is_some_and(|last| kept.iter().any(|(known, _)| *known == last));
        let count = if reads_on { AHEAD_BLOCKS } else { 1 };
        let begin = number * BLOCK_BYTES;
        let end = (begin + count * BLOCK_BYTES).min(self.object.size());
        let bytes = self.object.get(begin..end)?;
        let mut first = Bytes::new();
        // The wanted one last, for it is used first.
        for index in (0..count).rev() {
            let from = usize::try_from(index * BLOCK_BYTES).unwrap_or(usize::MAX);
            if from < bytes.len() {
                let to = bytes.len().min(from + BLOCK_BYTES as usize);
                first = bytes.slice(from..to);
                kept.push_back((number + index, first.clone()));
            }
        }
        while kept.len() > KEPT_BLOCKS {
            kept.pop_front();
        }
        Ok(first)
    }
}

/// Links are made with ring.
pub(super) fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // One that was installed before does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
