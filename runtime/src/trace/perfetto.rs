//! From events to the part of Perfetto's trace format that we need (its `protos/perfetto/trace`): tracks, slices, flows.
//!
//! - A track for each P: a slice for each goroutine while it runs there, slices of marking, and what happens to the P.
//! - One for each M, with the thread's number: which P it holds, and its blocking calls.
//! - One for stops of the world (how long until it stood, how long it stood) and for handshakes, of which there is one at a
//!   time; one for cycles of the collector.
//! - A flow from where a goroutine became runnable to where it runs. Its number is that of the goroutine and how often that
//!   has been runnable, so both ends know it without asking each other.
//!
//! What is open on the tracks is known by the M that has opened it, whose events come in order; those of two Ms do not.
//! So packets are in no order over all, which Perfetto sorts. A begin always gets its end: at the latest where events of
//! its M are lost, or the trace ends.

use super::{ENDED, Event, Kind, OUTSIDE, REASON};
use prost::Message;
use std::collections::{HashMap, HashSet};

const PROCESS: u64 = 1;
const STOPS: u64 = 2;
const CYCLES: u64 = 3;
const MS: u64 = 1 << 32;
const PS: u64 = 2 << 32;

const SLICE_BEGIN: i32 = 1;
const SLICE_END: i32 = 2;
const INSTANT: i32 = 3;

#[derive(Clone, PartialEq, Message)]
struct Trace {
    #[prost(message, repeated, tag = "1")]
    packet: Vec<TracePacket>,
}

#[derive(Clone, PartialEq, Message)]
struct TracePacket {
    #[prost(uint64, optional, tag = "8")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "10")]
    trusted_packet_sequence_id: Option<u32>,
    #[prost(message, optional, tag = "11")]
    track_event: Option<TrackEvent>,
    #[prost(bool, optional, tag = "42")]
    previous_packet_dropped: Option<bool>,
    #[prost(message, optional, tag = "60")]
    track_descriptor: Option<TrackDescriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackDescriptor {
    #[prost(uint64, optional, tag = "1")]
    uuid: Option<u64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, optional, tag = "3")]
    process: Option<ProcessDescriptor>,
    #[prost(message, optional, tag = "4")]
    thread: Option<ThreadDescriptor>,
    #[prost(uint64, optional, tag = "5")]
    parent_uuid: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct ProcessDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(string, optional, tag = "6")]
    process_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ThreadDescriptor {
    #[prost(int32, optional, tag = "1")]
    pid: Option<i32>,
    #[prost(int32, optional, tag = "2")]
    tid: Option<i32>,
    #[prost(string, optional, tag = "5")]
    thread_name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TrackEvent {
    #[prost(message, repeated, tag = "4")]
    debug_annotations: Vec<DebugAnnotation>,
    #[prost(int32, optional, tag = "9")]
    r#type: Option<i32>,
    #[prost(uint64, optional, tag = "11")]
    track_uuid: Option<u64>,
    #[prost(string, optional, tag = "23")]
    name: Option<String>,
    #[prost(fixed64, repeated, packed = "false", tag = "47")]
    flow_ids: Vec<u64>,
    #[prost(fixed64, repeated, packed = "false", tag = "48")]
    terminating_flow_ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct DebugAnnotation {
    #[prost(uint64, optional, tag = "3")]
    uint_value: Option<u64>,
    #[prost(string, optional, tag = "6")]
    string_value: Option<String>,
    #[prost(string, optional, tag = "10")]
    name: Option<String>,
}

fn number(name: &str, n: u64) -> DebugAnnotation {
    DebugAnnotation { uint_value: Some(n), name: Some(name.into()), ..DebugAnnotation::default() }
}

fn text(name: &str, what: &str) -> DebugAnnotation {
    DebugAnnotation { string_value: Some(what.into()), name: Some(name.into()), ..DebugAnnotation::default() }
}

/// What an M has opened on the tracks.
#[derive(Default)]
struct Open {
    /// Its goroutine, on the track of this P.
    goroutine: Option<u64>,
    /// The P that it holds, on its own track.
    p: Option<u32>,
    /// A blocking call, on its own track.
    call: bool,
    /// Its stop of the world, or handshake.
    stop: bool,
}

/// Makes packets of events.
pub(super) struct Encoder {
    packets: Vec<TracePacket>,
    open: HashMap<usize, Open>,
    named: HashSet<u64>,
    pid: i32,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        let pid = std::process::id() as i32;
        let mut this = Encoder { packets: Vec::new(), open: HashMap::new(), named: HashSet::new(), pid };
        let name = std::env::current_exe().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        this.describe(TrackDescriptor {
            uuid: Some(PROCESS),
            process: Some(ProcessDescriptor { pid: Some(pid), process_name: name }),
            ..TrackDescriptor::default()
        });
        this.child(STOPS, "stops and handshakes".into());
        this.child(CYCLES, "collector".into());
        this
    }

    /// What there is so far, as a part of a file.
    pub(super) fn take(&mut self) -> Vec<u8> {
        Trace { packet: core::mem::take(&mut self.packets) }.encode_to_vec()
    }

    fn describe(&mut self, track: TrackDescriptor) {
        self.packets.push(TracePacket {
            trusted_packet_sequence_id: Some(1),
            track_descriptor: Some(track),
            ..TracePacket::default()
        });
    }

    fn child(&mut self, uuid: u64, name: String) {
        let (uuid, parent_uuid) = (Some(uuid), Some(PROCESS));
        self.describe(TrackDescriptor { uuid, parent_uuid, name: Some(name), ..TrackDescriptor::default() });
    }

    /// The track of the thread with this ring; `tid` is the thread's number.
    fn thread(&mut self, ring: usize, tid: u32) -> u64 {
        let uuid = MS + ring as u64;
        if !self.named.insert(uuid) {
            return uuid;
        }
        if ring == OUTSIDE {
            self.child(uuid, "sysmon and others".into());
        } else {
            let name = Some(format!("M{ring}"));
            let thread = Some(ThreadDescriptor { pid: Some(self.pid), tid: Some(tid as i32), thread_name: name });
            self.describe(TrackDescriptor { uuid: Some(uuid), thread, ..TrackDescriptor::default() });
        }
        uuid
    }

    fn p(&mut self, p: u32) -> u64 {
        let uuid = PS + u64::from(p);
        if self.named.insert(uuid) {
            self.child(uuid, format!("P{p}"));
        }
        uuid
    }

    fn push(&mut self, at: u64, kind: i32, track: u64, event: TrackEvent) -> &mut TracePacket {
        let event = TrackEvent { r#type: Some(kind), track_uuid: Some(track), ..event };
        self.packets.push(TracePacket {
            timestamp: Some(at),
            trusted_packet_sequence_id: Some(1),
            track_event: Some(event),
            ..TracePacket::default()
        });
        self.packets.last_mut().expect("just pushed")
    }

    fn begin(&mut self, at: u64, track: u64, name: String) -> &mut TracePacket {
        self.push(at, SLICE_BEGIN, track, TrackEvent { name: Some(name), ..TrackEvent::default() })
    }

    fn end(&mut self, at: u64, track: u64) -> &mut TracePacket {
        self.push(at, SLICE_END, track, TrackEvent::default())
    }

    fn instant(&mut self, at: u64, track: u64, name: &str) -> &mut TracePacket {
        self.push(at, INSTANT, track, TrackEvent { name: Some(name.into()), ..TrackEvent::default() })
    }

    /// Ends whatever this ring's M has open.
    fn close(&mut self, ring: usize, at: u64) {
        let open = self.open.remove(&ring).unwrap_or_default();
        let m = MS + ring as u64;
        let tracks = [
            open.goroutine,
            open.call.then_some(m),
            open.p.filter(|_| !open.call).map(|_| m),
            open.stop.then_some(STOPS),
        ];
        for track in tracks.into_iter().flatten() {
            self.end(at, track);
        }
    }

    /// The trace ends.
    pub(super) fn finish(&mut self, at: u64) {
        let mut rings: Vec<usize> = self.open.keys().copied().collect();
        rings.sort_unstable();
        rings.into_iter().for_each(|ring| self.close(ring, at));
    }

    /// So many events of a ring are gone; the next one is from `at`.
    pub(super) fn lost(&mut self, ring: usize, tid: u32, n: u64, at: u64) {
        self.close(ring, at);
        let track = self.thread(ring, tid);
        let packet = self.instant(at, track, "events lost");
        packet.previous_packet_dropped = Some(true);
        packet.annotate(number("events", n));
    }

    /// An event of a ring, at `at` nanoseconds of the clock.
    pub(super) fn event(&mut self, ring: usize, tid: u32, at: u64, e: &Event, length: u64) {
        let m = self.thread(ring, tid);
        let goid = e.goroutine.unwrap_or(0);
        let goroutine = number("goroutine", goid);
        let flow = goid << 24 | u64::from(e.arg >> 8);
        // What happens to a P stands on its track, else on the thread's.
        let here = e.p.map_or(m, |p| self.p(p));
        let mut open = self.open.remove(&ring).unwrap_or_default();
        match e.kind {
            Kind::GoStart => {
                if let Some(track) = open.goroutine.take() {
                    self.end(at, track);
                }
                let packet = self.begin(at, here, format!("goroutine {goid}"));
                if e.arg != 0 {
                    packet.event().terminating_flow_ids.push(flow);
                }
                open.goroutine = Some(here);
            }
            Kind::GoStop => {
                if let Some(track) = open.goroutine.take() {
                    self.end(at, track).annotate(text("then", e.detail()));
                }
                match e.arg & REASON {
                    0 => {
                        let packet = self.instant(at, here, "goroutine queued");
                        packet.event().flow_ids.push(flow);
                        packet.annotate(goroutine);
                    }
                    ENDED => self.instant(at, here, "goroutine ended").annotate(goroutine),
                    _ => {}
                }
            }
            Kind::GoCreate | Kind::GoReady => {
                let packet = self.instant(at, here, e.kind.name());
                packet.event().flow_ids.push(flow);
                packet.annotate(goroutine);
            }
            Kind::SyscallEnter => {
                if let Some(track) = open.goroutine.take() {
                    self.end(at, track).annotate(text("then", "syscall"));
                }
                if open.p.take().is_some() {
                    self.end(at, m);
                }
                self.begin(at, m, "syscall".into()).annotate(goroutine);
                open.call = true;
            }
            Kind::SyscallExit | Kind::SyscallExitStopped | Kind::SyscallExitOtherP | Kind::SyscallExitQueued => {
                if core::mem::take(&mut open.call) {
                    self.end(at, m).annotate(text("then", e.kind.name()));
                    if let Some(p) = open.p {
                        self.begin(at, m, format!("P{p}"));
                    }
                }
                if e.kind != Kind::SyscallExitQueued && e.p.is_some() && open.goroutine.is_none() {
                    self.begin(at, here, format!("goroutine {goid}"));
                    open.goroutine = Some(here);
                }
            }
            Kind::AcquireP => {
                // In a blocking call it is shown behind that.
                if let Some(p) = e.p {
                    if open.p.replace(p).is_some() && !open.call {
                        self.end(at, m);
                    }
                    if !open.call {
                        self.begin(at, m, format!("P{p}"));
                    }
                }
            }
            Kind::ReleaseP => {
                if open.p.take().is_some() && !open.call {
                    self.end(at, m);
                }
            }
            Kind::StopRequest => {
                if core::mem::replace(&mut open.stop, true) {
                    self.end(at, STOPS);
                }
                self.begin(at, STOPS, "stop requested".into()).annotate(text("reason", e.detail()));
            }
            Kind::WorldStopped => {
                if open.stop {
                    self.end(at, STOPS);
                    self.begin(at, STOPS, "world stopped".into()).annotate(text("reason", e.detail()));
                }
            }
            Kind::HandshakeRequest => {
                if core::mem::replace(&mut open.stop, true) {
                    self.end(at, STOPS);
                }
                self.begin(at, STOPS, "handshake".into());
            }
            Kind::WorldStarted | Kind::HandshakeDone => {
                if core::mem::take(&mut open.stop) {
                    self.end(at, STOPS);
                }
            }
            Kind::CycleStart => self.instant(at, CYCLES, e.kind.name()).annotate(number("cycle", e.arg.into())),
            Kind::CycleEnd => {
                self.begin(at.saturating_sub(length), CYCLES, "mark".into()).annotate(number("cycle", e.arg.into()));
                self.end(at, CYCLES);
            }
            Kind::MarkAssist | Kind::MarkDedicated | Kind::MarkIdle => {
                self.begin(at.saturating_sub(e.arg.into()), here, e.kind.name().into());
                self.end(at, here);
            }
            Kind::Sweep => self.instant(at, here, e.kind.name()).annotate(number("spans", e.arg.into())),
            Kind::Scavenge | Kind::Pretouch => {
                self.instant(at, here, e.kind.name()).annotate(number("KiB", e.arg.into()))
            }
            Kind::Retake
            | Kind::PreemptRequest
            | Kind::PreemptInject
            | Kind::PreemptDecline
            | Kind::Suspend
            | Kind::HandoffP
            | Kind::MStart => {
                let packet = self.instant(at, here, e.kind.name());
                if goid != 0 {
                    packet.annotate(goroutine);
                }
                if !e.detail().is_empty() {
                    packet.annotate(text("why", e.detail()));
                }
            }
        }
        self.open.insert(ring, open);
    }
}

impl TracePacket {
    fn event(&mut self) -> &mut TrackEvent {
        self.track_event.get_or_insert_default()
    }

    fn annotate(&mut self, what: DebugAnnotation) {
        self.event().debug_annotations.push(what);
    }
}
