//! What the whole-program check walks beside `word_index`: a program that uses each part of the runtime once, so that
//! generic code is there, too. It also runs: `cargo run -p tricolor --example harness`.

fn main() {
    // SAFETY: a `Gc` is kept on stacks, in heap objects, and in what passes through the runtime.
    let sum = unsafe { tricolor::Runtime::builder().procs(2).run(everything) };
    println!("harness: {sum}");
}

#[derive(tricolor::Trace)]
struct Node {
    next: tricolor::GcCell<Option<tricolor::Gc<Node>>>,
    value: tricolor::GcMut<usize>,
}

fn everything() -> usize {
    use tricolor::sync::{Mutex, WaitGroup};
    use tricolor::{Gc, GcCell, GcMut, Root, blocking, chan, gc, poll, spawn, time, yield_now};
    const MS: time::Duration = time::Duration::from_millis(1);

    let node = |value| Gc::new(Node { next: GcCell::new(None), value: GcMut::new(value) });
    let (first, second) = (node(1), node(2));
    first.next.set(Some(second));
    first.next.swap(Some(first));
    let _ = first.next.compare_exchange(Some(first), Some(second));
    first.value.with(|v| *v += 1);

    let root = Root::new(first);
    let (tx, rx) = chan::bounded::<Gc<Node>>(1);
    let sender = spawn(move || {
        yield_now();
        poll();
        tx.send(root.get()).is_ok()
    });
    let got = rx.recv().map_or(0, |n| n.value.with(|v| *v));
    let sent = sender.join().is_ok_and(|sent| sent);

    let total = Mutex::new(0);
    let group = WaitGroup::new();
    for n in 0..4 {
        group.add(1);
        let (group, total) = (group.clone(), total.clone());
        spawn(move || {
            total.with(|t| *t += blocking(n, |n| n + 1));
            group.done();
        });
    }
    group.wait();
    time::sleep(MS);
    time::interval(MS).tick();
    let late = time::timeout(MS, || time::sleep(2 * MS)).is_err();
    let echoed = sockets(MS).is_ok();
    let weak = tricolor::Weak::new(first);
    gc::collect();
    let got = got + usize::from(weak.upgrade().is_some());
    got + usize::from(sent) + usize::from(late) + usize::from(echoed) + total.with(|t| *t)
}

/// A byte there and back over each kind of socket.
fn sockets(limit: tricolor::time::Duration) -> std::io::Result<()> {
    use std::io::{Read, Write};
    use tricolor::net::{TcpListener, TcpStream, UdpSocket, UnixStream};

    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let server = tricolor::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        stream.write_all(&byte)
    });
    let mut stream = TcpStream::connect(addr)?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    stream.set_read_timeout(Some(limit))?;
    let _end_or_limit = stream.read(&mut [0]);
    server.join().unwrap_or(Ok(()))?;

    let (mut near, mut far) = UnixStream::pair()?;
    near.write_all(b"y")?;
    far.read_exact(&mut [0])?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.send_to(b"z", socket.local_addr()?)?;
    socket.recv_from(&mut [0])?;
    socket.close();
    Ok(())
}
