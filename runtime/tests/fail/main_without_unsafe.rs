#[tricolor::main]
fn main() {}
