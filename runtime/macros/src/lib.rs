//! `#[tricolor::main(unsafe)]` and `#[tricolor::recursive]`. Use them through the crate `tricolor`, which re-exports them.

mod entry;
mod recursive;

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
    expand_with(entry::expand, options, function)
}

/// For a function that calls itself, directly or through others, as deep as its input says: each call sees to it that there
/// is enough stack, and goes on upon a larger segment if not.
///
/// ```text
/// #[tricolor::recursive]                  // 32 KiB until the next such call
/// fn depth(tree: &Tree) -> usize { 1 + tree.children.iter().map(depth).max().unwrap_or(0) }
///
/// #[tricolor::recursive(bytes = 200_000)] // it calls something that needs more
/// fn walk(&self) { … }
/// ```
///
/// The body runs as the closure of `tricolor::stack::ensure`, which see: one comparison per call, a safepoint if the
/// scheduler has asked for one, and a named fatal error at the limit. Source: the check in the prologue of Go's functions.
#[proc_macro_attribute]
pub fn recursive(options: TokenStream, function: TokenStream) -> TokenStream {
    expand_with(recursive::expand, options, function)
}

type Tokens = proc_macro2::TokenStream;
type Expand = fn(Tokens, Tokens, &Tokens) -> syn::Result<Tokens>;

fn expand_with(expand: Expand, options: TokenStream, function: TokenStream) -> TokenStream {
    let written = function.clone();
    entry::runtime_crate()
        .and_then(|tricolor| expand(options.into(), function.into(), &tricolor))
        .map(TokenStream::from)
        .unwrap_or_else(|error| {
            // With the function as it was written, so that no error about a missing one follows.
            let mut tokens = TokenStream::from(error.into_compile_error());
            tokens.extend(written);
            tokens
        })
}
