//! Sockets of the file system.

use super::pass_on::{handle, limits, pass_on, stream};
use super::socket::Socket;
use crate::netpoll::desc::Mode;
use socket2::{Domain, SockAddr, SockRef, Type};
use std::io;
use std::net::Shutdown;
use std::os::unix::net::{self as std_unix, SocketAddr};
use std::path::{Path, PathBuf};

/// A socket that listens, as [`std::os::unix::net::UnixListener`]: see [the module](super).
pub struct UnixListener(Socket<std_unix::UnixListener>);

/// A connection, as [`std::os::unix::net::UnixStream`]: see [the module](super).
pub struct UnixStream(Socket<std_unix::UnixStream>);

handle!(UnixListener, std::os::unix::net::UnixListener);
handle!(UnixStream, std::os::unix::net::UnixStream);
limits!(UnixStream);
stream!(UnixStream);

impl UnixListener {
    /// Listens at `path`, which must not exist. On a thread of the runtime.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Panics
    /// On other threads.
    pub fn bind<P: AsRef<Path>>(path: P) -> io::Result<UnixListener> {
        UnixListener::from_std(std_unix::UnixListener::bind(path)?)
    }

    /// Waits for a connection. A safepoint.
    ///
    /// # Errors
    /// As std's, and if the listener was [closed](UnixListener::close).
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, addr) = self.0.run(Mode::Read, std_unix::UnixListener::accept)?;
        Ok((UnixStream::from_std(stream)?, addr))
    }

    /// Connections as they come.
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming(self)
    }

    /// Stops listening: who connects is refused, who waits in [`accept`](UnixListener::accept) gets an error. Needs no P.
    pub fn close(&self) {
        // An error means that it does not listen.
        let _ = SockRef::from(self.0.io()).shutdown(Shutdown::Both);
        self.0.close();
    }

    pass_on! { std::os::unix::net::UnixListener:
        local_addr() -> SocketAddr;
    }
}

/// See [`UnixListener::incoming`].
#[derive(Debug)]
pub struct UnixIncoming<'a>(&'a UnixListener);

impl Iterator for UnixIncoming<'_> {
    type Item = io::Result<UnixStream>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.accept().map(|(stream, _)| stream))
    }
}

impl core::iter::FusedIterator for UnixIncoming<'_> {}

impl UnixStream {
    /// Connects to who listens at `path`. A safepoint; on a thread of the runtime. If that one's queue is full it waits in a
    /// [blocking call](crate::blocking), since the kernel does not report when there is room.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Panics
    /// On other threads.
    pub fn connect<P: AsRef<Path>>(path: P) -> io::Result<UnixStream> {
        let path = path.as_ref();
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::unix(path)?) {
            Ok(()) => UnixStream::from_std(socket.into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                drop(socket);
                let path = PathBuf::from(path);
                // SAFETY: a path of its own, and std: nothing of the collected heap.
                UnixStream::from_std(unsafe { crate::blocking_with(move || std_unix::UnixStream::connect(path)) }?)
            }
            Err(e) => Err(e),
        }
    }

    /// Two that are connected to each other. On a thread of the runtime.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Panics
    /// On other threads.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = std_unix::UnixStream::pair()?;
        Ok((UnixStream::from_std(a)?, UnixStream::from_std(b)?))
    }

    pass_on! { std::os::unix::net::UnixStream:
        peer_addr() -> SocketAddr;
        local_addr() -> SocketAddr;
        shutdown(how: Shutdown) -> ();
    }
}
