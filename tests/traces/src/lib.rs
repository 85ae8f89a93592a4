//! Reads traces with what Perfetto's published schema generates. A workspace of its own, since that takes long to build.

use perfetto_protos::trace::Trace;
use protobuf::Message;
use std::collections::HashMap;
use std::path::Path;

pub use perfetto_protos::track_event::track_event::Type;

/// An event of a track, in the order of the clock.
#[derive(Debug)]
pub struct Item {
    pub at: u64,
    pub track: u64,
    pub kind: Type,
    pub name: String,
    pub flows: Vec<u64>,
    pub ended_flows: Vec<u64>,
    /// Of its annotations: texts, and numbers as such.
    pub notes: HashMap<String, String>,
}

pub struct Decoded {
    pub items: Vec<Item>,
    /// Names of tracks.
    pub tracks: HashMap<u64, String>,
}

/// Reads a trace.
///
/// # Panics
/// If it is none, or has what a trace of the runtime does not have.
pub fn decode(bytes: &[u8]) -> Decoded {
    let file = Trace::parse_from_bytes(bytes).expect("a trace of Perfetto's");
    let (mut items, mut tracks) = (Vec::new(), HashMap::new());
    for packet in &file.packet {
        if packet.has_track_descriptor() {
            let track = packet.track_descriptor();
            let name = if track.has_name() { track.name() } else { track.thread.thread_name() };
            assert!(tracks.insert(track.uuid(), name.to_owned()).is_none(), "one description for each track");
        } else if packet.has_track_event() {
            let event = packet.track_event();
            let note = |a: &perfetto_protos::debug_annotation::DebugAnnotation| {
                let value = if a.has_string_value() { a.string_value().to_owned() } else { a.uint_value().to_string() };
                (a.name().to_owned(), value)
            };
            items.push(Item {
                at: packet.timestamp(),
                track: event.track_uuid(),
                kind: event.type_(),
                name: event.name().to_owned(),
                flows: event.flow_ids.clone(),
                ended_flows: event.terminating_flow_ids.clone(),
                notes: event.debug_annotations.iter().map(note).collect(),
            });
        } else {
            panic!("a packet of another kind: {packet:?}");
        }
    }
    // Stable: what is at the same time stays in the order of the file.
    items.sort_by_key(|item| item.at);
    Decoded { items, tracks }
}

impl Decoded {
    pub fn read(path: &Path) -> Decoded {
        decode(&std::fs::read(path).expect("the trace is there"))
    }

    /// Each begin has its end, on its own track; each event a track with a name.
    pub fn slices_are_whole(&self) {
        let mut depth: HashMap<u64, i64> = HashMap::new();
        for item in &self.items {
            assert!(self.tracks.get(&item.track).is_some_and(|name| !name.is_empty()), "no such track: {item:?}");
            let depth = depth.entry(item.track).or_default();
            match item.kind {
                Type::TYPE_SLICE_BEGIN => *depth += 1,
                Type::TYPE_SLICE_END => *depth -= 1,
                Type::TYPE_INSTANT => {}
                other => panic!("{other:?}"),
            }
            assert!(*depth >= 0, "an end without a begin: {item:?}");
        }
        for (track, depth) in depth {
            assert_eq!(depth, 0, "begins without ends on {}", self.tracks[&track]);
        }
    }

    /// Each flow begins once, and ends once, later; but for so many goroutines that were runnable when the trace began,
    /// and when it ended.
    pub fn flows_match(&self, before: usize, after: usize) {
        let (mut begun, mut ended, mut others) = (HashMap::new(), 0, 0);
        for item in &self.items {
            for flow in &item.flows {
                assert!(begun.insert(*flow, item.at).is_none(), "begun twice: {item:?}");
            }
            for flow in &item.ended_flows {
                ended += 1;
                others += usize::from(begun.remove(flow).is_none());
            }
        }
        assert!(others <= before, "{others} of {ended} come from nowhere");
        assert!(ended > 0 && begun.len() <= after, "{} of {ended} go nowhere", begun.len());
    }

    pub fn count(&self, kind: Type, name: &str) -> u64 {
        self.items.iter().filter(|item| item.kind == kind && item.name == name).count() as u64
    }

    pub fn instants(&self, name: &str) -> u64 {
        self.count(Type::TYPE_INSTANT, name)
    }

    pub fn slices(&self, name: &str) -> u64 {
        self.count(Type::TYPE_SLICE_BEGIN, name)
    }
}
