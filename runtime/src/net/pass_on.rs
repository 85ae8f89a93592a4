//! What every kind of socket has, written once.

/// Methods that are std's, called on the socket inside.
macro_rules! pass_on {
    ($std:path: $($name:ident($($arg:ident: $t:ty),*) -> $r:ty;)*) => {$(
        #[doc = concat!("As std's [`", stringify!($name), "`](", stringify!($std), "::", stringify!($name), "). Needs no P.")]
        ///
        /// # Errors
        /// As std's.
        pub fn $name(&self, $($arg: $t),*) -> std::io::Result<$r> {
            self.0.io().$name($($arg),*)
        }
    )*};
}

/// Handles: making one of std's socket, and back; closing; settings that std has for all sockets.
macro_rules! handle {
    ($name:ident, $std:path) => {
        impl $name {
            /// Takes a socket of std's over. On a thread of the runtime; needs no P.
            ///
            /// # Errors
            /// If it cannot be put into the poller.
            ///
            /// # Panics
            /// On other threads.
            pub fn from_std(socket: $std) -> std::io::Result<$name> {
                $crate::net::socket::Socket::new(socket).map($name)
            }

            /// Makes a socket of std's of it, which blocks unless [`set_nonblocking`](Self::set_nonblocking) says otherwise.
            /// Needs no P.
            ///
            /// # Errors
            /// As std's `set_nonblocking`.
            pub fn into_std(self) -> std::io::Result<$std> {
                self.0.into_std()
            }

            /// Another handle to the same socket. Needs no P.
            ///
            /// # Errors
            /// As std's, and if it cannot be put into the poller.
            pub fn try_clone(&self) -> std::io::Result<$name> {
                self.0.again(self.0.io().try_clone()?).map($name)
            }

            /// Whether operations return an error ([`WouldBlock`](std::io::ErrorKind::WouldBlock)) in the place of waiting.
            /// Needs no P.
            ///
            /// # Errors
            /// None; the signature is std's.
            pub fn set_nonblocking(&self, nonblocking: bool) -> std::io::Result<()> {
                self.0.set_nonblocking(nonblocking);
                Ok(())
            }

            pass_on! { $std:
                take_error() -> Option<std::io::Error>;
            }
        }

        impl std::os::fd::AsFd for $name {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.io().as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $name {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.0.io().as_raw_fd()
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.io().fmt(f)
            }
        }
    };
}

/// Time limits of reading and writing.
macro_rules! limits {
    ($name:ident) => {
        impl $name {
            /// How long reading may wait; `None`: as long as it takes. Needs no P.
            ///
            /// # Errors
            /// If it is zero.
            pub fn set_read_timeout(&self, limit: Option<core::time::Duration>) -> std::io::Result<()> {
                self.0.set_limit($crate::netpoll::desc::Mode::Read, limit)
            }

            /// How long writing may wait; `None`: as long as it takes. Needs no P.
            ///
            /// # Errors
            /// If it is zero.
            pub fn set_write_timeout(&self, limit: Option<core::time::Duration>) -> std::io::Result<()> {
                self.0.set_limit($crate::netpoll::desc::Mode::Write, limit)
            }

            /// How long reading may wait. Needs no P.
            ///
            /// # Errors
            /// None; the signature is std's.
            pub fn read_timeout(&self) -> std::io::Result<Option<core::time::Duration>> {
                Ok(self.0.limit($crate::netpoll::desc::Mode::Read))
            }

            /// How long writing may wait. Needs no P.
            ///
            /// # Errors
            /// None; the signature is std's.
            pub fn write_timeout(&self) -> std::io::Result<Option<core::time::Duration>> {
                Ok(self.0.limit($crate::netpoll::desc::Mode::Write))
            }
        }
    };
}

/// `Read` and `Write`, for the stream and for references to it.
macro_rules! stream {
    ($name:ident) => {
        impl std::io::Read for &$name {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.0.run($crate::netpoll::desc::Mode::Read, |mut io| io.read(buf))
            }

            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                self.0.run($crate::netpoll::desc::Mode::Read, |mut io| io.read_vectored(bufs))
            }
        }

        impl std::io::Write for &$name {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.0.run($crate::netpoll::desc::Mode::Write, |mut io| io.write(buf))
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.0.run($crate::netpoll::desc::Mode::Write, |mut io| io.write_vectored(bufs))
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        impl std::io::Read for $name {
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                (&*self).read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                (&*self).read_vectored(bufs)
            }
        }

        impl std::io::Write for $name {
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                (&*self).write(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                (&*self).write_vectored(bufs)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}

pub(super) use {handle, limits, pass_on, stream};
