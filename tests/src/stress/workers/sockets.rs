//! Who waits for sockets.

use super::Worker;
use crate::stress::page::Count;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};
use tricolor::net::{TcpListener, TcpStream, UnixStream};
use tricolor::spawn;

/// Both kinds of stream.
trait Stream: Read + Write + Send + 'static {
    fn limit(&self, limit: Option<Duration>) -> std::io::Result<()>;
    fn end(&self) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn limit(&self, limit: Option<Duration>) -> std::io::Result<()> {
        self.set_read_timeout(limit)
    }

    fn end(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Stream for UnixStream {
    fn limit(&self, limit: Option<Duration>) -> std::io::Result<()> {
        self.set_read_timeout(limit)
    }

    fn end(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// Bytes there and back.
pub fn echo(w: Worker) {
    let opened = if w.number.is_multiple_of(2) {
        UnixStream::pair().map(|(near, far)| run(w, near, far))
    } else {
        tcp().map(|(near, far)| run(w, near, far))
    };
    match opened {
        Ok(Ok(())) => {}
        Ok(Err(why)) | Err(why) => w.broke(format_args!("a socket: {why}")),
    }
}

fn tcp() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let near = spawn(move || TcpStream::connect(addr));
    let (far, _) = listener.accept()?;
    let near = near.join().unwrap_or_else(|_| Err(std::io::Error::other("connect panicked")))?;
    near.set_nodelay(true)?;
    Ok((near, far))
}

fn run<S: Stream>(w: Worker, mut near: S, mut far: S) -> std::io::Result<()> {
    let server = spawn(move || -> std::io::Result<()> {
        let mut buf = vec![0; 4096];
        loop {
            match far.read(&mut buf)? {
                0 => return Ok(()),
                n => far.write_all(&buf[..n])?,
            }
        }
    });
    let mut rng = w.rng();
    let (mut sent, mut got) = (vec![0_u8; 4096], vec![0_u8; 4096]);
    while w.go() {
        if rng.one_in(50) {
            let limit = Duration::from_micros(100 + rng.below(2000) as u64);
            near.limit(Some(limit))?;
            let begin = Instant::now();
            match near.read(&mut got[..1]) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => return Err(e),
                Ok(n) => w.broke(format_args!("a read of nothing gave {n} bytes")),
            }
            if begin.elapsed() < limit {
                w.broke(format_args!("a read with a limit of {limit:?} took {:?}", begin.elapsed()));
            }
            near.limit(None)?;
        }
        let n = rng.length(sent.len());
        sent[..n].iter_mut().for_each(|byte| *byte = rng.draw() as u8);
        near.write_all(&sent[..n])?;
        near.read_exact(&mut got[..n])?;
        if let Some(i) = (0..n).find(|i| sent[*i] != got[*i]) {
            w.broke(format_args!("byte {i} of {n} came back as {:#04x}, not {:#04x}", got[i], sent[i]));
        }
        w.count(Count::Echoed, n as u64);
    }
    near.end()?;
    server.join().unwrap_or_else(|_| w.broke(format_args!("the echoing goroutine panicked")))
}
