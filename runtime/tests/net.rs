//! Sockets: nothing lost, no thread for who waits, and std's errors.

#[path = "common/checked.rs"]
mod checked;
mod common;

use common::{HOUR, LIFE, child, is_child, long_tier, ms, needs, run, threads, with_procs};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tricolor::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use tricolor::{Gc, GcCell, Trace, chan, gc, spawn, sync, time, yield_now};

/// Raises the limit of open files, as far as it goes; the new one.
fn more_files(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a live structure; the limit is only raised.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_cur.max(wanted.min(limit.rlim_max));
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur
}

/// Two ends of a TCP connection over loopback.
fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (far, from) = listener.accept().expect("one has connected");
    assert_eq!(from, near.local_addr().expect("connected"));
    assert_eq!(far.local_addr().expect("connected"), near.peer_addr().expect("connected"));
    (near, far)
}

#[derive(Trace)]
struct Node {
    byte: u64,
    next: GcCell<Option<Gc<Node>>>,
}

/// What the `at`th byte of connection `id` is.
fn byte(id: usize, at: usize) -> u8 {
    (id * 31 + at * 7 + at / 251) as u8
}

/// Sends back what comes, through objects of the collected heap.
fn echo(mut stream: TcpStream) -> io::Result<usize> {
    let (mut buf, mut total) = ([0_u8; 1500], 0);
    loop {
        let n = stream.read(&mut buf)?;
        if n == 0 {
            stream.shutdown(Shutdown::Write)?;
            return Ok(total);
        }
        let mut list: Option<Gc<Node>> = None;
        for chunk in buf[..n].chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let node = Gc::new(Node { byte: u64::from_le_bytes(word), next: GcCell::new(None) });
            node.next.set(list);
            list = Some(node);
        }
        let mut out = Vec::new();
        while let Some(node) = list {
            out.push(node.byte.to_le_bytes());
            list = node.next.get();
        }
        out.reverse();
        stream.write_all(&out.concat()[..n])?;
        total += n;
    }
}

#[test]
fn every_byte_comes_back_while_the_collector_runs() {
    let (connections, bytes) = if long_tier() { (1_000, 100_000) } else { (200, 20_000) };
    more_files(4_096);
    let sum = run(with_procs(4).verify(true).min_heap(1 << 20), || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let addr = listener.local_addr().expect("bound");
        let served = Arc::new(AtomicUsize::new(0));
        let server = spawn({
            let served = served.clone();
            move || {
                let all: Vec<_> = (0..connections)
                    .map(|_| {
                        let (stream, _) = listener.accept().expect("they connect");
                        spawn(move || echo(stream).expect("a good connection"))
                    })
                    .collect();
                for one in all {
                    served.fetch_add(one.join().expect("no panic"), Ordering::SeqCst);
                }
            }
        });
        let stop = Arc::new(AtomicBool::new(false));
        let collector = spawn({
            let stop = stop.clone();
            move || {
                let mut cycles = 0;
                while !stop.load(Ordering::SeqCst) {
                    gc::collect();
                    cycles += 1;
                }
                cycles
            }
        });
        let clients: Vec<_> = (0..connections)
            .map(|id| {
                spawn(move || {
                    let stream = Arc::new(TcpStream::connect(addr).expect("it listens"));
                    let writer = spawn({
                        let stream = stream.clone();
                        move || {
                            let (mut at, mut size) = (0, 1 + id % 97);
                            while at < bytes {
                                let end = (at + size).min(bytes);
                                let piece: Vec<u8> = (at..end).map(|at| byte(id, at)).collect();
                                (&*stream).write_all(&piece).expect("a good connection");
                                (at, size) = (end, size * 5 % 4_001 + 1);
                            }
                            stream.shutdown(Shutdown::Write).expect("a good connection");
                        }
                    });
                    let (mut buf, mut at) = ([0_u8; 777], 0);
                    loop {
                        let n = (&*stream).read(&mut buf).expect("a good connection");
                        if n == 0 {
                            break;
                        }
                        for (i, got) in buf[..n].iter().enumerate() {
                            assert_eq!(*got, byte(id, at + i), "byte {} of connection {id}", at + i);
                        }
                        at += n;
                    }
                    writer.join().expect("no panic");
                    at
                })
            })
            .collect();
        let sum: usize = clients.into_iter().map(|c| c.join().expect("no panic")).sum();
        server.join().expect("no panic");
        assert_eq!(served.load(Ordering::SeqCst), sum);
        stop.store(true, Ordering::SeqCst);
        println!("{connections} connections, {sum} bytes, {} cycles", collector.join().expect("no panic"));
        println!("{:?}", gc::suspensions());
        sum
    });
    assert_eq!(sum, connections * bytes);
}

#[test]
fn idle_connections_cost_no_thread() {
    let files = more_files(21_000);
    let pairs = ((files - 100) / 2).min(10_000) as usize;
    run(with_procs(2), || {
        let all = sync::WaitGroup::new();
        let mut far_ends = Vec::new();
        for _ in 0..pairs {
            let (near, far) = UnixStream::pair().expect("files enough");
            far_ends.push(far);
            let all = all.clone();
            all.add(1);
            spawn(move || {
                near.set_read_timeout(Some(HOUR)).expect("not zero");
                let mut buf = [0; 8];
                assert_eq!((&near).read(&mut buf).expect("a good connection"), 1);
                assert_eq!((&near).read(&mut buf).expect("a good connection"), 0);
                all.done();
            });
        }
        while time::pending() < pairs {
            yield_now();
        }
        let n = threads();
        println!("{pairs} connections wait, each with a timer: {n} threads");
        assert!(n < 64, "{n} threads for {pairs} connections");
        far_ends.iter().for_each(|mut far| far.write_all(b"x").expect("a good connection"));
        drop(far_ends);
        all.wait();
        assert_eq!(time::pending(), 0);
    });
}

#[test]
fn ends_of_a_connection() {
    run(with_procs(2), || {
        // Half closed: the other direction goes on.
        let (mut near, mut far) = connected();
        near.shutdown(Shutdown::Write).expect("connected");
        let mut buf = [0; 8];
        assert_eq!(far.read(&mut buf).expect("the end"), 0);
        far.write_all(b"still").expect("that way it is open");
        assert_eq!(near.read(&mut buf).expect("five bytes"), 5);

        // The peer goes while somebody waits.
        let waits = spawn(move || near.read(&mut [0; 8]));
        time::sleep(ms(5));
        drop(far);
        assert_eq!(waits.join().expect("no panic").expect("the end"), 0);

        // Reset while somebody waits.
        let (mut near, far) = connected();
        let waits = spawn(move || near.read(&mut [0; 8]).map_err(|e| e.kind()));
        time::sleep(ms(5));
        socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).expect("a socket");
        drop(far);
        assert_eq!(waits.join().expect("no panic"), Err(ErrorKind::ConnectionReset));

        // Writing to who is gone.
        let (mut near, far) = connected();
        drop(far);
        let mut last = Ok(());
        for _ in 0..100 {
            last = near.write_all(&[0; 1 << 16]).map_err(|e| e.kind());
            if last.is_err() {
                break;
            }
        }
        assert!(matches!(last, Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)), "{last:?}");

        // Nobody listens.
        let addr = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound");
        assert_eq!(TcpStream::connect(addr).expect_err("closed").kind(), ErrorKind::ConnectionRefused);
        assert_eq!(TcpStream::connect_timeout(&addr, HOUR).expect_err("closed").kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn time_limits() {
    run(with_procs(2), || {
        let (mut near, mut far) = connected();
        assert_eq!(
            near.set_read_timeout(Some(Duration::ZERO)).expect_err("std says so").kind(),
            ErrorKind::InvalidInput
        );
        near.set_read_timeout(Some(ms(10))).expect("not zero");
        assert_eq!(near.read_timeout().expect("no error"), Some(ms(10)));
        let begin = Instant::now();
        assert_eq!(near.read(&mut [0; 8]).expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
        assert!(begin.elapsed() >= ms(10));
        far.write_all(b"ab").expect("connected");
        assert_eq!(near.read(&mut [0; 8]).expect("two bytes"), 2);

        near.set_write_timeout(Some(ms(10))).expect("not zero");
        let sent = loop {
            if let Err(e) = near.write_all(&[7; 1 << 16]) {
                break e.kind();
            }
        };
        assert_eq!(sent, ErrorKind::WouldBlock);
        // Several wait for the same end; each has its own limit.
        let near = Arc::new(near);
        let waits: Vec<_> = (0..10)
            .map(|_| {
                let near = near.clone();
                spawn(move || (&*near).read(&mut [0; 8]).map_err(|e| e.kind()))
            })
            .collect();
        for one in waits {
            assert_eq!(one.join().expect("no panic"), Err(ErrorKind::WouldBlock));
        }
        near.set_nonblocking(true).expect("no error");
        near.set_read_timeout(None).expect("no limit");
        assert_eq!((&*near).read(&mut [0; 8]).expect_err("nothing is there").kind(), ErrorKind::WouldBlock);
        assert_eq!(time::pending(), 0);
    });
}

#[test]
fn several_read_and_accept_at_one_end() {
    run(with_procs(4), || {
        let (near, far) = connected();
        let (near, got) = (Arc::new(near), Arc::new(AtomicUsize::new(0)));
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let (near, got) = (near.clone(), got.clone());
                spawn(move || {
                    let mut buf = [0; 3];
                    loop {
                        match (&*near).read(&mut buf).expect("a good connection") {
                            0 => break,
                            n => got.fetch_add(n, Ordering::SeqCst),
                        };
                    }
                })
            })
            .collect();
        for i in 0..2_000 {
            (&far).write_all(&[1; 10][..i % 10 + 1]).expect("a good connection");
            if i % 50 == 0 {
                time::sleep(Duration::from_micros(300));
            }
        }
        drop(far);
        readers.into_iter().for_each(|r| r.join().expect("no panic"));
        assert_eq!(got.load(Ordering::SeqCst), 2_000 / 10 * 55);

        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").expect("loopback"));
        let addr = listener.local_addr().expect("bound");
        let accepting: Vec<_> = (0..8)
            .map(|_| {
                let listener = listener.clone();
                spawn(move || listener.incoming().take_while(Result::is_ok).count())
            })
            .collect();
        let clients: Vec<_> = (0..300)
            .map(|_| {
                spawn(move || {
                    let mut stream = TcpStream::connect(addr).expect("it listens");
                    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
                })
            })
            .collect();
        clients.into_iter().for_each(|c| c.join().expect("no panic"));
        // All wait now; all are told.
        listener.close();
        let sum: usize = accepting.into_iter().map(|a| a.join().expect("no panic")).sum();
        assert_eq!(sum, 300);
        assert_eq!(listener.accept().expect_err("closed").kind(), ErrorKind::NotConnected);
        assert_eq!(TcpStream::connect(addr).expect_err("closed").kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn datagrams() {
    run(with_procs(2), || {
        let (a, b) =
            (UdpSocket::bind("127.0.0.1:0").expect("loopback"), UdpSocket::bind("127.0.0.1:0").expect("loopback"));
        let to = b.local_addr().expect("bound");
        let answers = spawn(move || {
            let mut buf = [0; 128];
            for _ in 0..100 {
                let (n, from) = b.recv_from(&mut buf).expect("a datagram");
                assert_eq!(b.send_to(&buf[..n], from).expect("room"), n);
            }
        });
        a.connect(to).expect("an address");
        let mut buf = [0; 128];
        for i in 0..100_u8 {
            a.send(&vec![i; i as usize]).expect("room");
            assert_eq!(a.peek(&mut buf).expect("a datagram"), i as usize);
            assert_eq!(a.recv(&mut buf).expect("a datagram"), i as usize);
            assert!(buf[..i as usize].iter().all(|byte| *byte == i));
        }
        answers.join().expect("no panic");
        a.set_read_timeout(Some(ms(5))).expect("not zero");
        assert_eq!(a.recv(&mut buf).map_err(|e| e.kind()), Err(ErrorKind::WouldBlock));
        let a = Arc::new(a);
        a.set_read_timeout(None).expect("no limit");
        let waits = spawn({
            let a = a.clone();
            move || a.recv(&mut [0; 8]).map_err(|e| e.kind())
        });
        time::sleep(ms(5));
        a.close();
        assert_eq!(waits.join().expect("no panic"), Err(ErrorKind::NotConnected));
    });
}

/// A full queue of a listener: who connects waits, and in the end everyone is served.
#[test]
fn a_full_backlog() {
    let path = std::env::temp_dir().join(format!("tricolor-net-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let at = path.clone();
    run(with_procs(2), move || {
        let listener = UnixListener::bind(&at).expect("a free path");
        // SAFETY: a socket that listens.
        unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&listener), 1) };
        let clients: Vec<_> = (0..20_u8)
            .map(|i| {
                let at = at.clone();
                spawn(move || {
                    let mut stream = UnixStream::connect(&at).expect("sooner or later");
                    stream.write_all(&[i]).expect("a good connection");
                    let mut back = [0];
                    stream.read_exact(&mut back).expect("it comes back");
                    assert_eq!(back, [i]);
                })
            })
            .collect();
        time::sleep(ms(20));
        for _ in 0..20 {
            let (mut stream, _) = listener.accept().expect("one waits");
            let mut one = [0];
            stream.read_exact(&mut one).expect("a byte");
            stream.write_all(&one).expect("a good connection");
        }
        clients.into_iter().for_each(|c| c.join().expect("no panic"));

        // TCP: the kernel drops what comes too early, and tries again.
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        listener.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into()).expect("loopback");
        listener.listen(0).expect("it listens");
        let listener = TcpListener::from_std(listener.into()).expect("in the poller");
        let addr = listener.local_addr().expect("bound");
        let mut queued = Vec::new();
        let refused = loop {
            match TcpStream::connect_timeout(&addr, ms(100)) {
                Ok(stream) => queued.push(stream),
                Err(e) => break e.kind(),
            }
            assert!(queued.len() < 100);
        };
        assert_eq!(refused, ErrorKind::TimedOut);
        let late = spawn(move || TcpStream::connect(addr).map(drop));
        for _ in 0..=queued.len() {
            listener.accept().expect("one waits, or comes");
        }
        late.join().expect("no panic").expect("it was its turn");
    });
    let _ = std::fs::remove_file(path);
}

#[test]
fn too_many_open_files() {
    let name = "too_many_open_files";
    if is_child(name) {
        here(1, || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
            let addr = listener.local_addr().expect("bound");
            let client = TcpStream::connect(addr).expect("it listens");
            let mut all = Vec::new();
            // What the runtime itself had open at the end (sysmon reads what threads do) it has closed a little later, and can
            // open nothing again.
            let mut before = usize::MAX;
            while all.len() != before {
                before = all.len();
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    all.push(file);
                }
                time::sleep(ms(100));
            }
            assert_eq!(TcpStream::connect(addr).expect_err("no file").raw_os_error(), Some(libc::EMFILE));
            for _ in 0..3 {
                assert_eq!(listener.accept().expect_err("no file").raw_os_error(), Some(libc::EMFILE));
            }
            // Nobody spins on what cannot be accepted.
            let cpu = || {
                // SAFETY: all zero is a valid value, which the kernel fills.
                let usage = unsafe {
                    let mut usage: libc::rusage = core::mem::zeroed();
                    libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
                    usage
                };
                let micros = |t: libc::timeval| t.tv_sec * 1_000_000 + t.tv_usec;
                micros(usage.ru_utime) + micros(usage.ru_stime)
            };
            let before = cpu();
            time::sleep(ms(500));
            let used = cpu() - before;
            eprintln!("{used} us of processor time in half a second of sleep");
            assert!(used < 50_000);
            all.pop();
            let (mut stream, from) = listener.accept().expect("it is still there");
            assert_eq!(from, client.local_addr().expect("connected"));
            (&client).write_all(b"x").expect("a good connection");
            assert_eq!(stream.read(&mut [0; 8]).expect("a byte"), 1);
        });
        eprintln!("accepted in the end");
        return;
    }
    let (code, err) = child(name, &[]);
    assert!(code == Some(0) && err.contains("accepted in the end"), "{code:?} {err}");
}

/// All Ps compute, so nobody is idle to look at sockets; and they are looked at nevertheless.
#[test]
fn sockets_of_a_busy_process() {
    needs!(Signals);
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let watchdog = std::thread::spawn({
        let stop = stop.clone();
        move || {
            while !stop.load(Ordering::SeqCst) && begin.elapsed() < LIFE {
                std::thread::sleep(ms(10));
            }
            stop.store(true, Ordering::SeqCst);
        }
    });
    run(with_procs(1), || {
        let (mut near, mut far) = std::os::unix::net::UnixStream::pair().expect("two files");
        let mut inside = UnixStream::from_std(near.try_clone().expect("a file")).expect("in the poller");
        let spinners: Vec<_> = (0..3)
            .map(|_| {
                let stop = stop.clone();
                spawn(move || while !stop.load(Ordering::Relaxed) {})
            })
            .collect();
        let other = std::thread::spawn(move || {
            for i in 0..5 {
                std::thread::sleep(ms(20));
                far.write_all(&[i]).expect("a good connection");
            }
        });
        for i in 0..5 {
            let mut got = [9];
            inside.read_exact(&mut got).expect("a byte");
            assert_eq!(got, [i]);
        }
        assert!(!stop.swap(true, Ordering::SeqCst), "the loops ended before the reader woke");
        spinners.into_iter().for_each(|s| s.join().expect("no panic"));
        other.join().expect("no panic");
        near.flush().expect("nothing to do");
    });
    watchdog.join().expect("no panic");
}

#[test]
fn from_std_and_back_and_without_a_goroutine() {
    run(with_procs(2), || {
        let (near, far) = connected();
        let mut near = TcpStream::from_std(near.into_std().expect("a socket")).expect("in the poller");
        let far = far.into_std().expect("a socket");
        let thread = std::thread::spawn(move || {
            // It blocks again.
            let mut buf = [0; 8];
            let n = (&far).read(&mut buf).expect("a byte");
            (&far).write_all(&buf[..n]).expect("a good connection");
        });
        near.write_all(b"x").expect("a good connection");
        assert_eq!(near.read(&mut [0; 8]).expect("it comes back"), 1);
        // The thread has no std lock of anybody's; it ends by itself.
        thread.join().expect("no panic");
        assert_eq!(near.read(&mut [0; 8]).expect("the end"), 0);

        let (near, mut far) = connected();
        let again = near.try_clone().expect("a file");
        drop(near);
        let (tried, wait) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            again.set_read_timeout(Some(ms(5))).expect("not zero");
            let early = (&again).read(&mut [0; 8]).map_err(|e| e.kind());
            again.set_read_timeout(None).expect("no limit");
            tried.send(()).expect("somebody waits for it");
            (early, (&again).read(&mut [0; 8]).expect("a byte"))
        });
        wait.recv().expect("it tries");
        far.write_all(b"y").expect("a good connection");
        let answer = thread.join().map_err(drop);
        assert_eq!(answer, Ok((Err(ErrorKind::WouldBlock), 1)));
    });
}

/// In the child: a runtime and `f` in it; if that hangs the child ends with status 3.
fn here(procs: usize, f: impl FnOnce() + Send) {
    std::thread::spawn(|| {
        std::thread::sleep(LIFE);
        std::process::exit(3);
    });
    run(with_procs(procs), f);
}

/// An M watches for a timer, where there is no epoll yet; it must change over to the first socket.
#[test]
fn the_first_socket_of_a_runtime_that_sleeps() {
    let name = "the_first_socket_of_a_runtime_that_sleeps";
    if is_child(name) {
        here(2, || {
            let (_tx, rx) = chan::bounded::<()>(0);
            spawn(move || rx.recv_timeout(HOUR));
            // Without giving its P away, so that the other one's M has nothing to do but to watch.
            std::thread::sleep(ms(100));
            let (near, far) = std::os::unix::net::UnixStream::pair().expect("two files");
            let mut near = UnixStream::from_std(near).expect("in the poller");
            let other = std::thread::spawn(move || {
                std::thread::sleep(ms(100));
                (&far).write_all(b"x").expect("a good connection");
            });
            assert_eq!(near.read(&mut [0; 8]).expect("a byte"), 1);
            other.join().expect("no panic");
        });
        eprintln!("it was seen");
        return;
    }
    let (code, err) = child(name, &[]);
    assert!(code == Some(0) && err.contains("it was seen"), "{code:?} {err}");
}

#[test]
fn a_dump_says_who_sleeps_and_who_waits_for_a_socket() {
    let name = "a_dump_says_who_sleeps_and_who_waits_for_a_socket";
    if is_child(name) {
        here(2, || {
            let (near, _far) = UnixStream::pair().expect("two files");
            spawn(move || (&near).read(&mut [0; 8]));
            spawn(|| time::sleep(HOUR));
            time::sleep(ms(50));
            // SAFETY: a signal to this process, which the runtime handles.
            unsafe { libc::kill(libc::getpid(), libc::SIGQUIT) };
            time::sleep(HOUR);
        });
        return;
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains(" [sleep, ") && err.contains(" [IO wait, "), "{err}");
}

#[test]
fn who_waits_for_a_socket_is_not_dead_and_an_open_socket_is_nobody() {
    let name = "who_waits_for_a_socket_is_not_dead_and_an_open_socket_is_nobody";
    if is_child(name) {
        here(2, || {
            let (near, far) = std::os::unix::net::UnixStream::pair().expect("two files");
            let mut near = UnixStream::from_std(near).expect("in the poller");
            let other = std::thread::spawn(move || {
                std::thread::sleep(ms(100));
                (&far).write_all(b"x").expect("a good connection");
                far
            });
            assert_eq!(near.read(&mut [0; 8]).expect("a byte"), 1);
            let _far = other.join().expect("no panic");
            eprintln!("so far so good");
            let (_tx, rx) = chan::bounded::<()>(0);
            let _ = rx.recv();
        });
        return;
    }
    let (code, err) = child(name, &[]);
    assert_eq!(code, Some(2), "{err}");
    let (before, after) = err.split_once("so far so good").expect("it got there");
    assert!(!before.contains("deadlock"), "{err}");
    assert!(after.contains("all goroutines are asleep") && after.contains("goroutine 1 [chan receive, "), "{err}");
}
