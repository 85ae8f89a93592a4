//! Memory under the scheduler: what idle Ps give back, what a limit does, who is told; and how little address space is
//! enough; and huge pages. The resident set belongs to the process, so there is one test, and one in a process of its own.

mod common;

use common::Needs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tricolor::gc::{self, events::Event};
use tricolor::{Gc, GcCell, Runtime, Trace};

const MB: usize = 1 << 20;

#[derive(Trace)]
struct Node {
    next: GcCell<Option<Gc<Node>>>,
    data: [u64; 6],
}

#[inline(never)]
fn list(bytes: usize) -> Option<Gc<Node>> {
    let mut head = None;
    for i in 0..bytes / size_of::<Node>() {
        head = Some(Gc::new(Node { next: GcCell::new(head), data: [i as u64; 6] }));
    }
    head
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("the resident set");
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}

/// The flags that the kernel keeps for the mapping of `address`.
fn mapping_flags(address: usize) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("this process's mappings");
    let mut inside = false;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|r| r.split_once('-'));
        let range = range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
        if let Some((Ok(from), Ok(to))) = range {
            inside = (from..to).contains(&address);
        } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
            return Some(flags.to_owned());
        }
    }
    None
}

#[test]
fn idle_ps_give_memory_back_and_a_limit_is_kept() {
    static GIVEN: AtomicU64 = AtomicU64::new(0);
    fn count(event: &Event, _: usize) {
        if let Event::Scavenge { bytes, .. } = event {
            GIVEN.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
    // SAFETY: keeps the contract of `run`: no `Gc` in malloc'd memory, no thread-local or std lock over a safepoint.
    unsafe {
        Runtime::builder().procs(2).run(|| {
            let id = gc::listen(count, 0).expect("room");
            tricolor::spawn(|| assert!(list(300 * MB).is_some())).join().expect("the spike");
            let peak = resident();
            (0..3).for_each(|_| gc::collect());
            for _ in 0..100 {
                // Both Ps are idle.
                tricolor::blocking(Duration::from_millis(20), std::thread::sleep);
                if resident() < 100 * MB {
                    break;
                }
            }
            let after = resident();
            eprintln!("resident: {} MB at the peak, {} MB after it", peak / MB, after / MB);
            assert!(peak > 300 * MB && after < 100 * MB, "{peak} -> {after}: {:#?}", gc::stats());
            assert_eq!(GIVEN.load(Ordering::Relaxed), gc::stats().scavenged_bytes);
            gc::unlisten(id);
            let rows = gc::census();
            assert!(rows.iter().all(|r| r.objects > 0 || r.spans > 0), "{rows:?}");
        });
        if Needs::Procs(2..=256).are_met() {
            Runtime::builder().procs(2).gc_percent(None).run(|| {
                // Nobody collects, so the other P has nothing to do but this. (How much of it depends on the machine.)
                let grown = list(200 * MB);
                let stats = gc::stats();
                eprintln!(
                    "{} MB were touched ahead of 200 MB of objects, in {:?}",
                    stats.pretouched_bytes as usize / MB,
                    stats.pretouch_time
                );
                assert!(stats.pretouched_bytes as usize > 4 * MB, "{stats:#?}");
                gc::keep_alive(grown.expect("a list"));
            });
        }
        Runtime::builder().procs(2).gc_percent(None).memory_limit(64 * MB).run(|| {
            let mut most = 0;
            let keep = list(4 * MB);
            for _ in 0..100 {
                assert!(list(4 * MB).is_some());
                most = most.max(gc::stats().footprint);
            }
            assert!(gc::stats().cycles > 2 && most < 80 * MB, "{most}: {:#?}", gc::stats());
            let rows = gc::census();
            let row = rows.iter().find(|r| r.name.ends_with("Node")).expect("nodes");
            assert!(row.objects >= 4 * MB / size_of::<Node>(), "{row:?}");
            gc::keep_alive(keep.expect("a list"));
        });
        for on in [false, true] {
            Runtime::builder().procs(2).huge_pages(on).run(|| {
                let flags = mapping_flags(Gc::as_ptr(Gc::new(0_u64)).addr()).expect("the heap's mapping");
                // A kernel without huge pages knows of no such wish.
                let known = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
                assert_eq!(flags.split_whitespace().any(|flag| flag == "hg"), on && known, "{flags}");
            });
        }
    }
}

#[test]
fn a_small_address_space_is_enough_to_start() {
    const CHILD: &str = "TRICOLOR_TEST_SMALL";
    if std::env::var_os(CHILD).is_some() {
        // SAFETY: as above.
        unsafe {
            Runtime::builder().procs(2).run(|| {
                let handles = [(); 50].map(|()| tricolor::spawn(|| list(MB).is_some()));
                assert!(handles.into_iter().all(|h| h.join().expect("a goroutine")));
            });
        }
        return;
    }
    let exe = std::env::current_exe().expect("the path of this program");
    let mut command = std::process::Command::new(exe);
    command.args(["a_small_address_space_is_enough_to_start", "--exact", "--test-threads=1"]).env(CHILD, "1");
    // SAFETY: only a system call between fork and exec.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            let limit = libc::rlimit { rlim_cur: 600 << 20, rlim_max: 600 << 20 };
            match libc::setrlimit(libc::RLIMIT_AS, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let out = command.output().expect("a child");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
