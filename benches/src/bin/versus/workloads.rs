//! What is measured, in which units, and by whom.

use serde::Serialize;

/// Workloads that the same contestants take part in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    Net,
    Scheduling,
    Memory,
    Program,
    Barrier,
    Stops,
    Marking,
}

/// What Tricolor's figure should come to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Goal {
    /// So many times what that peer's comes to: at most, or at least where more is better.
    Times(f64, &'static str),
    /// At most so much.
    AtMost(f64),
}

/// A figure that a workload gives.
pub struct Metric {
    /// By which the program tells it. `cpu` and `peak` that it does not tell are what the kernel says of it in the end.
    pub name: &'static str,
    pub unit: &'static str,
    /// Otherwise less is better.
    pub more_is_better: bool,
    pub goal: Option<Goal>,
    /// Only a point of the latency plot, and no row of the table.
    pub point: bool,
}

impl Metric {
    /// With a goal: so many times Go's.
    const fn of_go(mut self, times: f64) -> Metric {
        self.goal = Some(Goal::Times(times, "go"));
        self
    }

    /// With a goal: so many times Java's.
    const fn of_java(mut self, times: f64) -> Metric {
        self.goal = Some(Goal::Times(times, "java"));
        self
    }

    const fn at_most(mut self, value: f64) -> Metric {
        self.goal = Some(Goal::AtMost(value));
        self
    }
}

const fn less(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, more_is_better: false, goal: None, point: false }
}

const fn more(name: &'static str, unit: &'static str) -> Metric {
    Metric { more_is_better: true, ..less(name, unit) }
}

/// A quantile of latencies, in microseconds, for the plot alone.
const fn point(name: &'static str) -> Metric {
    Metric { point: true, ..less(name, "us") }
}

/// The quantiles that make a line of the latency plot, in order.
pub const QUANTILES: [&str; 6] = ["median", "p90", "p99", "p99.9", "p99.99", "worst"];

/// What the contestants' heaps are like.
#[derive(Clone, Copy)]
pub enum Heap {
    /// As they are by themselves.
    Own,
    /// All may use so many MiB, and use them before they collect.
    UpTo(u32),
    /// On huge pages, where that can be asked for.
    Huge,
}

pub struct Workload {
    pub name: &'static str,
    pub group: Group,
    pub what: &'static str,
    /// How much runs at once.
    pub procs: usize,
    /// With `--quick`, sizes are divided by this.
    pub quick: u32,
    pub heap: Heap,
    pub metrics: &'static [Metric],
}

/// Suffix of the rows in which all may use what Java takes at its peak.
const AS_JAVA: &str = "-as-java";
/// Suffix of the row with huge pages.
const HUGE: &str = "-huge";

impl Workload {
    /// The program serves, and the load comes from here.
    pub fn is_server(&self) -> bool {
        self.group == Group::Net
    }

    /// What the programs call it: they know nothing of how many Ps a row has, and how large its heap is.
    pub fn program_name(&self) -> &'static str {
        ["-1p", AS_JAVA, HUGE].iter().find_map(|suffix| self.name.strip_suffix(suffix)).unwrap_or(self.name)
    }
}

const fn marking(name: &'static str, metrics: &'static [Metric], what: &'static str) -> Workload {
    Workload { name, group: Group::Marking, what, procs: 1, quick: 64, heap: Heap::Own, metrics }
}

const GRAPH: &[Metric] = &[more("rate", "MiB/CPU s").of_go(6.0)];

const NANOS: &[Metric] = &[less("time", "ns")];
/// As most operations of the scheduler should be.
const HALF: &[Metric] = &[less("time", "ns").of_go(0.5)];

const fn scheduling(name: &'static str, procs: usize, metrics: &'static [Metric], what: &'static str) -> Workload {
    Workload { name, group: Group::Scheduling, what, procs, quick: 100, heap: Heap::Own, metrics }
}

const fn memory(name: &'static str, metrics: &'static [Metric], what: &'static str) -> Workload {
    Workload { name, group: Group::Memory, what, procs: 2, quick: 64, heap: Heap::Own, metrics }
}

/// Beside a Java whose heap may have 512 MiB, and which takes so much.
const fn as_java(name: &'static str, heap: u32, what: &'static str) -> Workload {
    Workload { heap: Heap::UpTo(heap), ..memory(name, BESIDE_JAVA, what) }
}

const EACH: &[Metric] = &[less("time", "ns"), less("cpu", "ns")];
const SMALL: &[Metric] = &[less("time", "ns").of_go(0.5), less("cpu", "ns").of_go(0.5)];

const WORK: &[Metric] = &[less("wall", "ms"), less("cpu", "ms"), less("peak", "MiB")];
const TREES: &[Metric] = &[less("wall", "ms").of_go(0.5), less("cpu", "ms").of_go(0.6), less("peak", "MiB").of_go(1.0)];
const BENCH: &[Metric] = &[less("wall", "ms").of_go(0.5), less("cpu", "ms"), less("peak", "MiB")];
const BESIDE_JAVA: &[Metric] = &[less("wall", "ms").of_java(1.0), less("cpu", "ms"), less("peak", "MiB")];

const fn stops(name: &'static str, quick: u32, metrics: &'static [Metric], what: &'static str) -> Workload {
    Workload { name, group: Group::Stops, what, procs: 2, quick, heap: Heap::Own, metrics }
}

const fn barrier(name: &'static str, quick: u32, metrics: &'static [Metric], what: &'static str) -> Workload {
    Workload { name, group: Group::Barrier, what, procs: 2, quick, heap: Heap::Own, metrics }
}

pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "echo",
        group: Group::Net,
        what: "a server for 1,000 loopback connections, each with a message of 64 B under way",
        procs: 2,
        quick: 10,
        heap: Heap::Own,
        metrics: &[
            more("requests", "1/s"),
            point("median"),
            point("p90"),
            point("p99"),
            less("p99.9", "us"),
            point("p99.99"),
            point("worst"),
            less("cpu", "us/request"),
        ],
    },
    scheduling("spawn-join", 2, HALF, "a goroutine is made, runs, and is waited for"),
    scheduling("yield-2-1p", 1, HALF, "a yield, between two on one P"),
    scheduling("yield-2", 2, HALF, "a yield, two goroutines on two Ps"),
    scheduling("yield-1000", 2, HALF, "a yield, 1,000 goroutines on two Ps"),
    scheduling("ping-pong-1p", 1, HALF, "there and back through unbuffered channels, one P"),
    scheduling("ping-pong", 2, HALF, "the same, two Ps"),
    scheduling("buffered", 2, HALF, "a number through a channel with room for 64"),
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
        &[less("memory", "B").at_most(5120.0), less("time", "ns")],
        "a million goroutines that wait: page tables counted, each",
    ),
    scheduling(
        "read-byte",
        2,
        &[less("time", "ns"), less("over-raw", "ns").of_go(0.5)],
        "read(2) of a byte of /dev/zero as a goroutine does it, and less what the bare call takes",
    ),
    memory("trees-1w", TREES, "binary trees of depth 19, one worker"),
    memory("trees-2w", TREES, "the same, two workers"),
    memory("gcbench", BENCH, "GCBench: trees from the top and from the bottom, of depths 4 to 18"),
    as_java("trees-1w-as-java", 384, "binary trees, one worker, and as much memory as Java takes"),
    as_java("trees-2w-as-java", 384, "the same, two workers"),
    as_java("gcbench-as-java", 448, "GCBench, and as much memory as Java takes"),
    memory("alloc-16", SMALL, "a short-lived object of 16 B over a live heap of 50 MB, collection included"),
    memory("alloc-32", SMALL, "32 B"),
    memory("alloc-64", SMALL, "64 B"),
    memory("alloc-128", SMALL, "128 B"),
    memory("alloc-1024", EACH, "1 KiB"),
    memory("alloc-4096", EACH, "4 KiB"),
    memory("alloc-32-2w", SMALL, "32 B, two workers; each"),
    memory(
        "ring",
        &[
            point("median"),
            point("p90"),
            point("p99"),
            point("p99.9"),
            less("p99.99", "us").of_go(0.5),
            less("worst", "us").of_go(0.5),
            less("peak", "MiB"),
        ],
        "a push into a ring of 200,000 live messages of 1 KiB",
    ),
    Workload {
        name: "word-index",
        group: Group::Program,
        what: "an index of all words of a folder (`--texts`), built by all goroutines at once, without locks",
        procs: 2,
        quick: 4,
        heap: Heap::Own,
        metrics: WORK,
    },
    barrier("store-off", 64, &[less("time", "ns").of_go(1.0)], "a pointer store while nothing is collected"),
    barrier("store-on", 4, HALF, "the same beside a collector that marks 512 MiB again and again"),
    stops(
        "stops",
        64,
        &[less("median", "us"), point("p90"), less("p99", "us").of_go(0.5), less("worst", "us").of_go(0.5)],
        "a stop of the world with 2 GiB alive: request until the world goes on",
    ),
    stops(
        "hiccups",
        64,
        &[
            point("median"),
            point("p90"),
            point("p99"),
            point("p99.9"),
            less("p99.99", "us"),
            less("control", "us"),
            less("over-control", "us").of_go(0.1),
            less("worst", "us"),
        ],
        "a step of a mutator, of some microseconds, beside a collector that marks 2 GiB again and again",
    ),
    stops(
        "stop-loop",
        10,
        &[less("median", "us").of_go(0.7), point("p90"), less("p99", "us").of_go(0.7), less("worst", "us")],
        "stopping a loop without safepoints: request until the world stands",
    ),
    marking("mark-graph", GRAPH, "marking a random graph, 64 B with 4 pointers"),
    Workload {
        heap: Heap::Huge,
        ..marking("mark-graph-huge", GRAPH, "the same on huge pages, which only Tricolor can be asked for")
    },
    marking("mark-tree", &[more("rate", "MiB/CPU s").of_go(3.0)], "marking a binary tree of 32 B nodes"),
    marking("mark-ordered", &[more("rate", "MiB/CPU s").of_go(2.0)], "marking a slice of pointers to 48 B leaves"),
    marking("mark-shuffled", &[more("rate", "MiB/CPU s").of_go(2.0)], "the same in random order"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_metrics_are_unique_and_points_are_quantiles() {
        for (i, w) in WORKLOADS.iter().enumerate() {
            assert!(WORKLOADS[..i].iter().all(|other| other.name != w.name), "{}", w.name);
            for (j, m) in w.metrics.iter().enumerate() {
                assert!(w.metrics[..j].iter().all(|other| other.name != m.name), "{}: {}", w.name, m.name);
                assert!(!m.point || QUANTILES.contains(&m.name), "{}: {}", w.name, m.name);
            }
        }
    }

    #[test]
    fn programs_are_asked_by_their_own_names() {
        let name = |row| WORKLOADS.iter().find(|w| w.name == row).unwrap().program_name();
        assert_eq!(
            [name("yield-2-1p"), name("gcbench-as-java"), name("mark-graph-huge"), name("alloc-32-2w")],
            ["yield-2", "gcbench", "mark-graph", "alloc-32-2w"]
        );
    }
}
