//! The socket of a client that takes HTTP/2 frames of 16 KiB only -> many of them in one system call.
//! Runs on: the connection tasks.
//! Never: holds bytes back when the connection has nothing more to write; changes their order.
//!
//! h2 writes and flushes each DATA frame by itself. Go's gRPC, and with it ADBC, takes no larger frames than HTTP/2 allows at
//! least, so that a GB leaves in 65,000 system calls. Whatever comes behind a full frame comes at once, or else the task
//! is polled again: it is woken here, and reads before it writes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered.
const GATHERED_BYTES: usize = 256 << 10;
/// How a DATA frame of 16,384 bytes begins that is not the last of its stream: length, type, flags.
const FULL_FRAME: [u8; 5] = [0, 0x40, 0, 0, 0];
/// Bytes of such a frame, its head included.
const FULL_FRAME_BYTES: usize = 9 + (16 << 10);

/// A socket that gathers full frames.
pub(super) struct Gathering<S> {
    socket: S,
    gathered: BytesMut,
    // Bytes of a full frame that are still to come.
    left: usize,
    // The task is to be polled again, for what is gathered.
    woken: bool,
    // The socket has no room, and wakes the task when it has.
    blocked: bool,
}

impl<S> Gathering<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, gathered: BytesMut::new(), left: 0, woken: false, blocked: false }
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    /// Writes what is gathered.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(context, &self.gathered);
            self.blocked = written.is_pending();
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        self.woken = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() {
            match self.poll_drain(context) {
                // The socket wakes the task when it has room again.
                Poll::Pending => {}
                // An idle connection holds no room.
                Poll::Ready(done) => {
                    done?;
                    self.gathered = BytesMut::new();
                }
            }
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let begins = self.left == 0 && parts.first().is_some_and(|part| part.starts_with(&FULL_FRAME));
        let left = if begins { FULL_FRAME_BYTES } else { self.left };
        let is_full_frame = bytes <= left;
        if self.gathered.len() + bytes > GATHERED_BYTES {
            ready!(self.poll_drain(context))?;
        }
        if bytes > GATHERED_BYTES || (self.gathered.is_empty() && !is_full_frame) {
            self.left = 0;
            return Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        }
        if self.gathered.capacity() < GATHERED_BYTES {
            self.gathered.reserve(GATHERED_BYTES);
        }
        self.left = if is_full_frame { left - bytes } else { 0 };
        for part in parts {
            self.gathered.extend_from_slice(part);
        }
        if !is_full_frame {
            // The end of a message. What the socket does not take now, it takes with the flush.
            if let Poll::Ready(Err(error)) = self.poll_drain(context) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// What is gathered leaves with the frames behind it, or when the task is polled again.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.blocked {
            ready!(self.poll_drain(context))?;
        }
        if !self.gathered.is_empty() {
            if !self.woken {
                self.woken = true;
                context.waker().wake_by_ref();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes `room` bytes, and counts how often it was written to.
    struct Socket {
        taken: Vec<u8>,
        writes: usize,
        room: usize,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Poll::Pending;
            }
            self.taken.extend_from_slice(&bytes[..count]);
            self.room -= count;
            self.writes += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Socket {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn gathering(room: usize) -> Gathering<Socket> {
        Gathering::new(Socket { taken: Vec::new(), writes: 0, room })
    }

    /// As h2 does: writes all of a frame, and flushes it.
    fn send(gathering: &mut Gathering<Socket>, frame: &[u8]) -> Poll<()> {
        let mut context = Context::from_waker(Waker::noop());
        let mut rest = frame;
        while !rest.is_empty() {
            // One system call for a frame, or two.
            let (head, body) = rest.split_at(rest.len().min(200));
            let body = if frame[frame.len() - 1] % 4 == 1 { &body[..body.len().min(9_000)] } else { body };
            let parts = [IoSlice::new(head), IoSlice::new(body)];
            rest =
                &rest[ready!(Pin::new(&mut *gathering).poll_write_vectored(&mut context, &parts)).unwrap()..];
        }
        Pin::new(gathering).poll_flush(&mut context).map(Result::unwrap)
    }

    fn poll_again(gathering: &mut Gathering<Socket>) {
        let mut read = [0; 8];
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(gathering).poll_read(&mut context, &mut ReadBuf::new(&mut read)).is_pending());
    }

    fn full_frame(fill: u8) -> Vec<u8> {
        let mut frame = vec![fill; 9 + 16_384];
        frame[..5].copy_from_slice(&FULL_FRAME);
        frame
    }

    #[test]
    fn full_frames_leave_together_and_others_at_once() {
        let mut gathering = gathering(usize::MAX);
        let mut sent = Vec::new();
        let mut check = |gathering: &mut Gathering<Socket>, frame: &[u8], writes: usize| {
            sent.extend_from_slice(frame);
            assert!(send(gathering, frame).is_ready());
            assert_eq!((gathering.socket.writes, sent.starts_with(&gathering.socket.taken)), (writes, true));
            sent.len() - gathering.socket.taken.len()
        };
        assert_eq!(check(&mut gathering, b"a small frame", 1), 0);
        for fill in 0..10 {
            assert!(check(&mut gathering, &full_frame(fill), 1) > 0);
        }
        // The end of the message.
        assert_eq!(check(&mut gathering, &[7; 100], 2), 0);
        for fill in 0..40 {
            check(&mut gathering, &full_frame(fill), 2 + usize::from(fill) / 15);
        }
        // Nothing comes behind them: the task is woken, and reads first.
        poll_again(&mut gathering);
        assert_eq!(check(&mut gathering, b"", 5), 0);
        assert_eq!(gathering.gathered.capacity(), 0, "an idle connection holds no room");
    }

    #[test]
    fn a_socket_without_room_is_waited_for() {
        let mut gathering = gathering(20_000);
        let frames: Vec<Vec<u8>> = (0..20).map(full_frame).collect();
        let sent = frames.iter().take_while(|frame| send(&mut gathering, frame).is_ready()).count();
        assert!(sent < frames.len() && gathering.blocked);
        poll_again(&mut gathering);
        assert!(send(&mut gathering, b"").is_pending(), "no flush is claimed that has to be waited for");
        gathering.socket.room = usize::MAX;
        for frame in &frames[sent..] {
            assert!(send(&mut gathering, frame).is_ready());
        }
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut gathering).poll_shutdown(&mut context).is_ready());
        assert_eq!(gathering.socket.taken, frames.concat());
    }
}
