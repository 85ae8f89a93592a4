fn main() {
    tricolor::Runtime::builder().run(|| ());
}
