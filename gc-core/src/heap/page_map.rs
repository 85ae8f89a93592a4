//! The page map: of each page, which span it belongs to and of which class that is, in one word.
//!
//! The marker asks for every object that it finds and again when it scans it, so what it needs is here, in 8 bytes for
//! 8 KiB of heap, and not in the span table, whose entries are a cache line each.

use crate::sync::{AtomicU64, Handle, MapError, Ordering, Table};
use barrier_lint::{certify, nowritebarrierrec};
use core::ops::Range;

pub(crate) struct PageMap {
    pages: Table<AtomicU64>,
}

// SAFETY: a table.
unsafe impl Handle for PageMap {}

/// Beside the class.
const DATA: u32 = 1 << 31;

/// What the map says of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    /// First page of the span + 1; 0: not in use.
    pub span: u32,
    /// Index of the span's allocation class.
    pub class: u32,
    /// There is nothing to scan in its objects.
    pub data: bool,
}

certify! {
    operators Page: "derived";
}

impl PageMap {
    pub fn new(npages: usize) -> Result<PageMap, MapError> {
        Ok(PageMap { pages: Table::new(npages)? })
    }

    /// Makes what there is for these pages cost memory now.
    pub fn pretouch(&self, pages: Range<usize>) {
        self.pages.pretouch(pages);
    }
}

#[nowritebarrierrec]
impl PageMap {
    #[inline(always)]
    pub fn get(&self, page: usize, order: Ordering) -> Page {
        let word = self.pages[page].load(order);
        Page { span: word as u32, class: (word >> 32) as u32 & !DATA, data: word >> 63 != 0 }
    }

    /// What the map says about a page that has an object.
    #[inline(always)]
    pub fn of_object(&self, number: usize) -> Page {
        // Relaxed: whoever has the pointer got it by an Acquire that comes after the span was made.
        let page = self.get(number, Ordering::Relaxed);
        debug_assert_ne!(page.span, 0, "page {number} is in no span");
        page
    }

    #[inline]
    pub fn set(&self, page: usize, to: Page, order: Ordering) {
        self.pages[page].store(u64::from(to.class | if to.data { DATA } else { 0 }) << 32 | u64::from(to.span), order);
    }

    /// The page is in no span any more.
    #[inline]
    pub fn clear(&self, page: usize, order: Ordering) {
        self.pages[page].store(0, order);
    }
}
