//! Memory outside the heap: what is never given back (P's parts, bitmaps, tables; Go's `persistentalloc`), and lists
//! that grow while the world is stopped.
//!
//! Never malloc: the runtime may run while a suspended thread holds malloc's lock.

use core::ptr::NonNull;

/// A list outside the heap, for the runtime's own code: it grows without malloc, also while the world is stopped.
pub struct Pile<T: Copy> {
    /// Null while there is no mapping.
    at: *mut T,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its elements.
unsafe impl<T: Copy + Send> Send for Pile<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Copy + Sync> Sync for Pile<T> {}

// SAFETY: all zero is a null pointer and no elements.
unsafe impl<T: Copy> crate::sync::Zeroed for Pile<T> {
    fn zeroed() -> Pile<T> {
        Pile::new()
    }
}

impl<T: Copy> Default for Pile<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Pile<T> {
    /// An empty list, without memory.
    pub const fn new() -> Pile<T> {
        Pile { at: core::ptr::null_mut(), len: 0, capacity: 0 }
    }

    /// Adds an element at the end. No memory for it is a fatal error.
    pub fn push(&mut self, value: T) {
        if self.len == self.capacity {
            self.grow();
        }
        // SAFETY: below the capacity.
        unsafe { self.at.add(self.len).write(value) };
        self.len += 1;
    }

    /// Takes the last element.
    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: pushed before.
        Some(unsafe { self.at.add(self.len).read() })
    }

    /// All elements.
    pub fn as_slice(&self) -> &[T] {
        if self.at.is_null() {
            return &[];
        }
        // SAFETY: so many were pushed.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }

    /// All elements, to change them.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if self.at.is_null() {
            return &mut [];
        }
        // SAFETY: so many were pushed; borrowed for as long as `self`.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.len) }
    }

    #[cold]
    fn grow(&mut self) {
        let capacity = (2 * self.capacity).max((64 << 10) / size_of::<T>());
        let at: *mut T = pages(capacity * size_of::<T>()).cast().as_ptr();
        if !self.at.is_null() {
            // SAFETY: both are mappings of at least so many elements.
            unsafe { at.copy_from_nonoverlapping(self.at, self.len) };
        }
        self.give_back();
        (self.at, self.capacity) = (at, capacity);
    }

    fn give_back(&mut self) {
        if let Some(at) = NonNull::new(self.at) {
            // SAFETY: the mapping of `grow`, which nobody uses any more.
            unsafe { free_pages(at.cast(), self.capacity * size_of::<T>()) };
        }
    }
}

impl<T: Copy> Drop for Pile<T> {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Bytes of [`persistent_new`] and its like, and of [`Pile`]s, in the whole process. Not modelled.
#[cfg(not(any(modelled, miri)))]
static PERSISTENT: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
#[cfg(not(any(modelled, miri)))]
static PILES: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

#[cfg(not(any(modelled, miri)))]
fn count(sum: &core::sync::atomic::AtomicUsize, bytes: isize) {
    // Relaxed: statistics.
    sum.fetch_add(bytes as usize, core::sync::atomic::Ordering::Relaxed);
}

/// Bytes of the memory that lives for ever, and of lists at this moment, in the whole process.
#[cfg(not(any(modelled, miri)))]
pub(crate) fn in_use() -> (usize, usize) {
    let get = |sum: &core::sync::atomic::AtomicUsize| sum.load(core::sync::atomic::Ordering::Relaxed);
    (get(&PERSISTENT), get(&PILES))
}

#[cfg(any(modelled, miri))]
pub(crate) fn in_use() -> (usize, usize) {
    (0, 0)
}

#[cfg(not(any(modelled, miri)))]
fn pages(bytes: usize) -> NonNull<u8> {
    count(&PILES, bytes as isize);
    match crate::sync::map_reserve(bytes) {
        Ok(at) => at,
        Err(e) => crate::throw!("out of memory for a list of the runtime's own: {e}"),
    }
}

/// # Safety
/// `at` came from `pages(bytes)` and is used no more.
#[cfg(not(any(modelled, miri)))]
unsafe fn free_pages(at: NonNull<u8>, bytes: usize) {
    count(&PILES, -(bytes as isize));
    crate::sync::disown_mapping(at.as_ptr().addr());
    // SAFETY: the caller's contract.
    unsafe { libc::munmap(at.as_ptr().cast(), bytes) };
}

#[cfg(any(modelled, miri))]
fn pages(bytes: usize) -> NonNull<u8> {
    persistent(bytes, 16)
}

/// # Safety
/// `at` came from `pages(bytes)` and is used no more.
#[cfg(any(modelled, miri))]
unsafe fn free_pages(at: NonNull<u8>, bytes: usize) {
    let layout = core::alloc::Layout::from_size_align(bytes, 16).expect("a small layout");
    // SAFETY: the caller's contract.
    unsafe { std::alloc::dealloc(at.as_ptr(), layout) };
}

/// `n` zeroed words that live for ever.
///
/// # Panics
/// If the operating system gives no memory.
pub fn persistent_words(n: usize) -> NonNull<u64> {
    persistent(n * size_of::<u64>(), align_of::<u64>()).cast()
}

/// One `T`, moved into memory that lives for ever.
pub fn persistent_new<T>(value: T) -> NonNull<T> {
    let p: NonNull<T> = persistent(size_of::<T>().max(1), align_of::<T>()).cast();
    // SAFETY: fresh, aligned and large enough.
    unsafe { p.write(value) };
    p
}

#[cfg(not(any(modelled, miri)))]
fn persistent(bytes: usize, align: usize) -> NonNull<u8> {
    use crate::sync::{Lock, Rank};
    const CHUNK: usize = 256 << 10;
    struct Chunk {
        next: usize,
        end: usize,
    }
    // Not modelled: under loom memory comes from Box. A plain lock over a bump pointer.
    static CHUNK_NOW: Lock<Chunk> = Lock::new(Rank::Chunk, Chunk { next: 0, end: 0 });

    count(&PERSISTENT, bytes as isize);
    let mut chunk = CHUNK_NOW.lock();
    let mut start = chunk.next.next_multiple_of(align);
    if start + bytes > chunk.end {
        let size = (bytes + align).max(CHUNK);
        match crate::sync::map_reserve(size) {
            Ok(p) => {
                start = p.as_ptr().expose_provenance().next_multiple_of(align);
                chunk.end = p.as_ptr().addr() + size;
            }
            Err(e) => crate::throw!("out of memory for the runtime's own tables: {e}"),
        }
    }
    chunk.next = start + bytes;
    NonNull::new(core::ptr::with_exposed_provenance_mut(start)).expect("a mapping is not at address 0")
}

#[cfg(any(modelled, miri))]
fn persistent(bytes: usize, align: usize) -> NonNull<u8> {
    let layout = core::alloc::Layout::from_size_align(bytes, align).expect("a small layout");
    // SAFETY: the layout is not empty.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).expect("memory")
}

#[cfg(test)]
mod tests {
    use super::Pile;

    #[test]
    fn a_pile_grows_and_shrinks() {
        let mut pile = Pile::new();
        assert_eq!(pile.pop(), None::<(usize, u32)>);
        (0..100_000).for_each(|i| pile.push((i, 7)));
        assert_eq!(pile.as_slice().len(), 100_000);
        assert!(pile.as_slice().iter().enumerate().all(|(i, at)| *at == (i, 7)));
        assert!((0..100_000).rev().all(|i| pile.pop() == Some((i, 7))));
        assert_eq!(pile.pop(), None);
    }
}
