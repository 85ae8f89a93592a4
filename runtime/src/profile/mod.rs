//! Profiles that `go tool pprof` and other viewers of its format open: what the heap holds and who has allocated it, where
//! the goroutines are, and which of them wait for ever.
//!
//! ```
//! # unsafe { tricolor::Runtime::builder().profile_rate(64).run(|| {
//! let kept: Vec<_> = (0..1000_u64).map(|n| tricolor::Root::new(tricolor::Gc::new([n; 8]))).collect();
//! tricolor::gc::collect(); // what is in use is known as of the last collection
//! let mut file = Vec::new(); // or a `std::fs::File`
//! tricolor::profile::heap(&mut file)?;
//! assert!(file.starts_with(&[0x1f, 0x8b])); // gzip
//! # drop(kept);
//! # std::io::Result::Ok(())
//! # }) }.unwrap()
//! ```
//!
//! Names and lines come from the program's own debug information; what has been stripped of it has addresses. Stacks need
//! frame pointers (`RUSTFLAGS="-C force-frame-pointers=yes"`); the heap profile of a program without has none.
//!
//! Source: Go's `runtime/pprof`; the format is `profile.proto` of pprof.

mod leaks;
mod memory;
mod names;
mod pprof;
mod proto;
mod rows;

pub use leaks::{Leak, leaks};
pub use names::Frame;

use crate::gc::on_goroutine;
use crate::sched::Sched;
use pprof::{Input, Sample};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

/// Writes the heap profile, gzipped: for each stack the objects and bytes allocated so far (`alloc_objects`, `alloc_space`)
/// and those of them that are alive (`inuse_objects`, `inuse_space`).
///
/// It is a sample: of the bytes allocated one in [`Builder::profile_rate`](crate::Builder::profile_rate) is looked at, and
/// the figures are scaled up by the probability that an object of its size is in the sample. All four are of the moment at
/// which the last collection ended its marking (before the first one: what was allocated so far), so that what is in use is
/// never what nobody has looked at; [`gc::collect`](crate::gc::collect) before makes it the present.
///
/// Waits for the end of a collection and sweeps what is left to sweep; needs a P, a safepoint. Allocates with malloc; the
/// names are looked up on a thread of its own, meanwhile others use the P.
///
/// # Errors
/// Those of `to`; and if the system gives no thread.
///
/// # Panics
/// Outside a goroutine.
pub fn heap(to: impl Write) -> io::Result<()> {
    let gp = on_goroutine("profile::heap");
    let profile = gp.sched.stop_turn.with(gp, || gp.sched.heap().heap_profile());
    let rate = gp.sched.settings.profile_rate;
    let samples = profile.sites.as_slice().iter().map(|site| {
        let scale = scale(site.size, rate);
        let objects = |n: u64| (n as f64 * scale).round() as i64;
        let values = |n: u64| [objects(n), (n as f64 * scale * site.size as f64).round() as i64];
        let [alloc, inuse] = [site.allocs, site.allocs.saturating_sub(site.frees)].map(values);
        Sample {
            stack: site.stack().to_vec(),
            values: [alloc, inuse].concat(),
            labels: vec![("bytes", pprof::Label::Bytes(site.size as i64))],
        }
    });
    let comment =
        (profile.lost > 0).then(|| format!("{} samples are missing: too many different stacks", profile.lost));
    finish(
        to,
        Input {
            values: &[
                ("alloc_objects", "count"),
                ("alloc_space", "bytes"),
                ("inuse_objects", "count"),
                ("inuse_space", "bytes"),
            ],
            default: "inuse_space",
            period: (("space", "bytes"), rate as i64),
            samples: samples.collect(),
            comment,
        },
    )
}

/// By how much the sampled objects of `size` bytes stand for others: an object is in the sample if one of its bytes is.
fn scale(size: usize, rate: usize) -> f64 {
    if rate <= 1 { 1.0 } else { 1.0 / -(-(size as f64) / rate as f64).exp_m1() }
}

/// Writes where all goroutines are, gzipped: how many there are for each stack, with the labels `status` (`running`,
/// `runnable`, `waiting`, `blocking call`), `wait` (what for) and `created` (file and line of the `spawn` that has made them).
/// All of one moment, for which the world is stopped.
///
/// A goroutine in a blocking call is shown where it has called it. Needs a P; a safepoint. As [`heap`] otherwise.
///
/// ```
/// # unsafe { tricolor::Runtime::builder().run(|| {
/// tricolor::profile::goroutines(std::io::sink()).unwrap();
/// # }) }
/// ```
///
/// # Errors
/// Those of `to`; and if the system gives no thread.
///
/// # Panics
/// Outside a goroutine.
pub fn goroutines(to: impl Write) -> io::Result<()> {
    let gp = on_goroutine("profile::goroutines");
    let rows = rows::all(gp);
    let mut counts: HashMap<_, i64> = HashMap::new();
    for row in rows.as_slice() {
        *counts.entry((row.stack(), row.status(), row.wait(), row.created_at)).or_default() += 1;
    }
    let samples = counts.into_iter().map(|((stack, status, wait, created), n)| {
        let mut labels = vec![("status", pprof::Label::Text(status.into()))];
        if !wait.is_empty() {
            labels.push(("wait", pprof::Label::Text(wait.into())));
        }
        if let Some(place) = created {
            labels.push(("created", pprof::Label::Text(format!("{}:{}", place.file(), place.line()).into())));
        }
        Sample { stack: stack.to_vec(), values: vec![n], labels }
    });
    const GOROUTINES: (&str, &str) = ("goroutine", "count");
    finish(
        to,
        Input {
            values: &[GOROUTINES],
            default: "goroutine",
            period: (GOROUTINES, 1),
            samples: samples.collect(),
            comment: None,
        },
    )
}

/// Makes the file and writes it.
fn finish(mut to: impl Write, input: Input) -> io::Result<()> {
    to.write_all(&elsewhere(move || input.encode())??)
}

/// Runs `f` on a thread of its own, since names are looked up with large frames, malloc and locks of std, while others use the
/// P. Nothing in it points to the heap.
fn elsewhere<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> io::Result<R> {
    #[expect(clippy::disallowed_types, reason = "the goroutine is in a blocking call and holds nothing of the runtime")]
    let run = move || {
        let thread = std::thread::Builder::new().name("profile".to_owned()).spawn(f)?;
        thread.join().map_err(|_| io::Error::other("looking up names has failed"))
    };
    // SAFETY: the closure and its result are free of heap pointers, and it uses nothing of the runtime.
    unsafe { crate::blocking_with(run) }
}

/// The main goroutine has ended: writes the heap profile that `TRICOLOR_DEBUG=heapprofile=FILE` asks for. On it.
pub(crate) fn at_exit(sched: &Sched) {
    let Some(path) = &sched.settings.heap_profile else { return };
    crate::gc::collect();
    if let Err(e) = std::fs::File::create(path).and_then(heap) {
        gc_core::fatal::print_line(format_args!("tricolor: heapprofile={}: {e}", Path::new(path).display()));
    }
}
