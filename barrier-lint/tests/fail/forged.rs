//! A witness written by hand takes `unsafe`.
#[allow(non_camel_case_types)]
enum bad {}
impl barrier_lint::NoWb for bad {}

fn main() {}
