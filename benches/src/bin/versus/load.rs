//! The load on a server that sends back what it gets: many connections, each with one message under way.
//!
//! One thread with epoll sends the next message on a connection as soon as the last one has come back, and compares
//! every byte. So the rate is what server and load together reach on this machine, and latency is mostly the wait for
//! one's turn among all connections.

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Connections that rows are measured with.
pub const CONNECTIONS: usize = 1000;
const MESSAGE: usize = 64;
/// Seconds before counting begins, and of counting.
const WARM_UP: f64 = 0.5;
const COUNTED: f64 = 3.0;

/// What came of it.
pub struct Load {
    /// Requests counted, per second.
    pub per_second: f64,
    /// Of all counted requests, sorted; there is at least one.
    pub latencies: Vec<Duration>,
    /// Requests, also those that are not counted.
    pub all: u64,
}

struct Connection {
    stream: TcpStream,
    /// What is under way; begins with the numbers of the connection and of the request.
    message: [u8; MESSAGE],
    number: u64,
    /// How much of it has come back.
    back: usize,
    sent: Instant,
}

impl Connection {
    /// Sends the next message. Never more than one is under way, so the kernel has room for it.
    fn send(&mut self) -> io::Result<()> {
        self.number += 1;
        self.message[8..16].copy_from_slice(&self.number.to_le_bytes());
        self.back = 0;
        self.sent = Instant::now();
        match self.stream.write(&self.message)? {
            MESSAGE => Ok(()),
            n => Err(io::Error::other(format!("only {n} bytes were sent"))),
        }
    }

    /// Whether the whole message is back.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = [0_u8; 2 * MESSAGE];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) if self.message[self.back..].get(..n) == Some(&buffer[..n]) => self.back += n,
                Ok(_) => return Err(io::Error::other("what came back is not what was sent")),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
            if self.back == MESSAGE {
                return Ok(true);
            }
        }
    }
}

fn connect(address: SocketAddr, i: usize) -> io::Result<Connection> {
    let stream = std::net::TcpStream::connect(address)?;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let mut message = [0_u8; MESSAGE];
    for (at, byte) in message.iter_mut().enumerate() {
        *byte = (i + at) as u8;
    }
    message[..8].copy_from_slice(&(i as u64).to_le_bytes());
    Ok(Connection { stream: TcpStream::from_std(stream), message, number: 0, back: 0, sent: Instant::now() })
}

/// Loads the server at `address` through so many `connections`, for `1 / scale` of the full time.
///
/// # Errors
/// What the connections came to; and if something else comes back than was sent, or nothing for 10 seconds.
pub fn run(address: SocketAddr, connections: usize, scale: u32) -> io::Result<Load> {
    let mut poll = Poll::new()?;
    let mut all = Vec::with_capacity(connections);
    for i in 0..connections {
        let mut connection = connect(address, i)?;
        poll.registry().register(&mut connection.stream, Token(i), Interest::READABLE)?;
        all.push(connection);
    }
    for connection in &mut all {
        connection.send()?;
    }
    let mut events = Events::with_capacity(connections);
    let begin = Instant::now();
    let counted_from = begin + Duration::from_secs_f64(WARM_UP / f64::from(scale));
    let until = counted_from + Duration::from_secs_f64(COUNTED / f64::from(scale));
    let (mut latencies, mut requests) = (Vec::with_capacity(1 << 20), 0);
    let mut now = begin;
    while now < until {
        poll.poll(&mut events, Some(Duration::from_secs(10)))?;
        if events.is_empty() {
            return Err(ErrorKind::TimedOut.into());
        }
        for event in &events {
            let connection = &mut all[event.token().0];
            if connection.receive()? {
                now = Instant::now();
                requests += 1;
                if now >= counted_from {
                    latencies.push(now - connection.sent);
                }
                connection.send()?;
            }
        }
    }
    latencies.sort_unstable();
    let seconds = (now - counted_from).as_secs_f64();
    match latencies.len() {
        0 => Err(io::Error::other("no request was answered")),
        n => Ok(Load { per_second: n as f64 / seconds, latencies, all: requests }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    const SOME: usize = 100;

    /// A server with two threads, each of which has half of the connections; `spoil` may change what goes back.
    fn server(spoil: fn(&mut [u8])) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let all = || (0..SOME / 2).map(|_| listener.accept().unwrap().0).collect::<Vec<_>>();
            for mut half in [all(), all()] {
                thread::spawn(move || {
                    let mut buffer = [0; MESSAGE];
                    while half.iter_mut().all(|stream| {
                        let read = stream.read_exact(&mut buffer).is_ok();
                        spoil(&mut buffer);
                        read && stream.write_all(&buffer).is_ok()
                    }) {}
                });
            }
        });
        address
    }

    #[test]
    fn a_server_is_loaded_and_what_it_sends_is_compared() {
        let load = run(server(|_| ()), SOME, 10).unwrap();
        assert!(load.all >= SOME as u64 && load.per_second > 0.0 && load.latencies[0] > Duration::ZERO);
        let spoilt = run(server(|message| message[MESSAGE - 1] ^= u8::from(message[8] == 2)), SOME, 10);
        assert!(spoilt.is_err_and(|e| e.to_string().contains("not what was sent")));
    }
}
