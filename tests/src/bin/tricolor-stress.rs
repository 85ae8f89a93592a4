//! `cargo stress`: see `tricolor_tests::stress`.

#[cfg(all(not(modelled), target_os = "linux", target_arch = "x86_64"))]
#[path = "../../../runtime/tests/common/checked.rs"]
mod checked;

#[cfg(all(not(modelled), target_os = "linux", target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    tricolor_tests::stress::main()
}

#[cfg(any(modelled, not(all(target_os = "linux", target_arch = "x86_64"))))]
fn main() {
    eprintln!("tricolor-stress runs on Linux on x86_64");
    std::process::exit(2)
}
