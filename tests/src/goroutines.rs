//! Goroutines as the hosts of the mutators of [`oracle`](crate::oracle).

use crate::oracle::shared::Parcel;
use crate::oracle::{Host, Job};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use tricolor::JoinHandle;
use tricolor::chan::{Receiver, Sender, TrySendError, bounded};

/// Goroutines as mutators. Parcels go from one to another through whatever the runtime keeps between two points: a
/// buffer, a waiting goroutine, the closure of one that has not run yet, the result of one that has ended.
#[derive(Clone, Copy)]
pub struct Goroutines(&'static Ways);

struct Ways {
    buffered: (Sender<Parcel>, Receiver<Parcel>),
    /// What goes in here (`None`: no more) a relay carries to `from_relay`.
    to_relay: (Sender<Option<Parcel>>, Receiver<Option<Parcel>>),
    from_relay: (Sender<Parcel>, Receiver<Parcel>),
    relay: Mutex<Option<JoinHandle<()>>>,
    carried: Mutex<Vec<JoinHandle<Parcel>>>,
    /// Parcels that were sent by any way and not received.
    in_transit: AtomicUsize,
}

/// Most goroutines that carry a parcel.
const CARRIERS: usize = 8;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody fails with it")
}

/// The value that a channel did not take.
fn refused<T>(error: TrySendError<T>) -> T {
    match error {
        TrySendError::Full(value) | TrySendError::Disconnected(value) => value,
    }
}

impl Goroutines {
    pub fn start() -> Goroutines {
        Goroutines(Box::leak(Box::new(Ways {
            buffered: bounded(4),
            to_relay: bounded(0),
            from_relay: bounded(0),
            relay: Mutex::default(),
            carried: Mutex::default(),
            in_transit: AtomicUsize::new(0),
        })))
    }

    /// Waits for a parcel, and has it on its stack while it waits for somebody to take it.
    fn relay(self) {
        while let Ok(Some(parcel)) = self.0.to_relay.1.recv() {
            if self.0.from_relay.0.send(parcel).is_err() {
                break;
            }
        }
    }

    /// Some number, so that all ways are used.
    fn turn(self) -> usize {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        TURN.fetch_add(1, Ordering::Relaxed)
    }

    fn carry(self, parcel: Parcel) -> Option<Parcel> {
        if lock(&self.0.carried).len() >= CARRIERS {
            return Some(parcel);
        }
        let carrier = tricolor::spawn(move || {
            tricolor::yield_now();
            parcel
        });
        lock(&self.0.carried).push(carrier);
        None
    }

    fn carried(self) -> Option<Parcel> {
        // The lock is free before `join`, which may wait.
        let carrier = lock(&self.0.carried).pop();
        carrier.map(|carrier| carrier.join().expect("a panic ends the process"))
    }
}

impl Host for Goroutines {
    fn poll(self) {
        tricolor::poll();
    }

    fn pause(self) {
        tricolor::yield_now();
    }

    fn run_all(self, jobs: Vec<Job>) {
        let relay = tricolor::spawn(move || self.relay());
        *lock(&self.0.relay) = Some(relay);
        let all: Vec<_> = jobs.into_iter().map(tricolor::spawn).collect();
        all.into_iter().for_each(|goroutine| goroutine.join().expect("a panic ends the process"));
    }

    fn send(self, parcel: Parcel) -> Option<Parcel> {
        self.0.in_transit.fetch_add(1, Ordering::SeqCst);
        let back = match self.turn() % 3 {
            0 => self.0.buffered.0.try_send(parcel).err().map(refused),
            1 => self.0.to_relay.0.try_send(Some(parcel)).err().and_then(refused),
            _ => self.carry(parcel),
        };
        if back.is_some() {
            self.0.in_transit.fetch_sub(1, Ordering::SeqCst);
        }
        back
    }

    fn receive(self) -> Option<Parcel> {
        let parcel = match self.turn() % 3 {
            0 => self.0.buffered.1.try_recv().ok(),
            1 => self.0.from_relay.1.try_recv().ok(),
            _ => self.carried(),
        };
        if parcel.is_some() {
            self.0.in_transit.fetch_sub(1, Ordering::SeqCst);
        }
        parcel
    }

    fn rest(self) {
        let relay = lock(&self.0.relay).take();
        if let Some(relay) = relay {
            self.0.to_relay.0.send(None).expect("there is a receiver");
            relay.join().expect("a panic ends the process");
        }
    }

    fn in_transit(self) -> usize {
        self.0.in_transit.load(Ordering::SeqCst)
    }
}
