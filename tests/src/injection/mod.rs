//! Injection: goroutines are suspended and descheduled at a high rate wherever they are, and compute the same as
//! undisturbed.
//!
//! Each [`Kernel`] makes a number out of a number. Its answers are noted in a runtime that sends no signals; then all
//! kernels run on goroutines, over and over, while a storm of signals (`preemptstorm`) hits them and the main
//! goroutine collects, until there have been so many suspensions in place and so many preemptions. A wrong answer ends
//! the process and says what it was.
//!
//! Who says so, and ends it, is a thread that no signal hits, without a lock or the heap: where registers are mixed up, a
//! goroutine that prints may never come back from that, and keeps the lock.

mod heap;
mod registers;

use std::fmt;
use std::io::{Cursor, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tricolor::gc::{self, Stress, SuspendStats};
use tricolor::{Builder, Runtime, blocking, spawn};

/// Exit status where an answer was wrong.
pub const WRONG: i32 = 7;
/// Exit status where nothing has moved for a long time, or it has not ended long after its limit.
pub const STUCK: i32 = 8;
/// Exit status where there were too few signals within the limit.
pub const TOO_FEW: i32 = 9;

/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(120);

/// Questions per kernel.
const QUESTIONS: usize = 16;

/// A computation.
#[derive(Clone, Copy)]
pub struct Kernel {
    name: &'static str,
    run: fn(u64) -> u64,
    /// Goroutines that run it. Of those that are inside the runtime most of the time, where signals are refused, fewer.
    copies: usize,
    here: fn() -> bool,
}

const fn kernel(name: &'static str, run: fn(u64) -> u64) -> Kernel {
    Kernel { name, run, copies: 3, here: || true }
}

const fn in_runtime(name: &'static str, run: fn(u64) -> u64) -> Kernel {
    Kernel { name, run, copies: 1, here: || true }
}

/// All of them.
const KERNELS: &[Kernel] = &[
    kernel("integers", registers::integers),
    kernel("general-registers", registers::general_registers),
    kernel("floats", registers::floats),
    kernel("sse2", registers::sse2),
    Kernel { here: || is_x86_feature_detected!("avx2"), ..kernel("avx2", registers::avx2) },
    Kernel { here: || is_x86_feature_detected!("avx512bw"), ..kernel("avx512", registers::avx512) },
    kernel("x87", registers::x87),
    kernel("backwards", registers::backwards),
    kernel("red-zone", registers::red_zone),
    kernel("flags", registers::flags),
    kernel("recursion", registers::recursion),
    kernel("std-and-libc", registers::std_and_libc),
    in_runtime("allocation", heap::allocation),
    in_runtime("stores", heap::stores),
    in_runtime("moves", heap::moves),
    in_runtime("channels", heap::channels),
    in_runtime("panics", heap::panics),
    in_runtime("blocking", heap::blocking_calls),
];

/// How long a run is, and what numbers it starts from.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Goroutines to be descheduled by a signal, and to be suspended in place, at least.
    pub each: u64,
    pub procs: usize,
    /// From one signal to the next, to each goroutine that runs.
    pub interval: Duration,
    /// How long that may take.
    pub limit: Duration,
}

/// What a run did.
pub struct Report {
    /// Name and answers of each kernel.
    pub kernels: Vec<(&'static str, u64)>,
    /// Kernels that this processor cannot run.
    pub skipped: Vec<&'static str>,
    pub stats: SuspendStats,
    pub stops: u64,
    pub cycles: u32,
    pub time: Duration,
}

fn question(seed: u64, kernel: usize, i: usize) -> u64 {
    let mut state = seed ^ ((kernel as u64) << 32) ^ i as u64;
    registers::next(&mut state)
}

fn enter<R: Send>(builder: Builder, f: impl FnOnce() -> R + Send) -> R {
    // SAFETY: the kernels keep pointers on stacks, in objects and in what passes through the runtime; no lock is held
    // and no thread-local is used across a safepoint.
    unsafe { builder.run(f) }
}

/// All kernels that this processor can run, with their answers to all questions.
pub struct Exam {
    seed: u64,
    kernels: Vec<Kernel>,
    answers: Vec<[u64; QUESTIONS]>,
    missing: Vec<&'static str>,
}

/// A wrong answer.
#[derive(Debug)]
pub struct Wrong {
    pub kernel: &'static str,
    pub answer: u64,
    pub expected: u64,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}, not {:#018x}", self.answer, self.expected)
    }
}

impl Exam {
    /// Asks each kernel each question, undisturbed: in a runtime that sends no signals.
    pub fn new(seed: u64) -> Exam {
        let (kernels, missing): (Vec<&Kernel>, Vec<&Kernel>) = KERNELS.iter().partition(|k| (k.here)());
        let kernels: Vec<Kernel> = kernels.into_iter().copied().collect();
        let asked = kernels.clone();
        let answers = enter(Runtime::builder().procs(1).async_preempt(false), move || {
            let of = |(k, kernel): (usize, &Kernel)| std::array::from_fn(|i| (kernel.run)(question(seed, k, i)));
            asked.iter().enumerate().map(of).collect()
        });
        Exam { seed, kernels, answers, missing: missing.iter().map(|k| k.name).collect() }
    }

    /// How many kernels there are.
    #[expect(clippy::len_without_is_empty, reason = "there always are some")]
    pub fn len(&self) -> usize {
        self.kernels.len()
    }

    /// Asks kernel `k` the question of this round.
    ///
    /// # Errors
    /// A wrong answer.
    pub fn ask(&self, k: usize, round: usize) -> Result<(), Wrong> {
        let (kernel, i) = (self.kernels[k], round % QUESTIONS);
        let (answer, expected) = ((kernel.run)(question(self.seed, k, i)), self.answers[k][i]);
        if answer == expected { Ok(()) } else { Err(Wrong { kernel: kernel.name, answer, expected }) }
    }
}

/// Runs all kernels under a storm. A wrong answer ends the process with [`WRONG`], too few signals with [`TOO_FEW`].
pub fn run(plan: Plan) -> Report {
    let exam = Arc::new(Exam::new(plan.seed));
    let mut stress = Stress::default();
    stress.poison = true;
    let builder = Runtime::builder().procs(plan.procs).stress(stress).preempt_storm(plan.interval);
    let over = Arc::new(AtomicBool::new(false));
    let rounds: Arc<Vec<AtomicU64>> = Arc::new((0..exam.len()).map(|_| AtomicU64::new(0)).collect());
    let begin = Instant::now();
    let watchdog = watch(plan, begin, rounds.clone(), over.clone());
    let (asked, counted, end) = (exam.clone(), rounds.clone(), over.clone());
    let (stats, stops, cycles) = enter(builder, move || {
        let all = |(k, kernel): (usize, &Kernel)| (0..kernel.copies).map(move |copy| (k, copy));
        let workers: Vec<_> = (asked.kernels.iter().enumerate().flat_map(all).enumerate())
            .map(|(n, (k, copy))| {
                let (exam, rounds, over) = (asked.clone(), counted.clone(), end.clone());
                spawn(move || {
                    let mut round = copy;
                    while !over.load(Ordering::Relaxed) {
                        if let Err(why) = exam.ask(k, round) {
                            ends(Verdict::Wrong { why, round, goroutine: n });
                        }
                        rounds[k].fetch_add(1, Ordering::Relaxed);
                        round += 1;
                    }
                })
            })
            .collect();
        let enough = |s: SuspendStats| s.descheduled >= plan.each && s.suspended >= plan.each;
        let all_asked = || counted.iter().all(|n| n.load(Ordering::Relaxed) > 0);
        while !enough(gc::suspensions()) || !all_asked() {
            if begin.elapsed() > plan.limit {
                ends(Verdict::TooFew { stats: gc::suspensions(), all_asked: all_asked() });
            }
            gc::collect();
            blocking((), |()| std::thread::sleep(Duration::from_millis(10)));
        }
        end.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|w| w.join().expect("a wrong answer ends the process"));
        (gc::suspensions(), gc::stops().iter().map(|row| row.count).sum(), gc::stats().cycles)
    });
    let time = begin.elapsed();
    over.store(true, Ordering::Relaxed);
    watchdog.join().expect("it does not panic");
    let count = |(kernel, n): (&Kernel, &AtomicU64)| (kernel.name, n.load(Ordering::Relaxed));
    Report {
        kernels: exam.kernels.iter().zip(rounds.iter()).map(count).collect(),
        skipped: exam.missing.clone(),
        stats,
        stops,
        cycles,
        time,
    }
}

/// What a goroutine has to say before the process ends.
enum Verdict {
    Wrong { why: Wrong, round: usize, goroutine: usize },
    TooFew { stats: SuspendStats, all_asked: bool },
}

/// The first one counts.
static VERDICT: OnceLock<Verdict> = OnceLock::new();

/// The process ends with this, as soon as the watchdog sees it.
fn ends(verdict: Verdict) -> ! {
    _ = VERDICT.set(verdict);
    loop {
        std::thread::sleep(PATIENCE);
    }
}

impl Verdict {
    fn say(&self, plan: Plan) -> ! {
        match self {
            Verdict::Wrong { why, round, goroutine } => {
                let (seed, kernel) = (plan.seed, why.kernel);
                let where_it_was = format_args!("seed {seed}, kernel {kernel}, round {round}, goroutine {goroutine}");
                exit(WRONG, format_args!("wrong answer: {where_it_was}: {why}"))
            }
            Verdict::TooFew { stats, all_asked } => exit(
                TOO_FEW,
                format_args!(
                    "after {} s {} preemptions and {} suspensions, where {} of each should be; {}: {stats:?}",
                    plan.limit.as_secs(),
                    stats.descheduled,
                    stats.suspended,
                    plan.each,
                    if *all_asked { "all kernels have answered" } else { "not all kernels have answered" },
                ),
            ),
        }
    }
}

/// Ends the process with a message, whatever others hold: without a lock, without the heap.
fn exit(status: i32, why: fmt::Arguments<'_>) -> ! {
    let mut line = [0; 1024];
    let mut end = Cursor::new(&mut line[..]);
    // What is longer is cut off.
    _ = writeln!(end, "injection: {why}");
    let length = end.position() as usize;
    // SAFETY: writes so many bytes of an array, and ends the process.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length);
        libc::_exit(status)
    }
}

/// Ends the process with what a goroutine has to say, when no kernel has answered for a long time, and when the run has not
/// ended long after its limit.
fn watch(
    plan: Plan,
    begin: Instant,
    rounds: Arc<Vec<AtomicU64>>,
    over: Arc<AtomicBool>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut last, mut since) = (0, Instant::now());
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
            if let Some(verdict) = VERDICT.get() {
                verdict.say(plan);
            }
            let now = rounds.iter().map(|n| n.load(Ordering::Relaxed)).sum::<u64>();
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                exit(STUCK, format_args!("no kernel has answered for {} s", PATIENCE.as_secs()));
            }
            if begin.elapsed() > plan.limit + PATIENCE {
                let (limit, late) = (plan.limit.as_secs(), PATIENCE.as_secs());
                exit(STUCK, format_args!("it goes on {late} s after its limit of {limit} s"));
            }
        }
    })
}

/// The report as a table.
pub fn print(report: &Report) {
    let s = &report.stats;
    for (name, rounds) in &report.kernels {
        println!("{name:>20} {rounds:>10} right answers");
    }
    for name in &report.skipped {
        println!("{name:>20}    SKIPPED: this processor does not have it");
    }
    let seconds = report.time.as_secs_f64();
    let per_second = |n: u64| n as f64 / seconds;
    println!("{:>20} {:>10} {:>9.0} per second", "preemptions", s.descheduled, per_second(s.descheduled));
    println!("{:>20} {:>10} {:>9.0} per second", "suspensions", s.suspended, per_second(s.suspended));
    for (name, n) in [
        ("begun again", s.restarted),
        ("signals", s.sent),
        ("late", s.late),
        ("declined", s.in_runtime + s.on_other_stack + s.in_handler + s.no_signal_stack + s.not_descheduled),
        ("in the runtime", s.in_runtime),
        ("on another stack", s.on_other_stack),
        ("in a handler", s.in_handler),
        ("without a signal stack", s.no_signal_stack),
        ("in a library", s.denied_text),
        ("unwinding", s.denied_unwinding),
        ("little stack", s.denied_stack),
        ("too many kept", s.denied_too_many),
        ("register bytes", s.register_bytes),
        ("stops", report.stops),
        ("collections", report.cycles.into()),
    ] {
        println!("{name:>20} {n:>10}");
    }
    println!("{:>20} {seconds:>10.1} s", "time");
}
