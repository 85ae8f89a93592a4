//! UDP.

use super::pass_on::{handle, limits, pass_on};
use super::socket::Socket;
use crate::netpoll::desc::Mode;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

/// A socket for datagrams, as [`std::net::UdpSocket`]: see [the module](super).
pub struct UdpSocket(Socket<std::net::UdpSocket>);

handle!(UdpSocket, std::net::UdpSocket);
limits!(UdpSocket);

impl UdpSocket {
    /// A socket at the first of the addresses that works. On a thread of the runtime.
    ///
    /// # Errors
    /// As std's.
    ///
    /// # Panics
    /// On other threads.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        UdpSocket::from_std(std::net::UdpSocket::bind(addr)?)
    }

    /// Waits for a datagram; its length, and who has sent it. A safepoint.
    ///
    /// # Errors
    /// As std's.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.run(Mode::Read, |io| io.recv_from(buf))
    }

    /// As [`recv_from`](UdpSocket::recv_from), without taking it away. A safepoint.
    ///
    /// # Errors
    /// As std's.
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.run(Mode::Read, |io| io.peek_from(buf))
    }

    /// Sends a datagram to the first of the addresses. A safepoint.
    ///
    /// # Errors
    /// As std's.
    #[expect(clippy::disallowed_methods, reason = "on the goroutine, as if it had called it: outside the runtime")]
    pub fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> io::Result<usize> {
        match addr.to_socket_addrs()?.next() {
            Some(addr) => self.0.run(Mode::Write, |io| io.send_to(buf, addr)),
            None => Err(io::Error::new(ErrorKind::InvalidInput, "no addresses to send data to")),
        }
    }

    /// Waits for a datagram of whom it is connected to. A safepoint.
    ///
    /// # Errors
    /// As std's.
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.run(Mode::Read, |io| io.recv(buf))
    }

    /// As [`recv`](UdpSocket::recv), without taking it away. A safepoint.
    ///
    /// # Errors
    /// As std's.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.run(Mode::Read, |io| io.peek(buf))
    }

    /// Sends a datagram to whom it is connected to. A safepoint.
    ///
    /// # Errors
    /// As std's.
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.0.run(Mode::Write, |io| io.send(buf))
    }

    /// Sets whom [`send`](UdpSocket::send) sends to and [`recv`](UdpSocket::recv) hears. Needs no P.
    ///
    /// # Errors
    /// As std's.
    pub fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        self.0.io().connect(addr)
    }

    /// Who waits gets an error, now and later. Needs no P.
    pub fn close(&self) {
        self.0.close();
    }

    pass_on! { std::net::UdpSocket:
        peer_addr() -> SocketAddr;
        local_addr() -> SocketAddr;
        set_broadcast(broadcast: bool) -> ();
        broadcast() -> bool;
        set_ttl(ttl: u32) -> ();
        ttl() -> u32;
        set_multicast_loop_v4(on: bool) -> ();
        multicast_loop_v4() -> bool;
        set_multicast_ttl_v4(ttl: u32) -> ();
        multicast_ttl_v4() -> u32;
        set_multicast_loop_v6(on: bool) -> ();
        multicast_loop_v6() -> bool;
        join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
        join_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
        leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> ();
        leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> ();
    }
}
