//! The data of one HTTP/2 frame, in the parts that it lies in.
//! Runs on: the connection tasks.
//! Never: copies.
//!
//! h2 writes a frame by one system call, whatever it consists of, as long as its data hands all parts out at once.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Bytes that lie in several places.
#[derive(Debug, Default)]
pub struct Parts {
    parts: VecDeque<Bytes>,
    remaining: usize,
}

impl Parts {
    /// Adds `part` behind the others.
    pub(super) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.remaining += part.len();
            self.parts.push_back(part);
        }
    }
}

impl From<Bytes> for Parts {
    fn from(bytes: Bytes) -> Self {
        let mut parts = Self::default();
        parts.push(bytes);
        parts
    }
}

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.parts.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advance beyond the end");
        self.remaining -= count;
        while let Some(front) = self.parts.front_mut()
            && count > 0
        {
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.parts.pop_front();
        }
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        match self.parts.front_mut() {
            Some(front) if front.len() >= count => {
                let bytes = front.copy_to_bytes(count);
                self.remaining -= count;
                if front.is_empty() {
                    self.parts.pop_front();
                }
                bytes
            }
            _ => {
                let mut bytes = bytes::BytesMut::with_capacity(count);
                bytes::BufMut::put(&mut bytes, self.take(count));
                bytes.freeze()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However they are taken, the bytes are those that went in.
        #[test]
        fn parts_are_their_bytes(
            lengths in proptest::collection::vec(0_usize..9, 0..8),
            steps in proptest::collection::vec((0_usize..12, any::<bool>()), 1..9),
        ) {
            let whole: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|byte| u8::try_from(byte).unwrap()).collect();
            let mut parts = Parts::default();
            let mut from = 0;
            for length in lengths {
                parts.push(Bytes::copy_from_slice(&whole[from..from + length]));
                from += length;
            }
            let mut taken = Vec::new();
            for (step, copies) in steps.iter().cycle() {
                let mut slices = [IoSlice::new(&[]); 3];
                let count = parts.chunks_vectored(&mut slices);
                let seen: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                prop_assert_eq!(&seen[..], &whole[taken.len()..taken.len() + seen.len()]);
                prop_assert_eq!(seen.is_empty(), !parts.has_remaining());
                prop_assert_eq!(parts.chunk(), slices.first().filter(|_| count > 0).map_or(&[][..], |slice| slice));
                let step = (*step).min(parts.remaining());
                if *copies {
                    taken.extend_from_slice(&parts.copy_to_bytes(step));
                } else {
                    taken.extend_from_slice(&whole[taken.len()..taken.len() + step]);
                    parts.advance(step);
                }
                if !parts.has_remaining() || steps.iter().all(|(step, _)| *step == 0) {
                    break;
                }
            }
            prop_assert_eq!(parts.remaining(), whole.len() - taken.len());
            prop_assert_eq!(&taken[..], &whole[..taken.len()]);
        }
    }
}
