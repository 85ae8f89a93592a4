//! The attributes of `barrier-lint`; they are documented where that crate exports them.
//!
//! `item` finds the functions under an attribute, `body` and `call` walk through them and assert that each callee is
//! certified, `witness` leaves behind what such an assertion asks for, `record` what the whole-program check reads.
#![deny(missing_docs)]

mod args;
mod bindings;
mod body;
mod call;
mod certify;
mod item;
mod known;
mod krate;
mod place;
mod record;
mod run;
mod stack;
mod twin;
mod witness;

use args::{Args, Kind};
use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

fn attribute(kind: Kind, attr: TokenStream, item: TokenStream) -> TokenStream {
    let fallback = item.clone();
    let args = parse_macro_input!(attr as Args);
    let marked = parse_macro_input!(item as item::Marked);
    match item::expand(kind, &args, marked) {
        Ok(tokens) => tokens.into(),
        Err(e) => [TokenStream::from(e.to_compile_error()), fallback].into_iter().collect(),
    }
}

/// No write barrier in this function itself.
#[proc_macro_attribute]
pub fn nowritebarrier(attr: TokenStream, item: TokenStream) -> TokenStream {
    attribute(Kind::No, attr, item)
}

/// No write barrier in this function, nor in any that it calls.
#[proc_macro_attribute]
pub fn nowritebarrierrec(attr: TokenStream, item: TokenStream) -> TokenStream {
    attribute(Kind::NoRec, attr, item)
}

/// Write barriers are allowed, although a `#[nowritebarrierrec]` function may call this one.
#[proc_macro_attribute]
pub fn yeswritebarrierrec(attr: TokenStream, item: TokenStream) -> TokenStream {
    attribute(Kind::Yes, attr, item)
}

/// This function may execute a write barrier.
#[proc_macro_attribute]
pub fn writebarrier(attr: TokenStream, item: TokenStream) -> TokenStream {
    attribute(Kind::May, attr, item)
}

/// This function must be condemned by the whole-program check.
#[proc_macro_attribute]
pub fn canary(attr: TokenStream, item: TokenStream) -> TokenStream {
    attribute(Kind::Canary, attr, item)
}

/// This function and all that it calls fit into a stated piece of stack.
#[proc_macro_attribute]
pub fn nosplit(attr: TokenStream, item: TokenStream) -> TokenStream {
    let budget = parse_macro_input!(attr as stack::Budget);
    stack::nosplit(&budget, parse_macro_input!(item as syn::ImplItemFn)).into()
}

/// This function runs on a system stack.
#[proc_macro_attribute]
pub fn systemstack(_attr: TokenStream, item: TokenStream) -> TokenStream {
    stack::systemstack(parse_macro_input!(item as syn::ImplItemFn)).into()
}

/// Certifies, with a reason, what no attribute can stand on.
#[proc_macro]
pub fn certify(input: TokenStream) -> TokenStream {
    certify::expand(parse_macro_input!(input as certify::Certify)).into()
}

/// Values of this type live outside the heap.
#[proc_macro_derive(NotInHeap)]
pub fn not_in_heap(input: TokenStream) -> TokenStream {
    place::not_in_heap(parse_macro_input!(input as DeriveInput)).into()
}
