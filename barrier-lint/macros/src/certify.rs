//! `certify!`: witnesses for what no attribute can stand on.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Generics, Ident, LitStr, Path, Result, Token, Type, Visibility, braced, bracketed};

use crate::{args, krate, witness};

pub struct Certify(Vec<Entry>);

enum Entry {
    /// `pub fn name: "reason";` A function of this module.
    Fn { vis: Visibility, name: Ident },
    /// `pub use path as name: "reason";` A function from elsewhere, imported.
    Use { vis: Visibility, path: Path, name: Ident },
    /// `impl[T] Type { method, fn assoc }: "reason";` A type of this crate.
    Impl { generics: Generics, ty: Box<Type>, methods: Vec<Method> },
    /// `pub trait Name { method, fn assoc } for [T] Type, Type: "reason";` Types from elsewhere.
    Trait { vis: Visibility, name: Ident, methods: Vec<Method>, types: Vec<(Generics, Type)> },
}

struct Method {
    has_self: bool,
    name: Ident,
}

impl Parse for Method {
    fn parse(input: ParseStream) -> Result<Self> {
        let has_self = input.parse::<Option<Token![fn]>>()?.is_none();
        Ok(Method { has_self, name: input.call(<Ident as syn::ext::IdentExt>::parse_any)? })
    }
}

fn methods(input: ParseStream) -> Result<Vec<Method>> {
    let content;
    braced!(content in input);
    Ok(content.parse_terminated(Method::parse, Token![,])?.into_iter().collect())
}

/// `[T: Bound]`, if there.
fn generics(input: ParseStream) -> Result<Generics> {
    let mut generics = Generics::default();
    if input.peek(syn::token::Bracket) {
        let content;
        bracketed!(content in input);
        generics.params = content.parse_terminated(syn::GenericParam::parse, Token![,])?;
    }
    Ok(generics)
}

impl Parse for Certify {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut entries = Vec::new();
        while !input.is_empty() {
            let vis: Visibility = input.parse()?;
            let ahead = input.lookahead1();
            entries.push(if ahead.peek(Token![fn]) {
                input.parse::<Token![fn]>()?;
                Entry::Fn { vis, name: input.parse()? }
            } else if ahead.peek(Token![use]) {
                input.parse::<Token![use]>()?;
                let path = input.call(Path::parse_mod_style)?;
                let name = match input.parse::<Option<Token![as]>>()? {
                    Some(_) => input.parse()?,
                    None => path.segments[path.segments.len() - 1].ident.clone(),
                };
                Entry::Use { vis, path, name }
            } else if ahead.peek(Token![impl]) {
                input.parse::<Token![impl]>()?;
                Entry::Impl { generics: generics(input)?, ty: input.parse()?, methods: methods(input)? }
            } else if ahead.peek(Token![trait]) {
                input.parse::<Token![trait]>()?;
                let (name, methods) = (input.parse()?, methods(input)?);
                input.parse::<Token![for]>()?;
                let mut types = Vec::new();
                while !input.peek(Token![:]) {
                    types.push((generics(input)?, input.parse()?));
                    if !input.peek(Token![:]) {
                        input.parse::<Token![,]>()?;
                    }
                }
                Entry::Trait { vis, name, methods, types }
            } else {
                return Err(ahead.error());
            });
            input.parse::<Token![:]>()?;
            args::stated(input.parse::<LitStr>()?)?;
            input.parse::<Token![;]>()?;
        }
        Ok(Certify(entries))
    }
}

fn shadow(vis: &Visibility, name: &Ident) -> TokenStream {
    let (krate, quiet) = (krate::path(), witness::quiet());
    quote! {
        #quiet #vis enum #name {}
        #quiet unsafe impl #krate::NoWb for #name {}
    }
}

pub fn expand(certify: Certify) -> TokenStream {
    let (krate, quiet) = (krate::path(), witness::quiet());
    let entries = certify.0.iter().map(|entry| match entry {
        Entry::Fn { vis, name } => shadow(vis, name),
        Entry::Use { vis, path, name } => {
            let shadow = shadow(vis, name);
            quote!(#vis use #path as #name; #shadow)
        }
        Entry::Impl { generics, ty, methods } => {
            let methods = methods.iter().map(|m| {
                let w = witness::method_name(&m.name);
                match m.has_self {
                    true => quote!(#quiet pub const fn #w(&self) -> #krate::Of<Self> { #krate::Of::NEW }),
                    false => quote!(#quiet pub const fn #w() {}),
                }
            });
            quote!(impl #generics #ty { #(#methods)* })
        }
        Entry::Trait { vis, name, methods, types } => {
            let methods = methods.iter().map(|m| {
                let w = witness::method_name(&m.name);
                match m.has_self {
                    true => quote!(#quiet fn #w(&self) -> #krate::Of<Self> { #krate::Of::NEW }),
                    false => quote!(#quiet fn #w() {}),
                }
            });
            let impls = types.iter().map(|(g, ty)| quote!(#quiet unsafe impl #g #name for #ty {}));
            let name = format_ident!("{name}");
            quote!(#quiet #vis unsafe trait #name { #(#methods)* } #(#impls)*)
        }
    });
    quote!(#(#entries)*)
}
