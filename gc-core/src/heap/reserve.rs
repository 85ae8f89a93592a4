//! Address space: reserved at once, committed as the heap grows, given back in pieces.
//!
//! ```text
//! reserved (PROT_NONE) ──commit──► committed (costs memory where it is touched) ──give_back──► committed, untouched
//! ```
//! Reserving counts against `RLIMIT_AS` only; committing is what the overcommit policy and `RLIMIT_DATA` may refuse,
//! and that refusal is an error that an allocation can report. How much to reserve follows from these limits, since
//! the heap's tables (up to 8/10 of a small reservation, touched sparsely), stacks and the program need room
//! too.

use super::PAGE_SIZE;
use crate::sync::MapError;

/// The smallest reservation that is tried.
#[cfg(not(any(modelled, miri)))]
const LEAST: usize = 16 << 20;

/// A range of addresses for the heap.
pub(crate) struct Reservation {
    /// First address, aligned to a page.
    pub base: usize,
    /// Bytes, a multiple of a page.
    pub bytes: usize,
    /// Address and length of the mapping, which may begin before `base`.
    #[cfg(not(any(modelled, miri)))]
    mapping: (usize, usize),
}

#[cfg(not(any(modelled, miri)))]
impl Reservation {
    /// `bytes` bytes of address space, nothing of it committed.
    pub fn new(bytes: usize) -> Result<Reservation, MapError> {
        let bytes = bytes.next_multiple_of(PAGE_SIZE);
        let length = bytes + PAGE_SIZE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping; no existing memory is touched.
        let p = unsafe { libc::mmap(core::ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
        if p == libc::MAP_FAILED {
            return Err(MapError { bytes, errno: errno() });
        }
        let at = p.expose_provenance();
        crate::sync::own_mapping(at, length);
        Ok(Reservation { base: at.next_multiple_of(PAGE_SIZE), bytes, mapping: (at, length) })
    }

    /// Makes pages `from..to` usable.
    pub fn commit(&self, from: usize, to: usize) -> Result<(), MapError> {
        let bytes = (to - from) * PAGE_SIZE;
        let at = core::ptr::with_exposed_provenance_mut(self.base + from * PAGE_SIZE);
        // SAFETY: pages of this reservation, of which nobody uses any yet.
        match unsafe { libc::mprotect(at, bytes, libc::PROT_READ | libc::PROT_WRITE) } {
            0 => Ok(()),
            _ => Err(MapError { bytes, errno: errno() }),
        }
    }

    /// Makes `n` committed pages cost memory now, without changing what is in them. Says whether it could.
    pub fn touch(&self, first: usize, n: usize) -> bool {
        crate::sync::populate(self.base + first * PAGE_SIZE, n * PAGE_SIZE)
    }

    /// Lets the operating system have the memory behind `n` committed pages; they read as zeros afterwards. Says
    /// whether it took it.
    pub fn give_back(&self, first: usize, n: usize) -> bool {
        let at = core::ptr::with_exposed_provenance_mut(self.base + first * PAGE_SIZE);
        // SAFETY: committed pages of this reservation that the caller owns and nobody uses.
        unsafe { libc::madvise(at, n * PAGE_SIZE, libc::MADV_DONTNEED) == 0 }
    }
}

#[cfg(not(any(modelled, miri)))]
impl Drop for Reservation {
    fn drop(&mut self) {
        crate::sync::disown_mapping(self.mapping.0);
        // SAFETY: mapped by `new`; a heap that was made lives for ever, so nobody has used this one.
        unsafe { libc::munmap(core::ptr::with_exposed_provenance_mut(self.mapping.0), self.mapping.1) };
    }
}

/// Under loom and Miri a heap is a few pages of malloc'd memory.
#[cfg(any(modelled, miri))]
impl Reservation {
    pub fn new(bytes: usize) -> Result<Reservation, MapError> {
        let layout = core::alloc::Layout::from_size_align(bytes, PAGE_SIZE).expect("a small heap");
        // SAFETY: not empty.
        let base = unsafe { std::alloc::alloc_zeroed(layout) }.expose_provenance();
        #[cfg(modelled)]
        crate::sync::word::model::install(base, bytes);
        Ok(Reservation { base, bytes })
    }

    pub fn commit(&self, _: usize, _: usize) -> Result<(), MapError> {
        Ok(())
    }

    pub fn touch(&self, _: usize, _: usize) -> bool {
        true
    }

    pub fn give_back(&self, _: usize, _: usize) -> bool {
        true
    }
}

#[cfg(not(any(modelled, miri)))]
fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The sizes to try for a reservation of `wanted` bytes, largest first.
pub(crate) fn sizes(wanted: usize) -> impl Iterator<Item = usize> {
    #[cfg(not(any(modelled, miri)))]
    {
        let first = wanted.min(address_space_left() / 3).max(LEAST).next_multiple_of(PAGE_SIZE);
        core::iter::successors(Some(first), |s| (*s > LEAST).then(|| (s / 2).max(LEAST).next_multiple_of(PAGE_SIZE)))
    }
    #[cfg(any(modelled, miri))]
    core::iter::once(wanted)
}

/// Bytes that the limits of this process leave for mappings: `RLIMIT_AS` less what is mapped, `RLIMIT_DATA`, and,
/// where the kernel never overcommits, what it has left to promise. `usize::MAX` if there is no limit. For hosts that
/// reserve something too. May run without a P; reads files of /proc.
#[cfg(not(any(modelled, miri)))]
pub fn address_space_left() -> usize {
    let of = |resource| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: writes the struct.
        let ok = unsafe { libc::getrlimit(resource, &raw mut limit) } == 0;
        (ok && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur as usize)
    };
    let mapped = || proc_number("/proc/self/status", "VmSize:").unwrap_or(0);
    let space = of(libc::RLIMIT_AS).map_or(usize::MAX, |limit| limit.saturating_sub(mapped()));
    let data = of(libc::RLIMIT_DATA).unwrap_or(usize::MAX);
    let never_overcommits = std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|text| text.starts_with(b"2"));
    let promise = if never_overcommits {
        let number = |name| proc_number("/proc/meminfo", name);
        match (number("CommitLimit:"), number("Committed_AS:")) {
            (Some(limit), Some(used)) => limit.saturating_sub(used),
            _ => usize::MAX,
        }
    } else {
        usize::MAX
    };
    space.min(data).min(promise)
}

/// No limit.
#[cfg(any(modelled, miri))]
pub fn address_space_left() -> usize {
    usize::MAX
}

/// The figure of a line `name   123 kB` of a file in /proc, in bytes.
#[cfg(not(any(modelled, miri)))]
fn proc_number(path: &str, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib << 10)
}

#[cfg(all(test, not(any(modelled, miri))))]
mod tests {
    use super::*;

    #[test]
    fn sizes_halve_down_to_the_least() {
        let all: Vec<usize> = sizes(100 << 20).collect();
        assert_eq!(all, [100 << 20, 50 << 20, 25 << 20, LEAST]);
        assert_eq!(sizes(1).collect::<Vec<_>>(), [LEAST]);
    }

    #[test]
    fn committed_pages_are_zeros_again_after_they_were_given_back() {
        let r = Reservation::new(1 << 20).unwrap();
        r.commit(0, 4).unwrap();
        let word = core::ptr::with_exposed_provenance_mut::<u64>(r.base + PAGE_SIZE);
        // SAFETY: a committed page of this test's own reservation.
        unsafe {
            word.write(7);
            assert!(r.give_back(1, 1));
            assert_eq!(word.read(), 0);
        }
    }

    #[test]
    fn touched_pages_keep_what_they_hold() {
        let r = Reservation::new(1 << 20).unwrap();
        r.commit(0, 4).unwrap();
        let word = core::ptr::with_exposed_provenance_mut::<u64>(r.base + PAGE_SIZE);
        // SAFETY: a committed page of this test's own reservation.
        unsafe { word.write(7) };
        assert!(r.touch(0, 4), "Linux 5.14 or later");
        let mut resident = [0u8; 4 * PAGE_SIZE / 4096];
        // SAFETY: writes a byte for each page of 4 KiB.
        let told = unsafe {
            libc::mincore(core::ptr::with_exposed_provenance_mut(r.base), 4 * PAGE_SIZE, resident.as_mut_ptr())
        };
        assert_eq!((told, resident.map(|page| page & 1)), (0, [1; 4 * PAGE_SIZE / 4096]));
        // SAFETY: as above.
        assert_eq!(unsafe { word.read() }, 7);
        assert!(!r.touch(0, 5), "one that is not committed");
    }
}
