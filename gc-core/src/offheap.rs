//! Memory outside the heap: what is never given back (P's parts, bitmaps, tables; Go's `persistentalloc`), and lists
//! that grow while the world is stopped.
//!
//! Never malloc: the runtime may run while a suspended thread holds malloc's lock.

use core::ptr::NonNull;

/// A list outside the heap, for code that runs while the world is stopped.
pub(crate) struct Pile<T: Copy> {
    at: NonNull<T>,
    len: usize,
    capacity: usize,
}

impl<T: Copy> Pile<T> {
    pub fn new() -> Pile<T> {
        Pile { at: NonNull::dangling(), len: 0, capacity: 0 }
    }

    pub fn push(&mut self, value: T) {
        if self.len == self.capacity {
            self.grow();
        }
        // SAFETY: below the capacity.
        unsafe { self.at.add(self.len).write(value) };
        self.len += 1;
    }

    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: pushed before.
        Some(unsafe { self.at.add(self.len).read() })
    }

    pub fn as_slice(&self) -> &[T] {
        // SAFETY: so many were pushed.
        unsafe { core::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    #[cold]
    fn grow(&mut self) {
        let capacity = (2 * self.capacity).max((64 << 10) / size_of::<T>());
        let at: NonNull<T> = pages(capacity * size_of::<T>()).cast();
        // SAFETY: both are mappings of at least so many elements, or the old one is empty.
        unsafe { at.copy_from_nonoverlapping(self.at, self.len) };
        self.give_back();
        (self.at, self.capacity) = (at, capacity);
    }

    fn give_back(&mut self) {
        if self.capacity > 0 {
            // SAFETY: the mapping of `grow`, which nobody uses any more.
            unsafe { free_pages(self.at.cast(), self.capacity * size_of::<T>()) };
        }
    }
}

impl<T: Copy> Drop for Pile<T> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(not(any(loom, miri)))]
fn pages(bytes: usize) -> NonNull<u8> {
    match crate::sync::map_reserve(bytes) {
        Ok(at) => at,
        Err(e) => crate::throw!("out of memory for a list of the runtime's own: {e}"),
    }
}

/// # Safety
/// `at` came from `pages(bytes)` and is used no more.
#[cfg(not(any(loom, miri)))]
unsafe fn free_pages(at: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's contract.
    unsafe { libc::munmap(at.as_ptr().cast(), bytes) };
}

#[cfg(any(loom, miri))]
fn pages(bytes: usize) -> NonNull<u8> {
    persistent(bytes, 16)
}

/// # Safety
/// `at` came from `pages(bytes)` and is used no more.
#[cfg(any(loom, miri))]
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

#[cfg(not(any(loom, miri)))]
fn persistent(bytes: usize, align: usize) -> NonNull<u8> {
    use crate::sync::Lock;
    const CHUNK: usize = 256 << 10;
    struct Chunk {
        next: usize,
        end: usize,
    }
    // Not modelled: under loom memory comes from Box. A plain lock over a bump pointer.
    static CHUNK_NOW: Lock<Chunk> = Lock::new(Chunk { next: 0, end: 0 });

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

#[cfg(any(loom, miri))]
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
