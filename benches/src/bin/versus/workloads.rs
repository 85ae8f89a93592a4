//! What is measured, in which units, and by whom.

use serde::Serialize;

/// Workloads that the same contestants take part in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    Net,
    Scheduling,
    Memory,
    Barrier,
    Stops,
    Marking,
}

/// A figure that a workload gives.
pub struct Metric {
    /// By which the program tells it. `cpu` and `peak` that it does not tell are what the kernel says of it in the end.
    pub name: &'static str,
    pub unit: &'static str,
    /// Otherwise less is better.
    pub more_is_better: bool,
}

const fn less(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, more_is_better: false }
}

const fn more(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, more_is_better: true }
}

pub struct Workload {
    pub name: &'static str,
    pub group: Group,
    pub what: &'static str,
    /// How much runs at once.
    pub procs: usize,
    /// With `--quick`, sizes are divided by this.
    pub quick: u32,
    pub metrics: &'static [Metric],
}

impl Workload {
    /// The program serves, and the load comes from here.
    pub fn is_server(&self) -> bool {
        self.group == Group::Net
    }
}

const fn marking(name: &'static str, what: &'static str) -> Workload {
    const RATE: &[Metric] = &[more("rate", "MiB/CPU s")];
    Workload { name, group: Group::Marking, what, procs: 1, quick: 64, metrics: RATE }
}

const NANOS: &[Metric] = &[less("time", "ns")];

const fn scheduling(name: &'static str, procs: usize, metrics: &'static [Metric], what: &'static str) -> Workload {
    Workload { name, group: Group::Scheduling, what, procs, quick: 100, metrics }
}

const fn memory(name: &'static str, metrics: &'static [Metric], what: &'static str) -> Workload {
    Workload { name, group: Group::Memory, what, procs: 2, quick: 64, metrics }
}

const fn alloc(name: &'static str, what: &'static str) -> Workload {
    const EACH: &[Metric] = &[less("time", "ns"), less("cpu", "ns")];
    memory(name, EACH, what)
}

const WORK: &[Metric] = &[less("wall", "ms"), less("cpu", "ms"), less("peak", "MiB")];
const TAIL: &[Metric] = &[less("p99.99", "us"), less("worst", "us"), less("peak", "MiB")];

const fn stops(name: &'static str, quick: u32, what: &'static str) -> Workload {
    const STOPS: &[Metric] = &[less("median", "us"), less("p99", "us"), less("worst", "us")];
    Workload { name, group: Group::Stops, what, procs: 2, quick, metrics: STOPS }
}

pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "echo",
        group: Group::Net,
        what: "a server for 1,000 loopback connections, each with a message of 64 B under way",
        procs: 2,
        quick: 10,
        metrics: &[more("requests", "1/s"), less("p99.9", "us"), less("cpu", "us/request")],
    },
    scheduling("spawn-join", 2, NANOS, "a goroutine is made, runs, and is waited for"),
    scheduling("yield-2-1p", 1, NANOS, "a yield, between two on one P"),
    scheduling("yield-2", 2, NANOS, "a yield, two goroutines on two Ps"),
    scheduling("yield-1000", 2, NANOS, "a yield, 1,000 goroutines on two Ps"),
    scheduling("ping-pong-1p", 1, NANOS, "there and back through unbuffered channels, one P"),
    scheduling("ping-pong", 2, NANOS, "the same, two Ps"),
    scheduling("buffered", 2, NANOS, "a number through a channel with room for 64"),
    scheduling("select", 2, NANOS, "a number through one of four unbuffered channels, by select"),
    scheduling("mutex", 2, NANOS, "a mutex that eight goroutines want"),
    scheduling(
        "skynet",
        2,
        &[less("wall", "ms"), less("peak", "MiB")],
        "a tree of 1.1 million goroutines, ten below each",
    ),
    scheduling(
        "parked",
        2,
        &[less("memory", "B"), less("time", "ns")],
        "a million goroutines that wait: page tables counted, each",
    ),
    scheduling("read-byte", 2, NANOS, "read(2) of a byte of /dev/zero"),
    memory("trees-1w", WORK, "binary trees of depth 19, one worker"),
    memory("trees-2w", WORK, "the same, two workers"),
    memory("gcbench", WORK, "GCBench: trees from the top and from the bottom, of depths 4 to 18"),
    alloc("alloc-16", "a short-lived object of 16 B over a live heap of 50 MB, collection included"),
    alloc("alloc-32", "32 B"),
    alloc("alloc-64", "64 B"),
    alloc("alloc-128", "128 B"),
    alloc("alloc-1024", "1 KiB"),
    alloc("alloc-4096", "4 KiB"),
    alloc("alloc-32-2w", "32 B, two workers; each"),
    memory("ring", TAIL, "a push into a ring of 200,000 live messages of 1 KiB"),
    Workload {
        name: "store-off",
        group: Group::Barrier,
        what: "a pointer store while nothing is collected",
        procs: 2,
        quick: 64,
        metrics: NANOS,
    },
    Workload {
        name: "store-on",
        group: Group::Barrier,
        what: "the same beside a collector that marks 512 MiB again and again",
        procs: 2,
        quick: 4,
        metrics: NANOS,
    },
    stops("stops", 64, "a stop of the world with 2 GiB alive"),
    stops("stop-loop", 10, "stopping a loop without safepoints"),
    marking("mark-graph", "marking a random graph, 64 B with 4 pointers"),
    marking("mark-tree", "marking a binary tree of 32 B nodes"),
    marking("mark-ordered", "marking a slice of pointers to 48 B leaves"),
    marking("mark-shuffled", "the same in random order"),
];
