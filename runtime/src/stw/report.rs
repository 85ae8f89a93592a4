//! A stop that takes too long: who holds it up, and where.

use crate::m::Door;
use crate::p;
use crate::sched::Sched;
use crate::time::nanotime;
use core::sync::atomic::{AtomicBool, Ordering};

/// Says once who holds a stop up, and where it is.
pub(super) fn late(sched: &Sched, why: &str, waited: u64) {
    static REPORTING: AtomicBool = AtomicBool::new(false);
    if REPORTING.swap(true, Ordering::SeqCst) {
        return;
    }
    let now = nanotime();
    for p in sched.ps().filter(|p| p.status.load(Ordering::SeqCst) == p::RUNNING) {
        // SAFETY: null or an entry of `allms`.
        let Some(m) = (unsafe { p.m.get().as_ref() }) else { continue };
        let tid = m.tid.load(Ordering::SeqCst);
        let goid = m.curg().map_or(0, |gp| gp.id.load(Ordering::SeqCst));
        gc_core::fatal::print_line(format_args!(
            "tricolor: stop of the world ({why}) waits for {} ms: P{} on M{} (thread {tid}, state {}) runs \
             goroutine {goid}, which was last at a safepoint {} ms ago: {}",
            waited / 1_000_000,
            p.id.load(Ordering::SeqCst),
            m.id.load(Ordering::SeqCst),
            thread_state(tid),
            now.saturating_sub(m.door_at.load(Ordering::Relaxed)) / 1_000_000,
            Door::name(m.door.load(Ordering::Relaxed)),
        ));
        crate::dump::running(m, None);
    }
    REPORTING.store(false, Ordering::SeqCst);
}

barrier_lint::certify! {
    pub(crate) fn thread_state: "reads a file of the kernel";
    pub(crate) fn time_awake: "reads a file of the kernel";
}

/// The state letter of a thread of this process (R running, S sleeping, D in the kernel), without allocating.
pub(crate) fn thread_state(tid: u32) -> char {
    let mut text = [0; 256];
    // "tid (name) S ...": the name may hold anything, so from its last parenthesis.
    let text = read_of_thread(tid, "stat", &mut text);
    let end = text.iter().rposition(|&b| b == b')');
    end.and_then(|i| text.get(i + 2)).map_or('?', |&b| b as char)
}

/// How long a thread of this process has run or waited for a processor so far, ns, without allocating; 0 where the kernel
/// does not say. What it waits for now does not count yet.
pub(crate) fn time_awake(tid: u32) -> u64 {
    let mut text = [0; 64];
    // "ran waited times": nanoseconds the first two.
    let text = read_of_thread(tid, "schedstat", &mut text);
    let numbers = text.split(|&b| b == b' ').take(2);
    numbers.filter_map(|n| core::str::from_utf8(n).ok()?.parse::<u64>().ok()).sum()
}

/// The beginning of the file `name` of a thread of this process; nothing where it cannot be read.
fn read_of_thread<'a>(tid: u32, name: &str, text: &'a mut [u8]) -> &'a [u8] {
    use core::fmt::Write;
    struct Path([u8; 64], usize);
    // Not `io::Write` of a slice: its errors are dropped by a call through a pointer.
    impl Write for Path {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            let to = self.0.get_mut(self.1..self.1 + s.len()).ok_or(core::fmt::Error)?;
            to.copy_from_slice(s.as_bytes());
            self.1 += s.len();
            Ok(())
        }
    }
    let mut path = Path([0; 64], 0);
    let _ = write!(path, "/proc/self/task/{tid}/{name}\0");
    // SAFETY: a path that ends in 0, and a buffer of that size.
    let n = unsafe {
        let fd = libc::open(path.0.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return &[];
        }
        let n = libc::read(fd, text.as_mut_ptr().cast(), text.len());
        libc::close(fd);
        n
    };
    &text[..n.max(0) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn time_awake_grows_with_work_and_not_with_sleep() {
        // SAFETY: the number of this thread.
        let tid = unsafe { libc::gettid() } as u32;
        assert_eq!(thread_state(tid), 'R');
        if !std::path::Path::new("/proc/self/schedstat").exists() {
            let why = b"SKIPPED: time_awake_grows_with_work_and_not_with_sleep: the kernel does not say\n";
            return std::io::Write::write_all(&mut std::io::stderr(), why).expect("stderr can be written");
        }
        let before = time_awake(tid);
        std::thread::sleep(Duration::from_millis(50));
        let slept = time_awake(tid) - before;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(50) {}
        let worked = time_awake(tid) - before - slept;
        assert!(worked >= 40_000_000, "{worked}");
        assert!(slept < worked, "{slept} {worked}");
        assert_eq!((thread_state(u32::MAX), time_awake(u32::MAX)), ('?', 0));
    }
}
