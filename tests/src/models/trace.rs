//! The trace: what happened in the last execution, step by step, with thread, phase and colour of X.
//!
//! The model `greyobject` says what its X is; the steps of its twin then have the numbers, and the words, that they have in
//! the message of Go's commit 41dbcc19ef.

use gc_core::GcP;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Log {
    /// Whether anybody wants it.
    on: bool,
    marking: bool,
    /// The object of the commit's message, and its colour.
    x: Option<usize>,
    colour: &'static str,
    /// Steps of the message, as they came.
    steps: Vec<usize>,
    /// Objects that have a name, or by the order in which they came up.
    objects: Vec<(usize, String)>,
    names: Vec<(loom::thread::ThreadId, &'static str)>,
    lines: Vec<String>,
}

/// A std lock: what is written down is no part of the model.
static LOG: Mutex<Log> = Mutex::new(Log {
    on: false,
    marking: false,
    x: None,
    colour: "-",
    steps: Vec::new(),
    objects: Vec::new(),
    names: Vec::new(),
    lines: Vec::new(),
});

/// Entries that say no more than other steps do.
const QUIET: &[&str] = &["Heap::greyobject", "MarkMap::mark", "Heap::write_states", "GcP::flush"];

fn log() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on steps are written down.
pub fn listen() {
    log().on = true;
    gc_core::model::listen(step);
}

/// An execution begins.
pub fn begin() {
    let mut log = log();
    log.marking = false;
    (log.x, log.colour) = (None, "-");
    log.steps.clear();
    log.objects.clear();
    log.names.clear();
    log.lines.clear();
}

/// What this thread is called.
pub fn thread(name: &'static str) {
    log().names.push((loom::thread::current().id(), name));
}

/// The object whose colour is of interest, and the names of others.
pub fn watch(x: usize, others: &[(usize, &str)]) {
    let mut log = log();
    (log.x, log.colour) = (Some(x), "white");
    log.objects = others.iter().map(|(at, name)| (*at, (*name).into())).collect();
    log.objects.push((x, "X".into()));
    log.lines.clear();
}

/// Something that the model itself has seen.
pub fn note(number: usize, what: &str) {
    log().add(number, what);
}

/// Whether the numbered steps came in their order. Only a trace that has them so is worth to be shown; without one, any is.
pub fn in_order() -> bool {
    let log = log();
    !log.on || log.steps.is_sorted()
}

/// The steps of the execution that failed, which was the `executions`th.
pub fn print(executions: usize) {
    let log = log();
    if log.on {
        println!("execution {executions}, in which the model fails:\n");
        println!("step  {:<14} {:<6} {:<22} what happens", "thread", "phase", "colour of X");
        log.lines.iter().for_each(|line| println!("{line}"));
        println!();
    }
}

fn step(what: &'static str, object: usize) {
    if QUIET.contains(&what) {
        return;
    }
    let without_p = GcP::try_current().is_none();
    let mut log = log();
    match what {
        "marking begins" => log.marking = true,
        "marking ends" => log.marking = false,
        _ => {}
    }
    if log.x.is_some() {
        if log.x == Some(object) {
            log.colour = match what {
                "marked" => "marked, not enqueued",
                "enqueued" if !without_p => "grey",
                "handed out" => "grey",
                "scanned" => "black",
                _ => log.colour,
            };
        }
        log.as_in_2015(what, object, without_p);
    } else {
        let whom = log.name(object);
        let text = match (what, object) {
            (_, 0) if what.contains("::") || what.contains('_') => format!("enters {what}"),
            ("stopped", _) => "the world is stopped".into(),
            ("started", _) => "the world goes on".into(),
            (_, 0) => what.into(),
            _ => format!("{whom}: {what}"),
        };
        log.add(0, &text);
    }
}

impl Log {
    fn name(&mut self, object: usize) -> String {
        let named = self.objects.iter().find(|(at, _)| *at == object);
        named.map(|(_, name)| name.clone()).unwrap_or_else(|| {
            let name = format!("object {}", self.objects.len() + 1);
            self.objects.push((object, name.clone()));
            name
        })
    }

    fn as_in_2015(&mut self, what: &str, object: usize, without_p: bool) {
        let x = self.x == Some(object);
        let (number, text) = match (what, without_p) {
            ("stopped", _) if self.steps.is_empty() => (1, "stops the world by collecting all Ps"),
            ("stopped", _) => (0, "stops the world"),
            ("marking begins", _) => (0, "turns the barrier on: marking begins"),
            ("started", _) => (0, "starts the world"),
            ("shades without a P", _) if x => {
                (2, "returns from a syscall, tries to install a pointer to X, and calls greyobject on X")
            }
            ("marked", true) if x => (
                3,
                "marks X, but does not yet add it to a work buffer: X is effectively black, not grey, and points to Y, which \
                 is white",
            ),
            ("already marked", false) if x => {
                (4, "reaches X through A and calls greyobject on X, which does nothing because X is already marked")
            }
            ("marking ends", _) => (5, "completes"),
            ("handed out", true) if x => (6, "adds X to a work buffer, but it is too late"),
            ("marked", _) if x => (0, "marks X"),
            ("enqueued", false) if x => (0, "adds X to a work buffer"),
            ("scanned", _) if x => (0, "scans X"),
            ("marked" | "scanned", false) => {
                let whom = self.name(object);
                return self.add(0, &format!("{} {whom}", if what == "marked" { "marks" } else { "scans" }));
            }
            _ => return,
        };
        self.add(number, text);
    }

    fn add(&mut self, number: usize, what: &str) {
        let id = loom::thread::current().id();
        let name = self.names.iter().find(|(of, _)| *of == id).map_or_else(|| format!("{id:?}"), |(_, n)| (*n).into());
        self.steps.extend((number != 0).then_some(number));
        let step = if number == 0 { String::new() } else { format!("{number}.") };
        let phase = if self.marking { "mark" } else { "off" };
        self.lines.push(format!("{step:>4}  {name:<14} {phase:<6} {:<22} {what}", self.colour));
    }
}
