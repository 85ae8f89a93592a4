//! `cargo cycles`: whole cycles of the collector and the scheduler under shuttle.

fn main() -> std::process::ExitCode {
    #[cfg(shuttle)]
    return tricolor_tests::cycles::main();
    #[cfg(not(shuttle))]
    {
        eprintln!("cycles: built without `--cfg modelled --cfg shuttle`: run `cargo cycles`, which passes them");
        std::process::ExitCode::from(2)
    }
}
