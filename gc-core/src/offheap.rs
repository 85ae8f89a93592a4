//! Memory outside the heap that is never given back: P's parts, bitmaps, tables (Go's `persistentalloc`).
//!
//! Never malloc: the runtime may run while a suspended thread holds malloc's lock.

use core::ptr::NonNull;

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
