use gc_core::Trace;
use std::marker::PhantomData;

#[derive(Trace)]
struct Local {
    id: u64,
    // Belongs to the thread that made it.
    here: PhantomData<*const ()>,
}

impl Drop for Local {
    fn drop(&mut self) {}
}

fn main() {}
