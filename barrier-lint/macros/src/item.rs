//! Functions, `impl` blocks and traits under one of the attributes.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Block, Error, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, ItemTrait, Meta, Result, Signature, Token,
    TraitItem, Type, Visibility, parse_quote,
};

use crate::args::{Args, Kind};
use crate::{body, krate, record, run, twin, witness};

/// What an attribute can stand on.
pub enum Marked {
    Fn(Box<ImplItemFn>),
    /// A trait's method without a body.
    Required(Vec<Attribute>, Box<Signature>),
    Impl(Box<ItemImpl>),
    Trait(Box<ItemTrait>),
}

impl Parse for Marked {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut attrs = input.call(Attribute::parse_outer)?;
        let vis: Visibility = input.parse()?;
        let ahead = |a: bool, b: bool| a || (input.peek(Token![unsafe]) && b);
        if ahead(input.peek(Token![impl]), input.peek2(Token![impl])) {
            let mut item: ItemImpl = input.parse()?;
            item.attrs.splice(0..0, attrs);
            return Ok(Marked::Impl(Box::new(item)));
        }
        if ahead(input.peek(Token![trait]), input.peek2(Token![trait])) {
            let mut item: ItemTrait = input.parse()?;
            item.attrs.splice(0..0, attrs);
            item.vis = vis;
            return Ok(Marked::Trait(Box::new(item)));
        }
        let sig: Signature = input.parse().map_err(|mut e| {
            e.combine(Error::new(e.span(), "this attribute belongs on a function, an `impl` or a trait"));
            e
        })?;
        if input.parse::<Option<Token![;]>>()?.is_some() {
            return Ok(Marked::Required(attrs, Box::new(sig)));
        }
        let content;
        let brace_token = syn::braced!(content in input);
        attrs.extend(content.call(Attribute::parse_inner)?);
        let block = Block { brace_token, stmts: content.call(Block::parse_within)? };
        Ok(Marked::Fn(Box::new(ImplItemFn { attrs, vis, defaultness: None, sig, block })))
    }
}

pub fn expand(kind: Kind, args: &Args, marked: Marked) -> Result<TokenStream> {
    args.check(kind)?;
    if let Some(reason) = &args.receiver
        && !matches!(&marked, Marked::Impl(i) if trait_name(i).is_some_and(|n| n == "Deref"))
    {
        return Err(Error::new(reason.span(), "`receiver` belongs on an `impl Deref`"));
    }
    match marked {
        Marked::Fn(f) if kind == Kind::Canary => Ok(canary(args, *f)),
        _ if kind == Kind::Canary => Err(Error::new(Span::call_site(), "a canary is a function with a body")),
        Marked::Fn(f) => {
            let Checked { function, twin } = function(kind, args, *f, "");
            // A trait's `impl` can have none; on the whole `impl`, the attribute finds a place for it.
            let twin = twin.filter(|_| !(args.tr_impl || args.foreign_trait));
            Ok(quote!(#function #twin))
        }
        Marked::Required(attrs, sig) => {
            let witness = required(kind, &attrs, &sig);
            Ok(quote!(#(#attrs)* #sig; #witness))
        }
        Marked::Impl(item) => Ok(impl_block(kind, args, *item)),
        Marked::Trait(item) => Ok(trait_block(kind, *item)),
    }
}

/// What has become of one function with a body.
struct Checked {
    /// The function, its witness, and the errors found in it.
    function: TokenStream,
    /// Belongs beside a free function, and into an inherent `impl`.
    twin: Option<TokenStream>,
}

/// `place` says where the function stands, for the name of its twin.
fn function(kind: Kind, args: &Args, mut f: ImplItemFn, place: &str) -> Checked {
    let mut errors = Vec::new();
    if let Some(other) = f.attrs.iter().position(|a| Kind::of(a.path()).is_some()) {
        let other = f.attrs.remove(other);
        errors.push(Error::new_spanned(other, format!("{}: contradicts this attribute; keep one", kind.name())));
    }
    if !(args.assoc || args.tr_impl || args.foreign_trait) && f.sig.receiver().is_none() && names_self(&f.sig) {
        let text = format!(
            "a function without `self` in an impl needs #[{0}(assoc)], or (tr_impl) in the impl of a trait; or put \
             the attribute on the whole impl",
            kind.name()
        );
        let error = Error::new_spanned(&f.sig.ident, text).to_compile_error();
        return Checked { function: quote!(#error #f), twin: None };
    }
    signature(kind, &f.sig, &mut errors);
    let witness = witness::of(kind, args, &f.attrs, &f.vis, &f.sig);
    let original = (twin::wanted() && kind == Kind::NoRec && args.implied.is_none()).then(|| f.clone());
    let is_const = f.sig.constness.is_some();
    let calls = run::calls(&f.block);
    match kind {
        Kind::Yes => gate(args, &mut f, &mut errors),
        // The compiler is a stricter checker of `const fn` than any macro: no drops, no calls of other functions.
        Kind::NoRec | Kind::No if f.sig.constness.is_none() && f.sig.asyncness.is_none() => {
            body::check(kind, args, &f.sig, &mut f.block, &mut errors)
        }
        _ => {}
    }
    let twin = original.filter(|_| errors.is_empty() && !is_const).and_then(|f| twin::of(&f, place));
    run::add(kind, calls, &mut f);
    let record = record::add(kind, args, &mut f);
    let errors = errors.iter().map(Error::to_compile_error);
    Checked { function: quote!(#(#errors)* #f #witness #record), twin }
}

/// A function whose body nobody checks here; outside the whole-program check nobody calls it either.
fn canary(args: &Args, mut f: ImplItemFn) -> TokenStream {
    let record = record::add(Kind::Canary, args, &mut f);
    quote!(#[allow(dead_code)] #f #record)
}

/// Whether a signature says `Self`, which only an impl or a trait gives a meaning.
fn names_self(sig: &Signature) -> bool {
    fn in_stream(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|t| match t {
            TokenTree::Ident(i) => i == "Self",
            TokenTree::Group(g) => in_stream(g.stream()),
            _ => false,
        })
    }
    in_stream(sig.to_token_stream())
}

fn signature(kind: Kind, sig: &Signature, errors: &mut Vec<Error>) {
    if !matches!(kind, Kind::No | Kind::NoRec) {
        return;
    }
    let name = kind.name();
    if let Some(a) = &sig.asyncness {
        errors.push(Error::new_spanned(
            a,
            format!("{name}: an `async fn` runs its body later, in a poll that no attribute covers; write a plain fn"),
        ));
    }
    for arg in &sig.inputs {
        if let FnArg::Typed(arg) = arg
            && is_wb(&arg.ty)
        {
            errors.push(Error::new_spanned(
                &arg.ty,
                format!(
                    "{name}: a `Wb` is the permission to execute write barriers, which this function promises not to \
                     do: remove the parameter, or mark the function #[yeswritebarrierrec]"
                ),
            ));
        }
    }
}

fn is_wb(ty: &Type) -> bool {
    match ty {
        Type::Path(p) => p.path.segments.last().is_some_and(|s| s.ident == "Wb"),
        Type::Reference(r) => is_wb(&r.elem),
        Type::Paren(p) => is_wb(&p.elem),
        Type::Group(g) => is_wb(&g.elem),
        Type::Tuple(t) => t.elems.iter().any(is_wb),
        _ => false,
    }
}

/// A function where the flood stops: never inlined, and the only place that may bind a `wb` of its own.
fn gate(args: &Args, f: &mut ImplItemFn, errors: &mut Vec<Error>) {
    if let Some(inline) = f.attrs.iter().find(|a| a.path().is_ident("inline")) {
        errors.push(Error::new_spanned(inline,
            "yeswritebarrierrec: this function is never inlined, or its barriers would be its callers'; remove #[inline]",
        ));
        return;
    }
    f.attrs.push(parse_quote!(#[inline(never)]));
    if args.wb.is_some() {
        let krate = krate::path();
        // The caller's hygiene for `wb`, the macro's for `anchor`: a token cannot outlive the body.
        let wb = Ident::new("wb", Span::call_site());
        let anchor = Ident::new("anchor", Span::mixed_site());
        let bind: Block = parse_quote!({
            #[allow(clippy::let_unit_value)]
            let #anchor: () = ();
            #[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
            let #wb: #krate::Wb<'_> = unsafe { #krate::Wb::conjure_within(&#anchor) };
        });
        f.block.stmts.splice(0..0, bind.stmts);
    }
}

/// If a function inside a marked block bears an attribute of ours, that one counts. It stays where it is, and learns
/// with `context` where it stands.
fn has_own(attrs: &mut [Attribute], context: &str) -> Result<Option<Kind>> {
    let Some(attr) = attrs.iter_mut().find(|a| Kind::of(a.path()).is_some()) else {
        return Ok(None);
    };
    let path = attr.path().clone();
    let context = Ident::new(context, Span::call_site());
    let args = match &attr.meta {
        Meta::Path(_) => quote!(#context),
        meta => {
            let tokens = &meta.require_list()?.tokens;
            quote!(#context, #tokens)
        }
    };
    attr.meta = parse_quote!(#path(#args));
    Ok(Kind::of(&path))
}

fn trait_name(item: &ItemImpl) -> Option<&Ident> {
    Some(&item.trait_.as_ref()?.1.segments.last()?.ident)
}

/// Traits that nobody can mark, but whose implementations checked bodies ask the type for.
const ASKED_FOR: [&str; 5] = ["Drop", "Deref", "DerefMut", "Index", "IndexMut"];

fn impl_block(kind: Kind, args: &Args, mut item: ItemImpl) -> TokenStream {
    let mut args = args.clone();
    args.assoc = item.trait_.is_none();
    let name = trait_name(&item).map(Ident::to_string);
    let name = name.as_deref();
    args.foreign_trait |= name.is_some_and(|n| ASKED_FOR.contains(&n));
    args.tr_impl = item.trait_.is_some() && !args.foreign_trait;
    let context = match (args.assoc, args.tr_impl) {
        (true, _) => "assoc",
        (_, true) => "tr_impl",
        _ => "foreign_trait",
    };
    let mut certified = matches!(kind, Kind::NoRec | Kind::Yes);
    let mut target = None;
    let place = item.trait_.as_ref().map(|(_, path, _)| path.to_token_stream().to_string()).unwrap_or_default();
    let mut twins = Vec::new();
    for i in &mut item.items {
        if let ImplItem::Type(t) = i {
            target = (t.ident == "Target").then(|| t.ty.clone());
        }
        let ImplItem::Fn(f) = i else { continue };
        *i = ImplItem::Verbatim(match has_own(&mut f.attrs, context) {
            Ok(None) => {
                let Checked { function, twin } = function(kind, &args, f.clone(), &place);
                twins.extend(twin);
                function
            }
            Ok(Some(own)) => {
                certified = matches!(own, Kind::NoRec | Kind::Yes);
                quote!(#f)
            }
            Err(e) => with_error(e, f),
        });
    }
    let witness = match name {
        Some("Drop") if certified => witness::of_drop(&item),
        Some("Deref") if certified => {
            let receiver = args.receiver.is_some().then(|| witness::of_deref(&item, target));
            let deref = witness::of_type(&item, "CertifiedDeref");
            quote!(#receiver #deref)
        }
        Some("DerefMut") if certified => witness::of_type(&item, "CertifiedDerefMut"),
        Some("Index") if certified => witness::of_type(&item, "Indexed"),
        _ => TokenStream::new(),
    };
    let twins = in_inherent_impl(&item, &twins);
    // What is left of drop glue in the twins' build is what nobody certified.
    if name == Some("Drop") && certified && twin::wanted() {
        let (attrs, items) = (&item.attrs, &item.items);
        let (impl_generics, _, where_clause) = item.generics.split_for_impl();
        let ty = &item.self_ty;
        item = parse_quote!(#(#attrs)* impl #impl_generics #ty #where_clause { #(#items)* });
        let quiet = witness::quiet();
        return quote!(const _: () = { #quiet #item }; #witness #twins);
    }
    quote!(#item #witness #twins)
}

/// A trait's `impl` can have no `const fn`, so the twins of its functions stand in an inherent one; unless the type's
/// name says that it can have none, or the trait's arguments are its own.
fn in_inherent_impl(item: &ItemImpl, twins: &[TokenStream]) -> TokenStream {
    if item.trait_.is_none() {
        // Beside the functions. The brackets close before it.
        let (impl_generics, _, where_clause) = item.generics.split_for_impl();
        let ty = &item.self_ty;
        let cfg = item.attrs.iter().filter(|a| a.path().is_ident("cfg"));
        return match twins.is_empty() {
            true => TokenStream::new(),
            false => quote!(#(#cfg)* impl #impl_generics #ty #where_clause { #(#twins)* }),
        };
    }
    let of_this_crate = match &*item.self_ty {
        Type::Path(p) => p.path.get_ident().is_none_or(|i| !crate::known::is_primitive(&i.to_string())),
        _ => false,
    };
    let words: Vec<String> = idents(item.self_ty.to_token_stream());
    let constrained = item.generics.params.iter().all(|p| match p {
        syn::GenericParam::Lifetime(_) => true,
        syn::GenericParam::Type(t) => words.contains(&t.ident.to_string()),
        syn::GenericParam::Const(c) => words.contains(&c.ident.to_string()),
    });
    if twins.is_empty() || !of_this_crate || !constrained {
        return TokenStream::new();
    }
    let (impl_generics, _, where_clause) = item.generics.split_for_impl();
    let (ty, path) = (&item.self_ty, item.trait_.as_ref().map(|(_, path, _)| path));
    let types = item.items.iter().filter_map(|i| match i {
        ImplItem::Type(t) => Some(t.ident.clone()),
        _ => None,
    });
    let types: Vec<Ident> = types.collect();
    // `Self::Target` is ambiguous outside the trait's impl.
    let twins = twins.iter().map(|t| qualify(t.clone(), &types, &quote!(<Self as #path>)));
    let cfg = item.attrs.iter().filter(|a| a.path().is_ident("cfg"));
    quote!(#(#cfg)* impl #impl_generics #ty #where_clause { #(#twins)* })
}

fn idents(tokens: TokenStream) -> Vec<String> {
    let words = tokens.into_iter().flat_map(|t| match t {
        TokenTree::Ident(i) => vec![i.to_string()],
        TokenTree::Group(g) => idents(g.stream()),
        _ => Vec::new(),
    });
    words.collect()
}

/// `Self::Name` becomes `<Self as Trait>::Name`, for the names in `types`.
fn qualify(tokens: TokenStream, types: &[Ident], qualified: &TokenStream) -> TokenStream {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut out = TokenStream::new();
    for (i, t) in trees.iter().enumerate() {
        let names_type = matches!(t, TokenTree::Ident(s) if s == "Self")
            && matches!(trees.get(i + 3), Some(TokenTree::Ident(n)) if types.contains(n))
            && matches!(trees.get(i + 1), Some(TokenTree::Punct(p)) if p.as_char() == ':');
        match t {
            _ if names_type => out.extend(qualified.clone()),
            TokenTree::Group(g) => {
                let mut group = proc_macro2::Group::new(g.delimiter(), qualify(g.stream(), types, qualified));
                group.set_span(g.span());
                out.extend([TokenTree::Group(group)]);
            }
            t => out.extend([t.clone()]),
        }
    }
    out
}

fn trait_block(kind: Kind, mut item: ItemTrait) -> TokenStream {
    for i in &mut item.items {
        let TraitItem::Fn(f) = i else { continue };
        *i = TraitItem::Verbatim(match has_own(&mut f.attrs, "foreign_trait") {
            Ok(Some(Kind::May)) => quote!(#f),
            Ok(None) if f.default.is_none() => {
                let witness = required(kind, &f.attrs, &f.sig);
                quote!(#f #witness)
            }
            Ok(Some(_)) if f.default.is_none() => quote!(#f),
            Ok(_) => {
                let text = format!(
                    "{}: an implementation could replace this default body by an unchecked one: make the method \
                     required and let each implementation call a marked free function, or exempt it with \
                     #[writebarrier]",
                    kind.name()
                );
                f.attrs.retain(|a| Kind::of(a.path()).is_none());
                with_error(Error::new(f.sig.ident.span(), text), f)
            }
            Err(e) => with_error(e, f),
        });
    }
    item.into_token_stream()
}

fn with_error(e: Error, f: &impl ToTokens) -> TokenStream {
    let e = e.to_compile_error();
    quote!(#e #f)
}

fn required(kind: Kind, attrs: &[Attribute], sig: &Signature) -> TokenStream {
    let mut errors = Vec::new();
    signature(kind, sig, &mut errors);
    let errors = errors.iter().map(Error::to_compile_error);
    let witness = match kind {
        Kind::NoRec | Kind::Yes => witness::required(attrs, sig),
        Kind::No | Kind::May | Kind::Canary => TokenStream::new(),
    };
    quote!(#(#errors)* #witness)
}
