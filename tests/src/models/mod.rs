//! The list of models. What runs them is in `cli`, `run` and `explore`; `trace` writes down what happens in one.

mod afterlife;
#[cfg(test)]
mod checks;
mod cli;
mod explore;
mod faults;
mod flips;
mod greyobject;
mod holders;
mod hybrid;
mod idle;
mod lock;
mod markers;
mod mutable;
mod mutators;
mod mutex;
mod netpoll;
mod partial;
mod preempt;
mod properties;
mod requests;
mod run;
mod runq;
mod select;
mod spans;
mod stop;
mod suspend;
mod timers;
mod trace;
mod transit;
mod turns;
mod world;

pub use cli::main;

/// One model: a property, and the fault that must break it.
#[derive(Clone, Copy)]
struct Model {
    name: &'static str,
    /// What is proved, in a sentence.
    property: &'static str,
    /// Where it comes from: commit, proposal, issue.
    source: &'static str,
    threads: usize,
    /// Preemptions per execution that loom explores; `None`: all.
    bound: Option<usize>,
    /// Fewer executions than this, and the model has become vacuous.
    least: usize,
    run: fn(),
    /// The production functions that it drives, by the names under which they say so (`gc_core::sync::modelled`): each must
    /// be entered.
    drives: &'static [&'static str],
    /// The planted faults (see `gc_core::faults`), each of which must make the model fail.
    twins: &'static [&'static str],
}

const MODELS: &[Model] = &[
    greyobject::MODEL,
    greyobject::EXIT,
    greyobject::FATAL,
    greyobject::FIELD,
    flips::WORD,
    flips::BARRIER_ON,
    flips::BUFFER,
    flips::TERMINATION,
    markers::RAGGED,
    flips::MARKS,
    transit::CHANNEL,
    transit::SPAWN,
    transit::BULK,
    transit::WRITERS,
    transit::CLAIM,
    transit::ROOT,
    transit::ROOT_WITH_P,
    hybrid::DELETION,
    hybrid::INSERTION,
    hybrid::BIRTH,
    partial::STORED,
    partial::ENTERED,
    mutable::INSIDE,
    mutable::ENTER,
    mutable::LEAVE,
    spans::BUFFERS,
    spans::SWEEP,
    spans::PUBLISH,
    spans::CACHED,
    afterlife::WEAK,
    afterlife::CLEANUP,
    afterlife::DROP,
    netpoll::READY,
    netpoll::AGAIN,
    netpoll::CLOSE,
    netpoll::DEADLINE,
    netpoll::EITHER,
    turns::FILE,
    turns::LATE,
    turns::READERS,
    timers::STOP,
    timers::SLEEP,
    select::WAKERS,
    select::LATE,
    select::BOTH,
    mutex::MODEL,
    lock::TWO,
    lock::THREE,
    runq::STEAL,
    runq::PUBLISH,
    runq::NEXT,
    runq::FULL,
    runq::HANDED_OVER,
    runq::WAKE,
    runq::WAKE_GLOBAL,
    idle::WATCH,
    idle::SYSMON,
    idle::STOPPED,
    stop::DOOR,
    stop::REQUEST,
    stop::HANDOFF,
    stop::SYSCALL,
    stop::COUNT,
    stop::RETAKE,
    stop::TWO,
    stop::HANDSHAKE,
    turns::STOP,
    suspend::REFUSED,
    requests::ONE,
    requests::ANSWER,
    requests::SLICE,
    holders::AFTER_STOP,
    holders::BOTH,
    holders::END,
    holders::REUSE,
    preempt::XREGS,
    preempt::SCAN,
    preempt::CTXT,
    preempt::CTXT_QUEUED,
];

fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|m| m.name == name)
}
