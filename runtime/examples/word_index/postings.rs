//! Where a word occurs: a linked list of chunks, each with some of its positions in one file.
//!
//! A chunk does not change once it is in a list, and new ones are put in front. So a reader needs no lock, and a
//! writer needs one compare-exchange on the list's head.

use tricolor::{Gc, GcCell, Trace};

/// Some of a word's positions in one file. 64 bytes: one cache line.
#[derive(Trace)]
pub struct Chunk {
    pub next: GcCell<Option<Gc<Chunk>>>,
    /// The file's path. All chunks of a file share it.
    pub file: Gc<str>,
    pub positions: Packed,
}

const ROOM: usize = 47;

/// Ascending positions, each as its distance from the one before: seven bits per byte, the lowest first; the top bit
/// of a byte says that more follow.
#[derive(Trace, Clone, Copy)]
pub struct Packed {
    used: u8,
    bytes: [u8; ROOM],
}

impl Packed {
    /// As many of the positions as fit, and how many those are: at least one, if there is one.
    pub fn new(ascending: impl Iterator<Item = u64>) -> (Packed, usize) {
        let mut packed = Packed { used: 0, bytes: [0; ROOM] };
        let mut last = 0;
        let fitting = ascending.take_while(|&at| packed.push(at - std::mem::replace(&mut last, at)));
        let count = fitting.count();
        (packed, count)
    }

    /// Appends one distance, unless the room is too small for it.
    fn push(&mut self, mut distance: u64) -> bool {
        let start = usize::from(self.used);
        let bits = (u64::BITS - distance.leading_zeros()).max(1);
        let end = start + bits.div_ceil(7) as usize;
        let Some(room) = self.bytes.get_mut(start..end) else { return false };
        for byte in room {
            *byte = distance as u8 | 0x80;
            distance >>= 7;
        }
        self.bytes[end - 1] &= 0x7f;
        self.used = end as u8;
        true
    }

    /// The positions.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let mut bytes = self.bytes[..usize::from(self.used)].iter();
        let mut at = 0;
        std::iter::from_fn(move || {
            let mut shift = 0;
            loop {
                let byte = *bytes.next()?;
                at += u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    return Some(at);
                }
                shift += 7;
            }
        })
    }
}
