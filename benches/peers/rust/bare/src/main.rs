//! What the machine allows: switches by `corosensei`, a coroutine and nothing else, and system calls as they are.

use corosensei::{Coroutine, CoroutineResult};
use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use tricolor_bench_program::{Ask, none, tell_time};

fn main() {
    let ask = Ask::from_args();
    match ask.workload.as_str() {
        "yield-2" if ask.procs > 1 => none("a switch knows one thread"),
        "yield-2" => switches(&ask),
        "store-off" => store(&ask),
        "read-byte" => read_byte(&ask),
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
    tell_time(ask.size(2_000_000), |n| {
        for _ in 0..n {
            let mut byte = [1_u8];
            // SAFETY: one byte, which is there.
            let read = unsafe { libc::read(zero.as_raw_fd(), byte.as_mut_ptr().cast(), 1) };
            assert_eq!((read, byte[0]), (1, 0));
        }
    });
}
