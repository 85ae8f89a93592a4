use tricolor::Gc;

// A blocking call holds no P: heap objects are out of its reach.
fn read(name: Gc<str>) {
    tricolor::blocking((name,), |(name,)| std::fs::read(&*name).is_ok());
}

fn main() {}
