//! How many stops there were, and how long they took, by reason. Only the stopper records. A stop is in both
//! histograms of its reason or in none, for who reads on a goroutine; for the stopper itself it has not ended yet.

use crate::histogram::{Distribution, Histogram, Snapshot};
use gc_core::StopReason;
use gc_core::sync::current::Region;
use gc_core::sync::{AtomicU64, MapError, Ordering, Table, Zeroed};

// Relaxed throughout: statistics.
const O: Ordering = Ordering::Relaxed;

/// The stops of one reason.
struct Row {
    to_stop: Histogram,
    stopped: Histogram,
}

// SAFETY: all zero is what `zeroed` makes: nothing recorded.
unsafe impl Zeroed for Row {
    fn zeroed() -> Row {
        Row { to_stop: Histogram::zeroed(), stopped: Histogram::zeroed() }
    }
}

/// All stops of a scheduler.
pub(crate) struct StopTimes {
    rows: Table<Row>,
    /// When the current stop stood. The stopper's.
    stood_at: AtomicU64,
    /// How long that had taken. The stopper's.
    to_stop: AtomicU64,
}

impl StopTimes {
    pub(crate) fn new() -> Result<StopTimes, MapError> {
        Ok(StopTimes {
            rows: Table::new(StopReason::ALL.len())?,
            stood_at: AtomicU64::new(0),
            to_stop: AtomicU64::new(0),
        })
    }

    /// The world stands, `to_stop` nanoseconds after the request. By the stopper.
    pub(super) fn stood(&self, why: StopReason, now: u64, to_stop: u64) {
        self.rows[why as usize].to_stop.record(to_stop);
        self.stood_at.store(now, O);
        self.to_stop.store(to_stop, O);
    }

    /// It is about to run again. By the stopper. When the stop was asked for, how long it took, how long it was.
    pub(super) fn runs(&self, why: StopReason, now: u64) -> (u64, u64, u64) {
        let (stood_at, to_stop) = (self.stood_at.load(O), self.to_stop.load(O));
        self.rows[why as usize].stopped.record(now - stood_at);
        (stood_at - to_stop, to_stop, now - stood_at)
    }

    /// Bytes of the histograms.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>()
    }

    /// A copy for the program. Allocates. The caller is on a goroutine.
    pub(crate) fn read(&self) -> Vec<StopRow> {
        let rows = StopReason::ALL.iter().zip(self.rows.as_slice());
        let (mut to_stop, mut stopped) = (Snapshot::new(), Snapshot::new());
        rows.map(|(reason, row)| {
            {
                // The world does not stand before the reader has left the runtime, so a stop is in both or in none. Nothing
                // is allocated meanwhile: who has malloc's lock may be suspended already.
                let _region = Region::enter();
                row.to_stop.copy(&mut to_stop);
                row.stopped.copy(&mut stopped);
            }
            let to_stop = to_stop.distribution();
            StopRow {
                reason: *reason,
                name: reason.name(),
                count: to_stop.count(),
                to_stop,
                stopped: stopped.distribution(),
            }
        })
        .collect()
    }
}

/// The stops of one reason so far.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StopRow {
    /// Why the world was stopped.
    pub reason: StopReason,
    /// The reason's name, as in reports.
    pub name: &'static str,
    /// How often the world stood for it.
    pub count: u64,
    /// From the request, once it was this requester's turn, until the last P had stopped.
    pub to_stop: Distribution,
    /// From then until the world ran again. One less than `count` while it stands.
    pub stopped: Distribution,
}
