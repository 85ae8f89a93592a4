//! Functions that the whole-program check must condemn, one per way in which a barrier gets into a program. If it
//! clears one, it says nothing about the rest. Nobody calls them, and only its own builds link them.

use super::{GcCell, GcMut, RootCell, store};
use crate::afterlife::Weak;
use crate::gc::Gc;
use crate::heap::Heap;
use crate::root::Root;
use barrier_lint::canary;

type Cell = GcCell<Option<Gc<u64>>>;

#[canary]
fn canary_set(cell: &Cell) {
    cell.set(None);
}

#[canary]
fn canary_swap(cell: &Cell) -> bool {
    cell.swap(None).is_some()
}

#[canary]
fn canary_compare_exchange(cell: &Cell) -> bool {
    cell.compare_exchange(None, None).is_ok()
}

#[canary]
fn canary_slow_path(slot: usize) {
    // SAFETY: never runs.
    unsafe { store::gc_write_barrier(slot, 0) }
}

#[canary]
fn canary_bulk(heap: &Heap, words: &[usize; 2]) {
    // SAFETY: never runs.
    unsafe { heap.shade_words(words.as_ptr(), 2) }
}

struct ClearsOnDrop<'a>(&'a Cell);

impl Drop for ClearsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

#[canary]
fn canary_drop(cell: &Cell) {
    let _guard = ClearsOnDrop(cell);
}

#[canary]
fn canary_fill(cells: Gc<[Cell]>) {
    cells.fill(.., None);
}

#[canary]
fn canary_mutable(value: &GcMut<u64>) {
    value.with(|value| *value = 1);
}

#[canary]
fn canary_root_cell(cell: &RootCell<u64>) {
    cell.set(None);
}

#[canary]
fn canary_root(object: Gc<u64>) -> Root<u64> {
    Root::new(object)
}

#[canary]
fn canary_weak(weak: &Weak<u64>) -> bool {
    weak.upgrade().is_some()
}

#[canary]
fn canary_taken_address() -> fn(&Cell) {
    canary_set
}
