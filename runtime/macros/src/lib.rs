//! `#[tricolor::main(unsafe)]`. Use it through the crate `tricolor`, which re-exports it.

mod entry;

use proc_macro::TokenStream;

/// Runs `main` as the first goroutine of a runtime.
///
/// ```text
/// #[tricolor::main(unsafe, procs = 2, gc_percent = 50)]
/// fn main() -> Result<(), Error> {
///     let answer = tricolor::spawn(|| 41 + 1).join();
///     …
/// }
/// ```
///
/// stands for
///
/// ```text
/// fn main() -> Result<(), Error> {
///     unsafe { tricolor::Runtime::builder().procs(2).gc_percent(50).run(main) }
/// }
/// ```
///
/// with the written `main` inside. What `main` returns is the result of the program.
///
/// # Options
///
/// - `unsafe`: required; see below.
/// - `procs = N`: how many goroutines run at the same time, in place of the number of processors.
/// - `gc_percent = N`: how much the heap may grow between two collections, in percent of what is alive.
/// - `pinned = true`: every goroutine stays on one thread, which costs one for each.
///
/// # Safety
///
/// Entering the runtime is unsafe: writing `unsafe` here promises what the documentation of `tricolor::Runtime` asks
/// for. The body of `main` itself is ordinary, safe code.
#[proc_macro_attribute]
pub fn main(options: TokenStream, function: TokenStream) -> TokenStream {
    let written = function.clone();
    entry::runtime_crate()
        .and_then(|tricolor| entry::expand(options.into(), function.into(), &tricolor))
        .map(TokenStream::from)
        .unwrap_or_else(|error| {
            // With `main` as it was written, so that no error about a missing `main` follows.
            let mut tokens = TokenStream::from(error.into_compile_error());
            tokens.extend(written);
            tokens
        })
}
