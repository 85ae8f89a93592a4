//! What a marked function leaves behind for its callers.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Attribute, Ident, ItemImpl, Signature, Type, Visibility};

use crate::args::{Args, Kind};
use crate::krate;

/// The witness method of `method`. The name is part of the compiler's error text, so it says what is missing.
pub fn method_name(method: &Ident) -> Ident {
    format_ident!("nowritebarrierrec__{}", method.unraw(), span = method.span())
}

/// The method that answers whether `method` is a barriered store of its receiver.
pub fn store_name(method: &Ident) -> Ident {
    format_ident!("is_store__{}", method.unraw(), span = method.span())
}

/// Lints that generated items must not wake in the user's crate.
pub fn quiet() -> TokenStream {
    quote! {
        #[doc(hidden)]
        #[allow(dead_code, missing_docs, non_camel_case_types, non_snake_case, unreachable_pub, unsafe_code)]
        #[allow(missing_debug_implementations, missing_copy_implementations, private_interfaces)]
        #[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
    }
}

/// The witness of a function that has (or, in a trait, requires) a body.
pub fn of(kind: Kind, args: &Args, attrs: &[Attribute], vis: &Visibility, sig: &Signature) -> TokenStream {
    if kind == Kind::No || args.foreign_trait {
        return TokenStream::new();
    }
    let cfg: Vec<_> = attrs.iter().filter(|a| a.path().is_ident("cfg")).collect();
    let head = {
        let quiet = quiet();
        quote!(#(#cfg)* #quiet)
    };
    let has_self = sig.receiver().is_some();
    let krate = krate::path();
    let (name, span) = (&sig.ident, sig.ident.span());
    let witness = method_name(name);

    if args.tr_impl {
        return match (kind, has_self) {
            (Kind::May, _) => TokenStream::new(),
            (_, true) => quote_spanned!(span=> #head #[inline(always)] fn #witness(&self) {}),
            (_, false) => quote_spanned!(span=> #head #[inline(always)] fn #witness() {}),
        };
    }
    match (has_self, kind) {
        (true, Kind::May) => {
            let store = store_name(name);
            quote_spanned! {span=>
                #head #[inline(always)] #vis const fn #witness(&self) -> #krate::MayBarrier<Self> { #krate::MayBarrier::NEW }
                #head #[inline(always)] #vis const fn #store(&self) -> #krate::MayBarrier<Self> { #krate::MayBarrier::NEW }
            }
        }
        (true, _) => quote_spanned! {span=>
            #head #[inline(always)] #vis const fn #witness(&self) -> #krate::Of<Self> { #krate::Of::NEW }
        },
        (false, Kind::May) if args.assoc => TokenStream::new(),
        (false, _) if args.assoc => {
            quote_spanned!(span=> #head #[inline(always)] #vis const fn #witness() {})
        }
        (false, _) => {
            // Same name, same visibility, the other namespace: every `use` of the function carries it along.
            let certified =
                (kind != Kind::May).then(|| quote_spanned!(span=> #head unsafe impl #krate::NoWb for #name {}));
            quote_spanned!(span=> #head #vis enum #name {} #certified)
        }
    }
}

/// The witness that a marked trait requires of its implementations. It returns nothing, since a trait's method must
/// stay callable through `dyn`.
pub fn required(attrs: &[Attribute], sig: &Signature) -> TokenStream {
    let cfg = attrs.iter().filter(|a| a.path().is_ident("cfg"));
    let quiet = quiet();
    let witness = method_name(&sig.ident);
    match sig.receiver() {
        Some(_) => quote_spanned!(sig.ident.span()=> #(#cfg)* #quiet fn #witness(&self);),
        None => quote_spanned!(sig.ident.span()=> #(#cfg)* #quiet fn #witness() where Self: Sized;),
    }
}

/// The witness of `Drop::drop`, as a method of the type.
pub fn of_drop(item: &ItemImpl) -> TokenStream {
    let (krate, quiet) = (krate::path(), quiet());
    let (impl_generics, _, where_clause) = item.generics.split_for_impl();
    let (attrs, ty) = (item.attrs.iter().filter(|a| a.path().is_ident("cfg")), &item.self_ty);
    let witness = method_name(&Ident::new("drop", Span::call_site()));
    quote! {
        #(#attrs)*
        impl #impl_generics #ty #where_clause {
            #quiet #[inline(always)] pub const fn #witness(&self) -> #krate::Of<Self> { #krate::Of::NEW }
        }
    }
}

/// The witness of `Deref::deref`: receivers of this type reach the target's methods.
pub fn of_deref(item: &ItemImpl, target: Option<Type>) -> TokenStream {
    let (krate, quiet) = (krate::path(), quiet());
    let (impl_generics, _, where_clause) = item.generics.split_for_impl();
    let attrs = item.attrs.iter().filter(|a| a.path().is_ident("cfg"));
    let head = quote!(#(#attrs)* #quiet);
    let ty = &item.self_ty;
    let impls = [quote!(#ty), quote!(&#ty), quote!(&mut #ty)].map(
        |receiver| quote!(#head unsafe impl #impl_generics #krate::Reaches<#target> for #receiver #where_clause {}),
    );
    quote!(#(#impls)*)
}

/// What an operator trait's implementation leaves behind: that the type's operator is certified.
pub fn of_type(item: &ItemImpl, what: &str) -> TokenStream {
    let (krate, quiet) = (krate::path(), quiet());
    let (impl_generics, _, where_clause) = item.generics.split_for_impl();
    let attrs = item.attrs.iter().filter(|a| a.path().is_ident("cfg"));
    let (ty, what) = (&item.self_ty, Ident::new(what, Span::call_site()));
    quote!(#(#attrs)* #quiet unsafe impl #impl_generics #krate::#what for #ty #where_clause {})
}
