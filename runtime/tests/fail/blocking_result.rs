use tricolor::Gc;

fn make() -> Gc<u64> {
    tricolor::blocking((), |()| Gc::new(1))
}

fn main() {}
