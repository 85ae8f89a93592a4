//! Metadata tables: lazily committed mappings in production, boxed slices in models and under Miri.

use barrier_lint::nowritebarrierrec;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, Index, Range};
use core::ptr::NonNull;

/// Types for which all-zero memory is the initial value.
///
/// # Safety
/// In a production build, zeroed memory is a valid value that means the same as [`Zeroed::zeroed`].
pub unsafe trait Zeroed {
    /// The initial value, built by hand where zeroed memory will not do (models).
    fn zeroed() -> Self;
}

macro_rules! zeroed {
    ($($t:ty => $e:expr),* $(,)?) => {$(
        // SAFETY: an integer, or an atomic one, whose zero bytes are the value zero.
        unsafe impl Zeroed for $t {
            fn zeroed() -> Self { $e }
        }
    )*};
}
zeroed! {
    super::AtomicU8 => super::AtomicU8::new(0),
    super::AtomicU32 => super::AtomicU32::new(0),
    super::AtomicU64 => super::AtomicU64::new(0),
    super::AtomicUsize => super::AtomicUsize::new(0),
}

// SAFETY: zero bytes are a null pointer.
unsafe impl<T> Zeroed for super::AtomicPtr<T> {
    fn zeroed() -> Self {
        super::AtomicPtr::new(core::ptr::null_mut())
    }
}

/// The operating system gave no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapError {
    /// How many bytes were asked for.
    pub bytes: usize,
    /// The error number (`errno`).
    pub errno: i32,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = std::io::Error::from_raw_os_error(self.errno);
        write!(f, "cannot map {} bytes of address space: {why}", self.bytes)
    }
}

impl std::error::Error for MapError {}

/// A fixed number of `T`, all initially zero, at a stable address; pages are committed when first written.
pub struct Table<T> {
    ptr: NonNull<T>,
    len: usize,
}

// SAFETY: a table is a slice: shared access hands out `&T` only.
unsafe impl<T: Sync> Sync for Table<T> {}
// SAFETY: as for a boxed slice.
unsafe impl<T: Send> Send for Table<T> {}

impl<T: Zeroed> Table<T> {
    /// `len` elements.
    ///
    /// # Errors
    /// [`MapError`] where the address space or the overcommit policy does not allow it.
    pub fn new(len: usize) -> Result<Table<T>, MapError> {
        #[cfg(not(any(modelled, miri)))]
        {
            let bytes = (len * size_of::<T>()).max(1);
            let ptr = map_reserve(bytes)?.cast();
            Ok(Table { ptr, len })
        }
        #[cfg(any(modelled, miri))]
        {
            let boxed: Box<[T]> = (0..len).map(|_| T::zeroed()).collect();
            Ok(Table { ptr: NonNull::from(Box::leak(boxed)).cast(), len })
        }
    }
}

impl<T> Table<T> {
    /// Number of elements.
    #[nowritebarrierrec]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All elements; those never written cost no memory until they are.
    #[nowritebarrierrec]
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: the constructor mapped `len` elements, valid when zero (`Zeroed`), for as long as `self` lives.
        unsafe { core::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl<T> Table<T> {
    /// Makes the pages of memory that begin in these elements cost memory now, if they do not yet. What the elements hold
    /// stays as it is. A hint: where it fails, whoever writes there first waits for the page as ever.
    #[cfg(not(any(modelled, miri)))]
    pub(crate) fn pretouch(&self, elements: Range<usize>) {
        let at = |i: usize| (self.ptr.as_ptr().addr() + i * size_of::<T>()).next_multiple_of(OS_PAGE);
        let (start, end) = (at(elements.start), at(elements.end));
        if start < end {
            populate(start, end - start);
        }
    }

    /// There is nothing to gain.
    #[cfg(any(modelled, miri))]
    pub(crate) fn pretouch(&self, _: Range<usize>) {}
}

#[nowritebarrierrec]
impl<T> Index<usize> for Table<T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, i: usize) -> &T {
        debug_assert!(i < self.len);
        // SAFETY: every index is derived from an address inside the reservation or from a count that the table
        // was sized for; debug builds check it.
        unsafe { self.ptr.add(i).as_ref() }
    }
}

/// What only says where something lies, and never changes.
///
/// # Safety
/// A bitwise copy of it is as good as the original, for as long as that is borrowed.
pub(crate) unsafe trait Handle: Sized {
    /// A copy.
    #[inline(always)]
    fn copied(&self) -> Copied<'_, Self> {
        // SAFETY: see above; the copy is not dropped, and it does not outlive the borrow.
        Copied(ManuallyDrop::new(unsafe { core::ptr::read(self) }), PhantomData)
    }
}

// SAFETY: an address and a length.
unsafe impl<T> Handle for Table<T> {}

/// A copy of a handle. A loop has it in registers, where it would have to read the original again after each store that
/// might have changed that.
pub(crate) struct Copied<'a, H>(ManuallyDrop<H>, PhantomData<&'a H>);

impl<H> Deref for Copied<'_, H> {
    type Target = H;
    #[inline(always)]
    fn deref(&self) -> &H {
        &self.0
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        #[cfg(not(any(modelled, miri)))]
        // SAFETY: mapped by `new` with this size; the borrow checker ended all uses.
        unsafe {
            super::disown_mapping(self.ptr.as_ptr().addr());
            libc::munmap(self.ptr.as_ptr().cast(), (self.len * size_of::<T>()).max(1));
        }
        #[cfg(any(modelled, miri))]
        // SAFETY: leaked by `new` as a boxed slice of `len` elements.
        drop(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(self.ptr.as_ptr(), self.len)) });
    }
}

/// Readable, writable, zeroed address space that costs memory only where it is touched.
#[cfg(not(any(modelled, miri)))]
pub(crate) fn map_reserve(bytes: usize) -> Result<NonNull<u8>, MapError> {
    // SAFETY: a fresh anonymous mapping; no existing memory is touched.
    let p = unsafe {
        libc::mmap(
            core::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    match NonNull::new(p) {
        Some(p) if p.as_ptr() != libc::MAP_FAILED => {
            super::own_mapping(p.as_ptr().expose_provenance(), bytes);
            Ok(p.cast())
        }
        _ => Err(MapError { bytes, errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }),
    }
}

/// The smallest piece in which the operating system gives memory.
#[cfg(not(any(modelled, miri)))]
const OS_PAGE: usize = 4096;

/// Makes `bytes` bytes of a writable mapping cost memory, as if each page were written, and changes nothing in them. Says
/// whether all of them do (Linux before 5.14 cannot).
#[cfg(not(any(modelled, miri)))]
pub(crate) fn populate(start: usize, bytes: usize) -> bool {
    // SAFETY: advice about memory of our own; its contents stay.
    unsafe { libc::madvise(core::ptr::with_exposed_provenance_mut(start), bytes, libc::MADV_POPULATE_WRITE) == 0 }
}

/// Asks for huge pages in a part of a mapping. Where there are none, nothing happens.
#[cfg(not(any(modelled, miri)))]
pub(crate) fn want_huge_pages(start: usize, bytes: usize) {
    // SAFETY: advice about memory of our own; its contents stay.
    unsafe { libc::madvise(core::ptr::with_exposed_provenance_mut(start), bytes, libc::MADV_HUGEPAGE) };
}
