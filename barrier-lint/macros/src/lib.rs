//! The attributes of `barrier-lint`; use them through that crate.

use proc_macro::TokenStream;
use quote::quote;

/// See `barrier_lint`.
#[proc_macro_attribute]
pub fn nowritebarrier(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// See `barrier_lint`.
#[proc_macro_attribute]
pub fn nowritebarrierrec(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// See `barrier_lint`.
#[proc_macro_attribute]
pub fn writebarrier(_: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// See `barrier_lint`.
#[proc_macro_attribute]
pub fn yeswritebarrierrec(attr: TokenStream, item: TokenStream) -> TokenStream {
    if attr.is_empty() {
        return item;
    }
    let mut f = syn::parse_macro_input!(item as syn::ImplItemFn);
    let wb = syn::Ident::new("wb", proc_macro2::Span::call_site());
    f.block.stmts.splice(
        0..0,
        syn::parse2::<syn::Block>(quote! {{
            let anchor = ();
            #[allow(unused_variables, clippy::undocumented_unsafe_blocks)]
            let #wb = unsafe { ::barrier_lint::Wb::conjure_within(&anchor) };
        }})
        .map(|b| b.stmts)
        .unwrap_or_default(),
    );
    quote!(#f).into()
}

/// See `barrier_lint::NotInHeap`.
#[proc_macro_derive(NotInHeap)]
pub fn not_in_heap(item: TokenStream) -> TokenStream {
    let d = syn::parse_macro_input!(item as syn::DeriveInput);
    let name = d.ident;
    let (ig, tg, wc) = d.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
        unsafe impl #ig ::barrier_lint::NotInHeap for #name #tg #wc {}
        #[automatically_derived]
        #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
        unsafe impl #ig ::barrier_lint::Place for #name #tg #wc { type At = ::barrier_lint::OffHeap; }
    }
    .into()
}
