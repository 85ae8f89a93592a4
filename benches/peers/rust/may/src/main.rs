//! may's side of `cargo versus`: coroutines with stacks of their own, on threads that steal from each other.

use may::net::{TcpListener, TcpStream};
use may::sync::{Mutex, mpsc};
use may::{coroutine, go};
use std::io::{Read, Write};
use std::sync::Arc;
use tricolor_bench_program::{Ask, none, tell_address, tell_time, wait_for_end_of_input};

fn main() {
    let ask = Ask::from_args();
    may::config().set_workers(ask.procs);
    if ask.workload == "echo" {
        return echo();
    }
    // In a coroutine, as those that it talks to.
    go!(move || workload(&ask)).join().expect("no panic");
}

fn workload(ask: &Ask) {
    match ask.workload.as_str() {
        "spawn-join" => tell_time(ask.size(1_000_000), |n| {
            (0..n).for_each(|i| assert_eq!(go!(move || i).join().unwrap(), i));
        }),
        "yield-2" => yields(ask, 2),
        "yield-1000" => yields(ask, 1000),
        "ping-pong" => ping_pong(ask),
        "buffered" => none("its channels have no bounds"),
        "select" => none("its `select!` makes a coroutine for each channel each time"),
        "mutex" => mutex(ask),
        "skynet" | "parked" => none("each stack is a mapping with a guard, of which Linux allows a process 65,530"),
        "read-byte" => none("a call that blocks, blocks its thread"),
        _ => ask.unknown(),
    }
}

fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    tell_address(&listener.local_addr().expect("its address"));
    go!(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            go!(move || serve(stream));
        }
    });
    wait_for_end_of_input();
}

fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("no delay");
    let mut buffer = [0_u8; 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
}

fn yields(ask: &Ask, coroutines: u64) {
    tell_time(ask.size(4_000_000), |n| {
        let each = n.div_ceil(coroutines);
        let all: Vec<_> =
            (0..coroutines).map(|_| go!(move || (0..each).for_each(|_| coroutine::yield_now()))).collect();
        all.into_iter().for_each(|c| c.join().unwrap());
    });
}

/// Its channels have no bounds: nobody waits for room.
fn ping_pong(ask: &Ask) {
    tell_time(ask.size(500_000), |n| {
        let (ping, pinged) = mpsc::channel();
        let (pong, ponged) = mpsc::channel();
        let other = go!(move || pinged.iter().for_each(|i| pong.send(i + 1).unwrap()));
        for i in 0..n {
            ping.send(i).unwrap();
            assert_eq!(ponged.recv().unwrap(), i + 1);
        }
        drop(ping);
        other.join().unwrap();
    });
}

fn mutex(ask: &Ask) {
    tell_time(ask.size(4_000_000), |n| {
        let (count, each) = (Arc::new(Mutex::new(0)), n.div_ceil(8));
        let all: Vec<_> = (0..8)
            .map(|_| {
                let count = count.clone();
                go!(move || (0..each).for_each(|_| *count.lock().unwrap() += 1))
            })
            .collect();
        all.into_iter().for_each(|c| c.join().unwrap());
        assert_eq!(*count.lock().unwrap(), 8 * each);
    });
}
