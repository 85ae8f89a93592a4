//! Goroutines: making them, switching between them, what they talk through.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Instant;
use tricolor::chan::{self, Sender};
use tricolor::sync::WaitGroup;
use tricolor_bench_program::{Ask, Memory, tell, tell_time, tell_time_over};
use tricolor_benches::beside_parked;

pub fn spawn_join(ask: &Ask) {
    tell_time(ask.size(1_000_000), |n| {
        for i in 0..n {
            assert_eq!(tricolor::spawn(move || i).join().unwrap(), i);
        }
    });
}

pub fn yields(ask: &Ask, goroutines: u64) {
    tell_time(ask.size(4_000_000), |n| {
        let each = n.div_ceil(goroutines);
        let all: Vec<_> =
            (0..goroutines).map(|_| tricolor::spawn(move || (0..each).for_each(|_| tricolor::yield_now()))).collect();
        all.into_iter().for_each(|g| g.join().unwrap());
    });
}

/// There and back through two channels without a buffer.
pub fn ping_pong(ask: &Ask) {
    tell_time(ask.size(500_000), |n| {
        let (ping, pinged) = chan::bounded::<u64>(0);
        let (pong, ponged) = chan::bounded::<u64>(0);
        let other = tricolor::spawn(move || pinged.iter().for_each(|i| pong.send(i + 1).unwrap()));
        for i in 0..n {
            ping.send(i).unwrap();
            assert_eq!(ponged.recv().unwrap(), i + 1);
        }
        drop(ping);
        other.join().unwrap();
    });
}

pub fn buffered(ask: &Ask) {
    tell_time(ask.size(4_000_000), |n| {
        let (tx, rx) = chan::bounded::<u64>(64);
        let sender = tricolor::spawn(move || (0..n).for_each(|i| tx.send(i).unwrap()));
        assert_eq!(rx.iter().sum::<u64>(), n * (n - 1) / 2);
        sender.join().unwrap();
    });
}

/// From whichever of four channels without a buffer there is something.
pub fn select(ask: &Ask) {
    tell_time(ask.size(1_000_000), |n| {
        let each = n.div_ceil(4);
        // All ends stay: as in Go, no channel is closed.
        let ends = [(); 4].map(|()| chan::bounded::<u64>(0));
        for (tx, _) in &ends {
            let tx = tx.clone();
            tricolor::spawn(move || (0..each).for_each(|_| tx.send(1).unwrap()));
        }
        let [a, b, c, d] = ends.each_ref().map(|(_, rx)| rx);
        let mut sum = 0;
        for _ in 0..4 * each {
            sum += chan::select! {
                recv(a) -> i => i.unwrap(),
                recv(b) -> i => i.unwrap(),
                recv(c) -> i => i.unwrap(),
                recv(d) -> i => i.unwrap(),
            };
        }
        assert_eq!(sum, 4 * each);
    });
}

pub fn mutex(ask: &Ask) {
    tell_time(ask.size(4_000_000), |n| {
        let (all, each) = (WaitGroup::new(), n.div_ceil(8));
        let count = Arc::new(tricolor::sync::Mutex::new(0_u64));
        all.add(8);
        for _ in 0..8 {
            let (all, count) = (all.clone(), count.clone());
            tricolor::spawn(move || {
                (0..each).for_each(|_| count.with(|n| *n += 1));
                all.done();
            });
        }
        all.wait();
        assert_eq!(count.with(|n| *n), 8 * each);
    });
}

/// A tree of goroutines, ten below each; the leaves send their numbers, the others the sums of what they get.
pub fn skynet(ask: &Ask) {
    fn node(up: &Sender<u64>, first: u64, leaves: u64) {
        if leaves == 1 {
            return up.send(first).unwrap();
        }
        let (tx, rx) = chan::bounded(0);
        for i in 0..10 {
            let tx = tx.clone();
            tricolor::spawn(move || node(&tx, first + i * leaves / 10, leaves / 10));
        }
        up.send((0..10).map(|_| rx.recv().unwrap()).sum()).unwrap();
    }
    let leaves = 10_u64.pow(6 - ask.scale.ilog10().min(5));
    let begin = Instant::now();
    let (tx, rx) = chan::bounded(0);
    tricolor::spawn(move || node(&tx, 0, leaves));
    assert_eq!(rx.recv().unwrap(), leaves * (leaves - 1) / 2);
    tell("wall", begin.elapsed().as_secs_f64() * 1e3);
}

/// All wait on one channel, and are counted when they are about to.
pub fn parked(ask: &Ask) {
    let n = ask.size(1_000_000);
    let bare = Memory::now();
    let begin = Instant::now();
    beside_parked(n, || {
        tell("time", begin.elapsed().as_nanos() as f64 / n as f64);
        let now = Memory::now();
        tell("memory", ((now.resident + now.tables) - (bare.resident + bare.tables)) as f64 / n as f64);
    });
}

fn read(fd: i32) -> (isize, u8) {
    let mut byte = [1_u8];
    // SAFETY: one byte, which is there.
    (unsafe { libc::read(fd, byte.as_mut_ptr().cast(), 1) }, byte[0])
}

pub fn read_byte(ask: &Ask) {
    let zero = File::open("/dev/zero").expect("/dev/zero");
    let fd = zero.as_raw_fd();
    let raw = |n| (0..n).for_each(|_| assert_eq!(read(fd), (1, 0)));
    let blocking = |n| (0..n).for_each(|_| assert_eq!(tricolor::blocking((fd,), |(fd,)| read(fd)), (1, 0)));
    tell_time_over(ask.size(2_000_000), raw, blocking);
}
