//! The watched process: runs a leg.

use super::kind::Kind;
use super::page::{FREE, Mapped, Page, SLOTS, WORKS};
use super::plan::{Leg, Phase};
use super::samples::{Line, Sample, Snapshot, Times};
use super::workers::{Harvest, Worker, times};
use super::{crash, outside};
use crate::injection::Exam;
use crate::oracle::Oracle;
use crate::oracle::cell::Cell;
use crate::oracle::rng::mix;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tricolor::{JoinHandle, Runtime, blocking, spawn, time};

/// What everybody in the process knows.
#[derive(Clone, Copy)]
struct Child {
    leg: &'static Leg,
    page: &'static Page,
    exam: &'static Exam,
    over: &'static AtomicBool,
    began: Instant,
}

/// Runs the leg that `text` says, with the page behind `fd`, and ends the process.
pub fn run(fd: i32, text: &str) -> ! {
    let began = Instant::now();
    let leg: Leg = serde_json::from_str(text).unwrap_or_else(|why| refuse(format_args!("no leg: {why}")));
    let page = Mapped::inherited(fd).unwrap_or_else(|why| refuse(format_args!("no page: {why}")));
    let page: &'static Page = Box::leak(Box::new(page));
    let leg: &'static Leg = Box::leak(Box::new(leg));
    crash::install(page);
    // The answers are those of a runtime without a fault.
    let exam: &'static Exam = Box::leak(Box::new(Exam::new(leg.wanted.seed)));
    if let Err(why) = gc_core::faults::choose(leg.wanted.fault.as_deref()) {
        refuse(format_args!("{why}"));
    }
    let over = Box::leak(Box::new(AtomicBool::new(false)));
    let child = Child { leg, page, exam, over, began };
    let stress = Cell { stress: leg.stress.clone(), ..Cell::default() }.switches();
    let mut builder = Runtime::builder()
        .procs(leg.procs)
        .gc_percent(leg.percent)
        .min_heap(2 << 20)
        .verify(leg.verify)
        .stress(stress)
        .trace(true)
        .stw_timeout(Duration::from_secs(5))
        // Large objects of the oracle are made on the stack.
        .stack(1 << 20);
    if leg.storm > 0 {
        builder = builder.preempt_storm(Duration::from_micros(leg.storm));
    }
    let watched = outside::begin(page, began);
    // SAFETY: workers keep pointers on stacks, in heap objects, in roots, and in what passes through the runtime (a panic's
    // payload is read before the next safepoint); no std lock is held and no thread-local is used across a safepoint.
    let mut found = unsafe { builder.run(move || goroutine(child)) };
    found.times.push(Times::of_workers("a thread's hiccups, outside the runtime", &watched.end()));
    say(&Line::Snapshot(found));
    say(&Line::Clean);
    std::process::exit(0)
}

fn refuse(why: std::fmt::Arguments<'_>) -> ! {
    eprintln!("tricolor-stress: {why}");
    std::process::exit(2)
}

/// Writes a line. Outside the runtime, or in a blocking call.
fn say(line: &Line) {
    let mut text = serde_json::to_string(line).expect("plain data");
    text.push('\n');
    // If nobody listens any more, nothing is left to do.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn say_blocking(line: Line) {
    let mut text = serde_json::to_string(&line).expect("plain data");
    text.push('\n');
    blocking((text,), |(text,)| drop(std::io::stdout().write_all(text.as_bytes())));
}

/// The main goroutine: one phase after the other.
fn goroutine(child: Child) -> Snapshot {
    let Child { leg, page, began, .. } = child;
    page.procs.store(leg.procs as u32, Relaxed);
    let done: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
    let mut recorded = BTreeMap::new();
    let mut oracle = None;
    for (i, phase) in leg.phases.iter().enumerate() {
        // In a quiet phase nobody but its workers moves, and no timer is due.
        done.store(false, Relaxed);
        let sampler = (!phase.quiet).then(|| spawn(move || sample(child, done)));
        run_phase(child, i, phase, &mut oracle, &mut recorded);
        done.store(true, Relaxed);
        if let Some(sampler) = sampler {
            sampler.join().expect("a panic ends the process");
        }
        say_blocking(Line::Sample(Sample::take(began.elapsed().as_secs_f64(), i, page.procs.load(Relaxed))));
        say_blocking(Line::Snapshot(snapshot(child, &recorded)));
    }
    snapshot(child, &recorded)
}

fn snapshot(child: Child, recorded: &BTreeMap<&str, Histogram<u64>>) -> Snapshot {
    let mut snapshot = Snapshot::take(child.began.elapsed().as_secs_f64());
    snapshot.times.extend(recorded.iter().map(|(name, h)| Times::of_workers(name, h)));
    snapshot
}

/// Looks every 100 ms or so.
fn sample(child: Child, done: &AtomicBool) {
    for i in 0_u32.. {
        if done.load(Relaxed) {
            break;
        }
        let page = child.page;
        let phase = (page.phases.load(Relaxed) as usize).saturating_sub(1);
        let sample = Sample::take(child.began.elapsed().as_secs_f64(), phase, page.procs.load(Relaxed));
        page.worst_stop.store(sample.worst.0.max(sample.worst.1), Relaxed);
        page.cycles.store(sample.cycles.into(), Relaxed);
        say_blocking(Line::Sample(sample));
        if i % 8 == 1 {
            say_blocking(Line::Snapshot(Snapshot::take(child.began.elapsed().as_secs_f64())));
        }
        time::sleep(Duration::from_millis(100));
    }
}

/// Starts the workers of a phase, waits, and joins them.
fn run_phase(
    child: Child,
    i: usize,
    phase: &'static Phase,
    oracle: &mut Option<Box<Oracle>>,
    recorded: &mut BTreeMap<&'static str, Histogram<u64>>,
) {
    let Child { leg, page, exam, over, began } = child;
    over.store(false, Relaxed);
    let crew: Vec<(Kind, usize)> = phase.crew.iter().flat_map(|(kind, n)| (0..*n).map(|k| (*kind, k))).collect();
    let crew = &crew[..crew.len().min(SLOTS)];
    // Those that keep objects share what is to be kept.
    let keep = |kind: Kind| matches!(kind, Kind::Alloc | Kind::Arrays);
    let keepers = crew.iter().filter(|(kind, _)| keep(*kind)).count().max(1);
    for slot in &page.slots {
        slot.state.store(FREE, Relaxed);
        slot.ticks.store(0, Relaxed);
    }
    page.used.store(crew.len() as u32, Relaxed);
    let ends = began.elapsed() + Duration::from_secs_f64(phase.seconds);
    page.phase_ends.store(ends.as_millis() as u64, Relaxed);
    page.phases.store(i as u32 + 1, Relaxed);
    outside::signals(phase.signals);
    let workers: Vec<JoinHandle<Harvest>> = crew
        .iter()
        .zip(&page.slots)
        .enumerate()
        .map(|(n, ((kind, number), slot))| {
            let seed = mix(leg.wanted.seed ^ ((i as u64) << 32) ^ n as u64);
            let live = leg.live as usize / keepers;
            let w = Worker { kind: *kind, number: *number, slot, page, leg, exam, over, phase: i, seed, live };
            let oracle = if *kind == Kind::Oracle { oracle.take() } else { None };
            slot.kind.store(*kind as u32, Relaxed);
            let handle = spawn(move || {
                w.slot.state.store(WORKS, Relaxed);
                let harvest = w.work(oracle);
                w.slot.state.store(FREE, Relaxed);
                harvest
            });
            slot.goroutine.store(handle.id(), Relaxed);
            handle
        })
        .collect();
    time::sleep(ends.saturating_sub(began.elapsed()));
    over.store(true, Relaxed);
    for worker in workers {
        let harvest = worker.join().expect("a panic ends the process");
        if let Some((name, more)) = harvest.times {
            recorded.entry(name).or_insert_with(times).add(more).expect("the same bounds");
        }
        *oracle = oracle.take().or(harvest.oracle);
    }
    outside::signals(false);
}
