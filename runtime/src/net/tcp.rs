//! TCP.

use super::pass_on::{handle, limits, pass_on, stream};
use super::socket::Socket;
use crate::netpoll::desc::Mode;
use core::time::Duration;
use socket2::{Domain, Protocol, SockRef, Type};
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};

/// Most connections that wait to be accepted, if the kernel allows as many.
const BACKLOG: libc::c_int = 4096;

/// A socket that listens, as [`std::net::TcpListener`]: see [the module](super).
pub struct TcpListener(Socket<std::net::TcpListener>);

/// A connection, as [`std::net::TcpStream`]: see [the module](super).
pub struct TcpStream(Socket<std::net::TcpStream>);

handle!(TcpListener, std::net::TcpListener);
handle!(TcpStream, std::net::TcpStream);
limits!(TcpStream);
stream!(TcpStream);

impl TcpListener {
    /// Listens at the first of the addresses that works. On a thread of the runtime.
    ///
    /// The queue of connections that nobody has accepted yet is as long as the kernel allows, up to 4096, as Go's (std: 128):
    /// beyond that the kernel may reset connections that their clients believe in.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Panics
    /// On other threads.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        let listener = std::net::TcpListener::bind(addr)?;
        // Only changes the length.
        SockRef::from(&listener).listen(BACKLOG)?;
        TcpListener::from_std(listener)
    }

    /// Waits for a connection. A safepoint.
    ///
    /// # Errors
    /// As std's; one that there was no file descriptor for can be accepted later. And if the listener was
    /// [closed](TcpListener::close).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, addr) = self.0.run(Mode::Read, std::net::TcpListener::accept)?;
        Ok((TcpStream::from_std(stream)?, addr))
    }

    /// Connections as they come.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming(self)
    }

    /// Stops listening: who connects is refused, who waits in [`accept`](TcpListener::accept) gets an error. Needs no P.
    pub fn close(&self) {
        // An error means that it does not listen.
        let _ = SockRef::from(self.0.io()).shutdown(Shutdown::Both);
        self.0.close();
    }

    pass_on! { std::net::TcpListener:
        local_addr() -> SocketAddr;
        set_ttl(ttl: u32) -> ();
        ttl() -> u32;
    }
}

/// See [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a>(&'a TcpListener);

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.accept().map(|(stream, _)| stream))
    }
}

impl core::iter::FusedIterator for Incoming<'_> {}

impl TcpStream {
    /// Connects to the first of the addresses that answers. A safepoint; on a thread of the runtime.
    ///
    /// # Errors
    /// As std's: of the last address.
    ///
    /// # Panics
    /// On other threads.
    #[expect(clippy::disallowed_methods, reason = "on the goroutine, as if it had called it: outside the runtime")]
    pub fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        let mut last = io::Error::new(ErrorKind::InvalidInput, "could not resolve to any addresses");
        for addr in addr.to_socket_addrs()? {
            match connect(&addr, None) {
                Ok(stream) => return Ok(stream),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// Connects, waiting no longer than `limit`. A safepoint; on a thread of the runtime.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Panics
    /// On other threads.
    pub fn connect_timeout(addr: &SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        if limit.is_zero() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "cannot set a 0 duration timeout"));
        }
        connect(addr, Some(limit)).map_err(|e| match e.kind() {
            ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "connection timed out"),
            _ => e,
        })
    }

    /// Receives without taking it away. A safepoint.
    ///
    /// # Errors
    /// As std's.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.run(Mode::Read, |io| io.peek(buf))
    }

    pass_on! { std::net::TcpStream:
        peer_addr() -> SocketAddr;
        local_addr() -> SocketAddr;
        shutdown(how: Shutdown) -> ();
        set_nodelay(nodelay: bool) -> ();
        nodelay() -> bool;
        set_ttl(ttl: u32) -> ();
        ttl() -> u32;
    }
}

fn connect(addr: &SocketAddr, limit: Option<Duration>) -> io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(*addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Interrupted, it goes on by itself.
    let under_way = match socket.connect(&(*addr).into()) {
        Ok(()) => false,
        Err(e) => match e.raw_os_error() {
            Some(libc::EINPROGRESS | libc::EINTR) => true,
            _ => return Err(e),
        },
    };
    // Only now: before, the kernel would report it as broken.
    let stream = TcpStream::from_std(socket.into())?;
    if under_way {
        stream.0.run_within(Mode::Write, limit, |io| {
            if let Some(e) = io.take_error()? {
                return Err(e);
            }
            match io.peer_addr() {
                Err(e) if e.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
                other => other,
            }
        })?;
    }
    Ok(stream)
}
