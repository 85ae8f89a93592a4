//! How the user's crate names `barrier-lint`.

use std::cell::RefCell;

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;

thread_local! {
    /// The answer for the last manifest folder: a compiler process asks for one crate only.
    static LAST: RefCell<(String, Vec<String>)> = const { RefCell::new((String::new(), Vec::new())) };
}

/// The absolute path of `barrier-lint` as seen from the crate under expansion.
pub fn path() -> TokenStream {
    at(Span::call_site())
}

/// The same at a place of the user's, so that an error at what it names points there and not at the attribute.
pub fn at(span: Span) -> TokenStream {
    let dir = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let segments = LAST.with_borrow_mut(|(last, found)| {
        if found.is_empty() || *last != dir {
            *last = dir;
            *found = find();
        }
        found.clone()
    });
    let idents = segments.iter().map(|s| Ident::new(s, span));
    quote_spanned!(span=> #(::#idents)*)
}

/// Directly, or through a crate that re-exports it. `Itself` covers a crate's own tests and examples too, since each
/// of the three says `extern crate self as <its name>`.
fn find() -> Vec<String> {
    for package in ["barrier-lint", "gc-core", "tricolor"] {
        let name = match crate_name(package) {
            Ok(FoundCrate::Itself) => package.replace('-', "_"),
            Ok(FoundCrate::Name(name)) => name,
            Err(_) => continue,
        };
        return match package {
            "barrier-lint" => vec![name],
            _ => vec![name, "barrier_lint".into()],
        };
    }
    vec!["barrier_lint".into()]
}
