//! `#[derive(NotInHeap)]`

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, parse_quote};

use crate::krate;

pub fn not_in_heap(mut input: DeriveInput) -> TokenStream {
    let krate = krate::path();
    for p in input.generics.type_params_mut() {
        p.bounds.push(parse_quote!(#krate::NotInHeap));
    }
    let name = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let fields: Vec<&Fields> = match &input.data {
        Data::Struct(s) => vec![&s.fields],
        Data::Enum(e) => e.variants.iter().map(|v| &v.fields).collect(),
        Data::Union(_) => Vec::new(),
    };
    let mut types: Vec<_> = fields.iter().flat_map(|f| f.iter()).map(|f| &f.ty).collect();
    if let Data::Union(u) = &input.data {
        types.extend(u.fields.named.iter().map(|f| &f.ty));
    }
    // One check per type.
    let mut seen = std::collections::HashSet::new();
    types.retain(|t| seen.insert(t.to_token_stream().to_string()));
    let checks = types.iter().map(|t| quote_spanned!(t.span()=> off_heap::<#t>();));
    quote! {
        #[automatically_derived]
        #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
        unsafe impl #impl_generics #krate::NotInHeap for #name #ty_generics #where_clause {}
        #[automatically_derived]
        #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
        unsafe impl #impl_generics #krate::Place for #name #ty_generics #where_clause {
            type At = #krate::OffHeap;
        }
        const _: () = {
            #[allow(dead_code)]
            fn off_heap<T: #krate::NotInHeap + ?Sized>() {}
            #[allow(dead_code, clippy::extra_unused_lifetimes, clippy::extra_unused_type_parameters)]
            fn fields #impl_generics () #where_clause { #(#checks)* }
        };
    }
}
