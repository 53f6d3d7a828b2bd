//! What Yamux reads from and writes to: the connection, flushed when it pays, never so full that
//! nothing is read, read to its end when it breaks, and closed so that the peer gets everything.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, FutureExt};
use parking_lot::Mutex;

use super::FRAME;
use super::ends::Ends;
use super::headers::{Headers, Said, reset_instead};
use crate::clock::{Clock, Sleep};
use crate::connection::activity::Activity;

/// Bytes of a frame beside its body.
const HEADER: usize = 12;
/// How many bytes of Yamux are held for a connection that takes none: the rest of the frame that is
/// being written, and an answer to a ping.
const OVERFLOW: usize = HEADER + FRAME + 2 * HEADER;
/// How long a connection that this end has closed waits until the peer has closed it too.
const LINGER: Duration = Duration::from_secs(5);
/// How often a closing connection reads before other tasks do.
const READS: u32 = 64;

/// What a muxer and its socket tell each other. Both sides belong to one task.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Flush when asked to.
    pub(super) flush: AtomicBool,
    /// There is something to flush.
    pub(super) written: AtomicBool,
    /// Take what the connection does not.
    pub(super) overflow: AtomicBool,
    /// Since this was cleared, the connection did not take all.
    pub(super) blocked: AtomicBool,
    /// Since this was cleared, somebody wanted to read.
    pub(super) read: AtomicBool,
    /// Whose signs of life these are, once that is known.
    pub(super) activity: Mutex<Option<Arc<Activity>>>,
}

impl Control {
    /// Whether Yamux has something to write before it reads on, and cannot.
    pub(super) fn is_stuck(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) && !self.read.load(Ordering::Relaxed)
    }
}

/// A connection under a muxer.
#[derive(Debug)]
pub(super) struct Socket<C> {
    io: C,
    control: Arc<Control>,
    ends: Arc<Ends>,
    /// Of what is read.
    headers: Headers,
    /// Of what is written.
    outgoing: Headers,
    /// What goes out in place of the header that is being written, and how much of it has.
    replaced: Option<([u8; HEADER], usize)>,
    /// What was written and the connection has not taken.
    overflow: VecDeque<u8>,
    /// The last write had to wait.
    waited: bool,
    /// Why nothing can be written any more.
    broken: Option<io::Error>,
    activity: Option<Arc<Activity>>,
    /// Set when our end was closed.
    linger: Option<Sleep>,
    clock: Clock,
}

impl<C> Socket<C> {
    pub(super) fn new(io: C, control: Arc<Control>, ends: Arc<Ends>, clock: Clock) -> Self {
        Self {
            io,
            control,
            ends,
            headers: Headers::default(),
            outgoing: Headers::default(),
            replaced: None,
            overflow: VecDeque::new(),
            waited: false,
            broken: None,
            activity: None,
            linger: None,
            clock,
        }
    }

    fn activity(&mut self) -> Option<&Activity> {
        if self.activity.is_none() {
            self.activity.clone_from(&self.control.activity.lock());
        }
        self.activity.as_deref()
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Socket<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.control.read.store(true, Ordering::Relaxed);
        if this.ends.holds_too_much(cx.waker()) {
            return Poll::Ready(Err(io::Error::other("too much lies unread on the connection")));
        }
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        let over = matches!(read, Poll::Pending | Poll::Ready(Ok(0)));
        if let Some(error) = this.broken.take_if(|_| over) {
            return Poll::Ready(Err(error));
        }
        let n = ready!(read)?;
        if let Some(activity) = this.activity() {
            activity.note_heard();
        }
        let Self { headers, ends, activity, .. } = this;
        headers.read(&buf[..n], |said| match (said, &*activity) {
            (Said::Credited(stream, bytes), Some(activity)) => activity.note_credit(stream, bytes),
            _ => ends.note(said),
        });
        Poll::Ready(Ok(n))
    }
}

impl<C: AsyncWrite + Unpin> Socket<C> {
    /// A connection that takes nothing more may still have brought something: answers, or why the peer has
    /// ended it. That is read before the connection counts as broken, and until then writing seems to go on.
    fn keep_error<T>(&mut self, done: Poll<io::Result<T>>, seemingly: T) -> Poll<io::Result<T>> {
        match done {
            Poll::Ready(Err(error)) => {
                self.broken = Some(error);
                Poll::Ready(Ok(seemingly))
            }
            done => done,
        }
    }

    /// Writes what was put aside.
    fn poll_overflow(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.overflow.is_empty() {
            let (next, _) = self.overflow.as_slices();
            match ready!(Pin::new(&mut self.io).poll_write(cx, next))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => drop(self.overflow.drain(..n)),
            }
        }
        self.overflow = VecDeque::new();
        Poll::Ready(Ok(()))
    }

    fn poll_write_through(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_overflow(cx))?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    /// Writes, or puts aside what the connection does not take, if that is to be done.
    fn poll_write_or_keep(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.poll_write_through(cx, buf);
        let waited = std::mem::replace(&mut self.waited, written.is_pending());
        match &written {
            Poll::Ready(Ok(n)) => {
                let n = *n;
                if let Some(activity) = self.activity() {
                    if waited {
                        // Room that was made: the peer's machine takes what we send.
                        activity.note_heard();
                    }
                    activity.note_written(n);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                self.control.blocked.store(true, Ordering::Relaxed);
                let room = OVERFLOW.saturating_sub(self.overflow.len());
                if room > 0 && self.control.overflow.load(Ordering::Relaxed) {
                    let n = room.min(buf.len());
                    self.overflow.extend(&buf[..n]);
                    return Poll::Ready(Ok(n));
                }
            }
        }
        written
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.broken.is_some() {
            return Poll::Ready(Ok(buf.len()));
        }
        this.control.written.store(true, Ordering::Relaxed);
        let len = buf.len();
        if this.outgoing.is_between_frames() && this.replaced.is_none() {
            let header = reset_instead(buf, |stream| this.ends.take_broken(stream));
            this.replaced = header.map(|header| (header, 0));
        }
        let replaced = this.replaced;
        let buf = replaced.as_ref().map_or(buf, |(header, gone)| &header[*gone..]);
        let written = this.poll_write_or_keep(cx, buf);
        if let Poll::Ready(Ok(n)) = written {
            let Self { outgoing, activity, .. } = this;
            outgoing.read(&buf[..n], |said| {
                if let (Said::Begins { stream, first, bytes }, Some(activity)) = (said, &*activity)
                {
                    activity.note_frame(stream, first, bytes);
                }
            });
            this.replaced = replaced.map(|(header, gone)| (header, gone + n));
            this.replaced.take_if(|(_, gone)| *gone == HEADER);
        }
        this.keep_error(written, len)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.control.flush.load(Ordering::Relaxed) || this.broken.is_some() {
            return Poll::Ready(Ok(()));
        }
        let mut flushed = this.poll_overflow(cx);
        if let Poll::Ready(Ok(())) = flushed {
            flushed = Pin::new(&mut this.io).poll_flush(cx);
        }
        if flushed.is_ready() {
            this.control.written.store(false, Ordering::Relaxed);
        }
        this.keep_error(flushed, ())
    }

    /// Ends what we send, then reads on until the peer has ended too. A socket that is closed with
    /// something unread breaks the connection, and what the peer has not got by then is lost.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(error) = this.broken.take() {
            return Poll::Ready(Err(error));
        }
        if this.linger.is_none() {
            ready!(this.poll_overflow(cx))?;
            ready!(Pin::new(&mut this.io).poll_close(cx))?;
        }
        let Self { linger, clock, io, .. } = this;
        let linger = linger.get_or_insert_with(|| clock.sleep(LINGER));
        let mut nowhere = [0; 4096];
        for _ in 0..READS {
            if linger.poll_unpin(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut *io).poll_read(cx, &mut nowhere)) {
                Ok(0) | Err(_) => return Poll::Ready(Ok(())),
                Ok(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
