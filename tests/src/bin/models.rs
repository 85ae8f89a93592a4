//! `cargo models`: runs the loom models on the production types.
//!
//! Each model has a *bad twin*: the same model with a planted fault, which must fail. A model proves something only
//! if its twin shows that it can. Every model and every twin runs in a process of its own, since some twins end in an
//! abort.

fn main() -> std::process::ExitCode {
    #[cfg(loom)]
    return tricolor_tests::models::main();
    #[cfg(not(loom))]
    {
        eprintln!("models: built without `--cfg modelled --cfg loom`: run `cargo models`, which passes it");
        std::process::ExitCode::from(2)
    }
}
