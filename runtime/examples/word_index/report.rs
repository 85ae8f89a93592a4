//! What is printed at the end. A report holds plain data, so it can leave the runtime.

use crate::files::Tally;
use crate::index::{Index, Node};
use crate::postings::Chunk;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::fmt::{self, Display};
use std::time::{Duration, Instant};
use tricolor::gc::Stats;
use tricolor::{Gc, blocking, poll};

const TOP: usize = 20;

/// One index, measured.
pub struct Contents {
    pub tally: Tally,
    /// The most frequent words; among equals, in alphabetical order.
    top: Vec<(String, u64)>,
    distinct: u64,
    depth: u64,
    occurrences: u64,
    chunks: u64,
    bytes: u64,
    most_inside: u64,
}

impl Contents {
    pub fn of(index: Gc<Index>, tally: Tally) -> Contents {
        let mut best: Vec<(Reverse<u64>, String)> = Vec::new();
        let (mut distinct, mut depth, mut occurrences, mut chunks, mut letters) = (0, 0, 0, 0, 0);
        index.each(|node, at| {
            distinct += 1;
            depth = depth.max(at);
            occurrences += node.count();
            letters += node.word.len();
            chunks += node.chunks().inspect(|_| poll()).count();
            let place = best.partition_point(|(n, word)| (*n, &**word) < (Reverse(node.count()), &*node.word));
            if place < TOP {
                best.insert(place, (Reverse(node.count()), node.word.to_string()));
                best.truncate(TOP);
            }
        });
        let bytes = distinct * size_of::<Node>() + chunks * size_of::<Chunk>() + letters;
        Contents {
            tally,
            top: best.into_iter().map(|(Reverse(n), word)| (word, n)).collect(),
            distinct: distinct as u64,
            depth: depth as u64,
            occurrences,
            chunks: chunks as u64,
            bytes: bytes as u64,
            most_inside: index.most_inside(),
        }
    }
}

/// A round, when it is over.
pub struct Round {
    time: Duration,
    /// Resident memory of the process in bytes; 0 where the system does not say.
    rss: u64,
    cycles: u32,
}

impl Round {
    pub fn since(start: Instant) -> Round {
        let statm = blocking("/proc/self/statm", std::fs::read_to_string).unwrap_or_default();
        let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        Round { time: start.elapsed(), rss: pages * 4096, cycles: tricolor::gc::stats().cycles }
    }
}

/// All that the program has to say.
pub struct Report {
    pub contents: Contents,
    pub rounds: Vec<Round>,
    pub stats: Stats,
}

impl Report {
    pub fn json(&self) -> Value {
        let (c, t, s) = (&self.contents, &self.contents.tally, &self.stats);
        json!({
            "files": t.files,
            "binary": t.binary,
            "unreadable": t.unreadable,
            "links": t.links,
            "words": c.occurrences,
            "distinct": c.distinct,
            "top": c.top,
            "index": {
                "nodes": c.distinct,
                "depth": c.depth,
                "chunks": c.chunks,
                "bytes": c.bytes,
                "inserters": c.most_inside,
            },
            "gc": {
                "cycles": s.cycles,
                "stops": s.stops,
                "to_stop_us": micros(s.time_to_stop),
                "stopped_us": micros(s.time_stopped),
                "longest_stop_us": micros(s.longest_stop),
                "mark_us": micros(s.mark_assist + s.mark_dedicated + s.mark_idle),
                "live_bytes": s.marked_bytes,
                "live_objects": s.marked_objects,
                "allocated_bytes": s.allocated_bytes,
                "heap_bytes": s.heap_used,
                "verified_objects": s.verified_objects,
            },
            "rounds": self.rounds.iter().map(|r| json!({
                "us": micros(r.time), "rss": r.rss, "cycles": r.cycles,
            })).collect::<Value>(),
        })
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (c, t, s) = (&self.contents, &self.contents.tally, &self.stats);
        for (word, n) in &c.top {
            writeln!(f, "{n:>12}  {word}")?;
        }
        writeln!(f, "\nindex")?;
        writeln!(f, "  {} distinct words, {} occurrences, {} files", c.distinct, c.occurrences, t.files)?;
        writeln!(f, "  skipped: {} binary, {} unreadable, {} links", t.binary, t.unreadable, t.links)?;
        let (nodes, depth, chunks, mib_used) = (c.distinct, c.depth, c.chunks, mib(c.bytes));
        writeln!(f, "  {nodes} nodes (at most {depth} deep), {chunks} chunks of positions, {mib_used:.1} MiB")?;
        writeln!(f, "  up to {} inserters inside at once", c.most_inside)?;
        writeln!(f, "collector")?;
        let mark = s.mark_assist + s.mark_dedicated + s.mark_idle;
        writeln!(f, "  {} cycles, {:.1?} of processor time spent on marking", s.cycles, mark)?;
        writeln!(
            f,
            "  {} stops, {:.1?} until the world stood, {:.1?} stopped, longest stop {:.1?}",
            s.stops, s.time_to_stop, s.time_stopped, s.longest_stop
        )?;
        writeln!(
            f,
            "  {:.1} MiB allocated, {:.1} MiB in {} objects alive, heap {:.1} MiB",
            mib(s.allocated_bytes),
            mib(s.marked_bytes as u64),
            s.marked_objects,
            mib(s.heap_used as u64)
        )?;
        writeln!(f, "rounds")?;
        for (i, r) in self.rounds.iter().enumerate() {
            let (time, rss) = (r.time, mib(r.rss));
            writeln!(f, "  {}: {time:.2?}, {rss:.1} MiB resident, {} cycles so far", i + 1, r.cycles)?;
        }
        Ok(())
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
