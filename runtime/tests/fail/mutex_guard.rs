fn main() {}

// No guard: a reference into the mutex cannot leave `with`.
fn leak(mutex: &tricolor::sync::Mutex<String>) -> &str {
    mutex.with(|text| text.as_str())
}
