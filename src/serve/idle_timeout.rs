//! Closes connections of idle readers. If the client does not receive the written bytes within the timeout, the connection is
//! closed and the layer that is made for it is cancelled. hyper flushes after each piece of a body, so this is also a minimum
//! speed: a client that reads one byte at a time cannot occupy a stream for long.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// A stream that fails if its reader is idle or almost idle.
pub struct IdleTimeout<S> {
    inner: S,
    idle_timeout: Duration,
    /// The running timeout, while written bytes are not received yet.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> IdleTimeout<S> {
    /// Waits at most `idle_timeout` until the other side has received the bytes that were written before a flush.
    pub fn new(inner: S, idle_timeout: Duration) -> Self {
        Self { inner, idle_timeout, waiting: None }
    }

    fn judge<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        let idle_timeout = self.idle_timeout;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(idle_timeout)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeout<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.judge(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.judge(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        if polled.is_ready() {
            self.waiting = None;
        }
        self.judge(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn stalled_readers_are_disconnected() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (server, mut client) = duplex(16);
            let mut server = IdleTimeout::new(server, Duration::from_millis(50));
            server.write_all(&[0; 16]).await.unwrap();
            // A client that reads is not disconnected.
            let mut read = [0; 16];
            client.read_exact(&mut read).await.unwrap();
            server.write_all(&[0; 16]).await.unwrap();
            server.flush().await.unwrap();
            let error = server.write_all(&[0; 1]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn very_slow_readers_are_disconnected() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (server, mut client) = duplex(16);
            let mut server = IdleTimeout::new(server, Duration::from_secs(30));
            let reads = tokio::spawn(async move {
                for _ in 0..1000 {
                    sleep(Duration::from_secs(1)).await;
                    client.read_u8().await?;
                }
                io::Result::Ok(())
            });
            let error = server.write_all(&[0; 500]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(server);
            assert!(reads.await.unwrap().is_err());
        });
    }
}
