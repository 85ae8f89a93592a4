//! What the machine allows: switches by `corosensei`, a coroutine and nothing else; system calls as they are; a signal to
//! another thread and its answer; memory read from one end to the other.

use corosensei::{Coroutine, CoroutineResult};
use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};
use tricolor_bench_program::{Ask, cpu_seconds, none, tell, tell_stops, tell_time};

fn main() {
    let ask = Ask::from_args();
    match ask.workload.as_str() {
        "yield-2" if ask.procs > 1 => none("a switch knows one thread"),
        "yield-2" => switches(&ask),
        "store-off" => store(&ask),
        "read-byte" => read_byte(&ask),
        "stop-loop" => stop_loop(&ask),
        name if name.starts_with("mark-") => read_all(&ask),
        _ => none("nothing bare is like that"),
    }
}

/// Two coroutines, to and fro.
fn switches(ask: &Ask) {
    tell_time(ask.size(40_000_000), |n| {
        let make = || {
            Coroutine::<(), (), u64>::new(move |yielder, ()| {
                (0..n / 2).for_each(|_| yielder.suspend(()));
                n / 2
            })
        };
        let (mut a, mut b) = (make(), make());
        loop {
            match (a.resume(()), b.resume(())) {
                (CoroutineResult::Return(x), CoroutineResult::Return(y)) => break assert_eq!((x, y), (n / 2, n / 2)),
                (CoroutineResult::Yield(()), CoroutineResult::Yield(())) => {}
                _ => panic!("one ended before the other"),
            }
        }
    });
}

struct Linked {
    next: Option<&'static Linked>,
    data: [u64; 3],
}

fn store(ask: &Ask) {
    let linked = || Box::leak(Box::new(Linked { next: None, data: [0; 3] }));
    let at: *mut Linked = linked();
    let two: [&'static Linked; 2] = [linked(), linked()];
    tell_time(ask.size(200_000_000), |n| {
        for i in 0..n {
            // SAFETY: leaked, and nobody else uses it.
            unsafe { (*black_box(at)).next = Some(two[(i % 2) as usize]) };
        }
        // SAFETY: as above.
        assert!(unsafe { (*at).next }.is_some_and(|next| next.data == [0; 3]));
    });
}

fn read_byte(ask: &Ask) {
    let zero = File::open("/dev/zero").expect("/dev/zero");
    // It is what others are compared with.
    tell("over-raw", 0.0);
    tell_time(ask.size(2_000_000), |n| {
        for _ in 0..n {
            let mut byte = [1_u8];
            // SAFETY: one byte, which is there.
            let read = unsafe { libc::read(zero.as_raw_fd(), byte.as_mut_ptr().cast(), 1) };
            assert_eq!((read, byte[0]), (1, 0));
        }
    });
}

/// A signal to a thread that turns, until its handler has begun. (It goes on at once.)
fn stop_loop(ask: &Ask) {
    static ANSWERS: AtomicU64 = AtomicU64::new(0);
    static END: AtomicBool = AtomicBool::new(false);
    extern "C" fn answer(_: i32) {
        ANSWERS.fetch_add(1, SeqCst);
    }
    // SAFETY: the handler only adds to a static.
    unsafe { libc::signal(libc::SIGURG, answer as *const () as usize) };
    let turning = thread::spawn(|| while !END.load(SeqCst) {});
    let times = (1..=ask.size(1000)).map(|i| {
        thread::sleep(Duration::from_micros(300));
        let begin = Instant::now();
        // SAFETY: the thread is there until it is joined.
        assert_eq!(unsafe { libc::pthread_kill(turning.as_pthread_t(), libc::SIGURG) }, 0);
        while ANSWERS.load(SeqCst) < i {
            std::hint::spin_loop();
        }
        begin.elapsed().as_nanos() as u64
    });
    let times = times.collect();
    END.store(true, SeqCst);
    turning.join().expect("it only turns");
    tell_stops(times);
}

/// As much memory as is marked, read once: no marker that looks at all objects can be faster.
fn read_all(ask: &Ask) {
    let words = ask.size((1 << 30) / 8) as usize;
    let memory = black_box(vec![1_u64; words]);
    let mut rates = [0.0; 3];
    for rate in &mut rates {
        let before = cpu_seconds();
        assert_eq!(memory.iter().sum::<u64>(), words as u64);
        *rate = words as f64 * 8.0 / f64::from(1 << 20) / (cpu_seconds() - before);
    }
    rates.sort_by(f64::total_cmp);
    tell("rate", rates[1]);
}
