fn main() {
    let shared = std::rc::Rc::new(1);
    tricolor::spawn(move || *shared);
}
