//! No function is marked.

fn main() {}
