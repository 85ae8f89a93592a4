//! The page that the watched process and its watcher share: who works, how far each has come, and what was counted.
//!
//! The watcher made it, so it outlives the other one, whatever that dies of. All words are atomics that are zero at first.
//! Relaxed throughout: statistics, and words that are looked at again and again until they have not moved for long.

use super::kind::Kind;
use std::ffi::c_int;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Most workers of a phase, partners not counted.
pub const SLOTS: usize = 2048;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What workers count.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Count {
            $($(#[$doc])* $name,)*
        }

        impl Count {
            /// All of them, by name, in their order.
            pub const ALL: &[(&str, Count)] = &[$(($text, Count::$name)),*];
        }
    };
}

counts! {
    /// Stops that workers asked for.
    Stops = "stops asked for",
    /// Functions run on every P.
    Handshakes = "handshakes",
    /// Collections that workers asked for.
    Collections = "collections asked for",
    /// Changes of the number of Ps.
    SetProcs = "changes of procs",
    /// Values that went through a channel.
    Messages = "messages",
    /// Objects that workers made and compared. The oracle's are `Checked`.
    Objects = "objects",
    /// Objects that the oracle compared.
    Checked = "objects of the oracle",
    /// Bytes that came back over a socket.
    Echoed = "bytes echoed",
    /// Blocking calls.
    Syscalls = "blocking calls",
    /// System calls that a signal ended early.
    Interrupted = "interrupted calls",
    /// Timers that fired.
    Timers = "timers",
    /// Goroutines that were born and joined, workers not counted.
    Spawned = "goroutines",
    /// Right answers of kernels.
    Answers = "right answers",
    /// Threads that the program made beside the runtime's.
    Threads = "threads",
    /// Signals that came from elsewhere.
    Signals = "foreign signals",
    /// Cleanups that ran.
    Cleanups = "cleanups",
}

/// What a slot's worker does.
pub const FREE: u32 = 0;
/// It should make progress.
pub const WORKS: u32 = 1;

/// A worker.
pub struct Slot {
    /// [`FREE`] or [`WORKS`].
    pub state: AtomicU32,
    /// Its [`Kind`].
    pub kind: AtomicU32,
    /// Its goroutine.
    pub goroutine: AtomicU64,
    /// Grows with every step, by code that runs with a P and no other.
    pub ticks: AtomicU64,
}

impl Slot {
    /// What its worker does.
    pub fn kind(&self) -> Kind {
        Kind::ALL.get(self.kind.load(Relaxed) as usize).map_or(Kind::Main, |(_, kind)| *kind)
    }
}

/// See the module's text.
#[repr(C)]
pub struct Page {
    /// The signal that has killed the process.
    pub crashed: AtomicU32,
    /// Slots in use, from the first.
    pub used: AtomicU32,
    /// Phases begun.
    pub phases: AtomicU32,
    /// When the phase should end, in milliseconds since the process began; 0: nothing to judge.
    pub phase_ends: AtomicU64,
    /// Milliseconds since the process began: by a thread of its own.
    pub clock: AtomicU64,
    /// Steps of the thread that tells the time, each of which should take a millisecond.
    pub steps: AtomicU64,
    /// The number of Ps that is wanted now.
    pub procs: AtomicU32,
    /// Longest stop so far, in nanoseconds, from its request until the world ran again.
    pub worst_stop: AtomicU64,
    /// Cycles of the collector.
    pub cycles: AtomicU64,
    counts: [AtomicU64; Count::ALL.len()],
    /// The workers.
    pub slots: [Slot; SLOTS],
}

impl Page {
    /// Adds to a count.
    pub fn count(&self, what: Count, n: u64) {
        self.counts[what as usize].fetch_add(n, Relaxed);
    }

    /// A count.
    pub fn counted(&self, what: Count) -> u64 {
        self.counts[what as usize].load(Relaxed)
    }

    /// The slots in use.
    pub fn workers(&self) -> &[Slot] {
        &self.slots[..(self.used.load(Relaxed) as usize).min(SLOTS)]
    }

    /// A number that changes whenever anybody makes progress.
    pub fn progress(&self) -> u64 {
        self.workers().iter().map(|slot| slot.ticks.load(Relaxed)).sum()
    }
}

/// A mapping of a page, and the file behind it.
pub struct Mapped {
    at: NonNull<Page>,
    file: OwnedFd,
}

// SAFETY: a page is atomics only.
unsafe impl Send for Mapped {}
// SAFETY: a page is atomics only.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// A new page. The file stays open in programs that this one starts, which find it by [`fd`](Mapped::fd).
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> io::Result<Mapped> {
        // SAFETY: a name that ends in 0. (No CLOEXEC: a child is to have it.)
        let fd = unsafe { libc::memfd_create(c"tricolor-stress".as_ptr(), 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else has.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: changes that file's length.
        if unsafe { libc::ftruncate(fd, size_of::<Page>() as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Mapped::map(file)
    }

    /// The page behind an inherited descriptor.
    ///
    /// # Errors
    /// What the system says, also if that is no such file.
    pub fn inherited(fd: c_int) -> io::Result<Mapped> {
        // SAFETY: asks about a descriptor, whatever it is.
        let size = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            if libc::fstat(fd, &raw mut stat) != 0 {
                return Err(io::Error::last_os_error());
            }
            stat.st_size
        };
        if size as usize != size_of::<Page>() {
            return Err(io::Error::other(format!("descriptor {fd} is no page of this program's")));
        }
        // SAFETY: an open descriptor that this process was given for this.
        Mapped::map(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn map(file: OwnedFd) -> io::Result<Mapped> {
        let (bytes, access) = (size_of::<Page>(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a fresh mapping of a file of that size.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast()).map(|at| Mapped { at, file }).ok_or_else(|| io::Error::other("mapped at 0"))
    }

    /// The descriptor.
    pub fn fd(&self) -> c_int {
        self.file.as_raw_fd()
    }
}

impl Deref for Mapped {
    type Target = Page;

    fn deref(&self) -> &Page {
        // SAFETY: mapped until `self` is dropped; zero or what atomics wrote, and any bytes are a `Page`.
        unsafe { self.at.as_ref() }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping of `map`, to which no reference outlives `self`.
        unsafe { libc::munmap(self.at.as_ptr().cast(), size_of::<Page>()) };
    }
}
