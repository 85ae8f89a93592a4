//! `certify!`: witnesses for what no attribute can stand on.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Generics, Ident, LitStr, Result, Token, Type, UseTree, Visibility, braced, bracketed};

use crate::{args, krate, witness};

pub struct Certify(Vec<Entry>);

enum Entry {
    /// `pub fn name: "reason";` A function of this module.
    Fn { vis: Visibility, name: Ident },
    /// `pub use path::{f, g as name}: "reason";` Functions from elsewhere, imported.
    Use { vis: Visibility, colon: Option<Token![::]>, tree: UseTree },
    /// `impl[T] Type { method, fn assoc }: "reason";` A type of this crate.
    Impl { generics: Generics, ty: Box<Type>, methods: Vec<Method> },
    /// `pub trait Name { method, fn assoc } for [T] Type, Type: "reason";` Types from elsewhere.
    Trait { vis: Visibility, name: Ident, methods: Vec<Method>, types: Vec<(Generics, Type)> },
    /// `operators [T] Type, Type: "reason";` Types whose operators run no barrier.
    Operators(Vec<(Generics, Type)>),
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

syn::custom_keyword!(operators);

/// `[T] Type, Type`, up to the colon.
fn types(input: ParseStream) -> Result<Vec<(Generics, Type)>> {
    let mut types = Vec::new();
    while !input.peek(Token![:]) {
        types.push((generics(input)?, input.parse()?));
        if !input.peek(Token![:]) {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(types)
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
                Entry::Use { vis, colon: input.parse()?, tree: input.parse()? }
            } else if ahead.peek(Token![impl]) {
                input.parse::<Token![impl]>()?;
                Entry::Impl { generics: generics(input)?, ty: input.parse()?, methods: methods(input)? }
            } else if ahead.peek(Token![trait]) {
                input.parse::<Token![trait]>()?;
                let (name, methods) = (input.parse()?, methods(input)?);
                input.parse::<Token![for]>()?;
                Entry::Trait { vis, name, methods, types: types(input)? }
            } else if ahead.peek(operators) {
                input.parse::<operators>()?;
                Entry::Operators(types(input)?)
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

/// The names that a `use` brings in.
fn imported<'a>(tree: &'a UseTree, names: &mut Vec<&'a Ident>) {
    match tree {
        UseTree::Path(p) => imported(&p.tree, names),
        UseTree::Name(n) => names.push(&n.ident),
        UseTree::Rename(r) => names.push(&r.rename),
        UseTree::Group(g) => g.items.iter().for_each(|t| imported(t, names)),
        // A function that is not named has no reason stated.
        UseTree::Glob(_) => {}
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
        Entry::Operators(types) => {
            let impls = types.iter().map(|(g, ty)| quote!(#quiet unsafe impl #g #krate::Operand for #ty {}));
            quote!(#(#impls)*)
        }
        Entry::Use { vis, colon, tree } => {
            let mut names = Vec::new();
            imported(tree, &mut names);
            let shadows = names.iter().map(|name| shadow(vis, name));
            quote!(#vis use #colon #tree; #(#shadows)*)
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
