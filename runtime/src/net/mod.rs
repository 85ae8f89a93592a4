//! Sockets for goroutines, with std's names and signatures: who waits for one parks, and costs no thread.
//!
//! A server that sends back what it gets:
//!
//! ```
//! use std::io::{Read, Write};
//! use tricolor::net::{Shutdown, TcpListener, TcpStream};
//!
//! # unsafe { tricolor::Runtime::builder().run(|| {
//! let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//! let address = listener.local_addr().unwrap();
//! tricolor::spawn(move || {
//!     for stream in listener.incoming() {
//!         let stream = stream.unwrap();
//!         tricolor::spawn(move || std::io::copy(&mut &stream, &mut &stream));
//!     }
//! });
//!
//! let mut stream = TcpStream::connect(address).unwrap();
//! stream.write_all(b"hello").unwrap();
//! stream.shutdown(Shutdown::Write).unwrap();
//! let mut text = String::new();
//! stream.read_to_string(&mut text).unwrap();
//! assert_eq!(text, "hello");
//! # }) }
//! ```
//!
//! What is different from std:
//!
//! - Each operation is a safepoint, and one that has to wait needs a P. Without one (in a blocking call, on another thread) it
//!   works as well, but the thread waits.
//! - `close` ends what other goroutines wait for, as Go's does: an accept loop has no other way out.
//! - Time limits (`set_read_timeout`) belong to the handle, not to the socket: a clone starts with those of its original.
//! - A name that is not a number is looked up by the C library, which may take long and holds a P meanwhile. Look it up in
//!   [`blocking`](crate::blocking) first where that matters.
//!
//! Errors are std's, those of passed time limits ([`WouldBlock`](std::io::ErrorKind::WouldBlock)) as well. After "too many open
//! files" from `accept` the connection is still there.
//!
//! The protocol is in the heads of `runtime/src/netpoll/`. Source: Go's package `net`.

mod pass_on;
mod socket;
mod tcp;
mod udp;
mod unix;

pub use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
pub use std::os::unix::net::SocketAddr as UnixSocketAddr;
pub use tcp::{Incoming, TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixIncoming, UnixListener, UnixStream};
