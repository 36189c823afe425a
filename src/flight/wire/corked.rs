//! Frames of HTTP/2 on their way to a socket -> fewer, larger writes.
//! Runs on: the connection tasks.
//! Never: keeps bytes back once nothing follows them at once.
//!
//! h2 writes and flushes every frame. Clients that take frames of 16 KiB only, such as those of grpc-go, cost a system call
//! for each of them, which is more than copying them together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Writes below it are answers, settings or ends of results: whoever they are for waits for them.
const BULK_BYTES_MIN: usize = 8 << 10;
/// Writes above it leave by themselves.
const BULK_BYTES_MAX: usize = 64 << 10;
/// Bytes gathered at most.
const GATHERED_BYTES_MAX: usize = 256 << 10;

/// A socket behind a buffer.
pub(super) struct Corked<S> {
    socket: S,
    gathered: BytesMut,
    /// The last write was one of many, probably, and no flush has been put off since.
    is_bulk: bool,
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, gathered: BytesMut::new(), is_bulk: false }
    }

    /// Writes what was gathered.
    fn poll_gathered(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, &self.gathered))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let gathers = this.is_bulk || (BULK_BYTES_MIN..=BULK_BYTES_MAX).contains(&length);
        if this.gathered.len() + length > GATHERED_BYTES_MAX || length > BULK_BYTES_MAX || !gathers {
            ready!(this.poll_gathered(context))?;
        }
        this.is_bulk = (BULK_BYTES_MIN..=BULK_BYTES_MAX).contains(&length);
        if length > BULK_BYTES_MAX || !gathers {
            return Pin::new(&mut this.socket).poll_write_vectored(context, parts);
        }
        for part in parts {
            this.gathered.extend_from_slice(part);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// Put off once after a write of many: the task is run again at once, and flushes again, unless it has written more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if std::mem::take(&mut this.is_bulk) && this.gathered.len() < GATHERED_BYTES_MAX {
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_gathered(context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_gathered(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes up to so many bytes by one write, and notes how many it was given.
    struct Socket {
        takes: usize,
        taken: Vec<u8>,
        writes: usize,
    }

    impl AsyncWrite for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let length = bytes.len().min(self.takes);
            self.taken.extend_from_slice(&bytes[..length]);
            self.writes += 1;
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn ready<T>(poll: Poll<io::Result<T>>) -> T {
        match poll {
            Poll::Ready(done) => done.unwrap(),
            Poll::Pending => panic!("the socket is ready"),
        }
    }

    /// Small frames of a large result leave together, all else at once, and everything in order.
    #[test]
    fn frames_leave_in_order_and_together() {
        let mut context = Context::from_waker(Waker::noop());
        let mut corked = Corked::new(Socket { takes: 100_000, taken: Vec::new(), writes: 0 });
        let mut sent = Vec::new();
        let mut send = |corked: &mut Corked<Socket>, length: usize| {
            let bytes: Vec<u8> =
                (0..length).map(|byte| u8::try_from((byte + sent.len()) % 251).unwrap()).collect();
            let mut from = 0;
            while from < length {
                from += ready(Pin::new(&mut *corked).poll_write(&mut context, &bytes[from..]));
            }
            sent.extend_from_slice(&bytes);
            ready(Pin::new(&mut *corked).poll_flush(&mut context));
            sent.len()
        };
        // A small answer does not wait.
        let all = send(&mut corked, 100);
        assert_eq!((corked.socket.taken.len(), corked.socket.writes), (all, 1));
        // Many frames of 16 KiB do, up to a limit, ...
        for _ in 0..40 {
            send(&mut corked, 16_393);
        }
        assert!(corked.socket.writes < 10, "{} writes", corked.socket.writes);
        assert!(corked.gathered.len() <= GATHERED_BYTES_MAX);
        // ... and the end of the result takes them along.
        let all = send(&mut corked, 50);
        assert_eq!(corked.socket.taken.len(), all);
        // Without an end, they leave when the task is run again.
        let all = send(&mut corked, 16_393);
        assert!(corked.socket.taken.len() < all);
        ready(Pin::new(&mut corked).poll_flush(&mut Context::from_waker(Waker::noop())));
        assert_eq!(corked.socket.taken.len(), all);
        // Large ones are not copied.
        send(&mut corked, 16_393);
        let all = send(&mut corked, 300_000);
        assert_eq!((corked.socket.taken.len(), corked.gathered.len()), (all, 0));
        send(&mut corked, 16_393);
        ready(Pin::new(&mut corked).poll_shutdown(&mut Context::from_waker(Waker::noop())));
        assert_eq!(corked.socket.taken, sent);
    }
}
