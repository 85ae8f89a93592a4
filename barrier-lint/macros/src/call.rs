//! Calls of paths, and functions named as values.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{Expr, ExprCall, ExprPath, Ident, Path, PathArguments};

use crate::body::Walk;
use crate::{known, krate, witness};

/// `path`, whose last segment has lost its arguments: they are the function's, not its shadow type's.
fn bare(path: &Path) -> Path {
    let mut path = path.clone();
    if let Some(last) = path.segments.last_mut() {
        last.arguments = PathArguments::None;
    }
    path
}

/// A call; `None` if it was rewritten in place.
pub fn rewrite(walk: &mut Walk, call: &mut ExprCall) -> Option<Expr> {
    let mut func = &mut *call.func;
    loop {
        func = match func {
            Expr::Paren(p) => &mut *p.expr,
            Expr::Group(g) => &mut *g.expr,
            _ => break,
        };
    }
    match func {
        Expr::Path(p) if p.qself.is_none() => {
            let last = p.path.segments.last()?;
            if let Some(local) = p.path.get_ident().filter(|i| walk.bound.contains(i)).cloned() {
                indirect(walk, &local, &format!("`{local}` is a local binding"));
            } else if known::is_upper(&last.ident.to_string()) || last.ident == "Self" {
                return Some(constructor(walk, p, &mut call.args));
            } else if is_primitive_from(&p.path) {
                let span = p.span();
                let krate = krate::at(span);
                call.args.iter_mut().for_each(|a| {
                    walk.visit_expr_mut(a);
                    *a = Expr::Verbatim(quote_spanned!(span=> #krate::prim(#a)));
                });
                return None;
            } else if is_drop(&p.path) && call.args.len() == 1 {
                return Some(dropped(walk, &p.path.clone(), &mut call.args[0]));
            } else if let Some(new) = value(walk, p) {
                *call.func = new;
            }
        }
        Expr::Path(p) => {
            if let Some(new) = value(walk, p) {
                *call.func = new;
            }
        }
        Expr::Closure(c) => walk.visit_expr_mut(&mut c.body),
        other => {
            indirect(walk, other, "this calls a value");
            walk.visit_expr_mut(other);
        }
    }
    call.args.iter_mut().for_each(|a| walk.visit_expr_mut(a));
    None
}

fn indirect(walk: &mut Walk, callee: &impl ToTokens, what: &str) {
    if walk.args.indirect.is_none() {
        let text = format!(
            "{what}: indirect calls cannot be certified; call a marked function by name, or state why it is safe with \
             `indirect = \"reason\"`"
        );
        walk.error(callee, &text);
    }
}

/// `Foo(a, b)` is `Foo { 0: a, 1: b }`, which resolves only if `Foo` is a constructor.
fn constructor(walk: &mut Walk, p: &ExprPath, args: &mut syn::punctuated::Punctuated<Expr, syn::Token![,]>) -> Expr {
    let path = &p.path;
    let fields = args.iter_mut().enumerate().map(|(i, a)| {
        walk.visit_expr_mut(a);
        let i = syn::Index { index: i as u32, span: a.span() };
        quote!(#i: #a)
    });
    let fields: Vec<TokenStream> = fields.collect();
    // Parentheses for `if Foo(x) == ..`; at the macro's own span, or the compiler would call them unnecessary.
    let span = Span::mixed_site().located_at(path.span());
    Expr::Verbatim(quote_spanned!(span=> (#path { #(#fields),* })))
}

/// `u64::from(x)`, whose argument must be primitive too, or the conversion is the user's.
fn is_primitive_from(path: &Path) -> bool {
    path.segments.len() == 2
        && path.segments[1].ident == "from"
        && known::is_primitive(&path.segments[0].ident.to_string())
}

fn is_drop(path: &Path) -> bool {
    let mut back = path.segments.iter().rev().map(|s| &s.ident);
    back.next().is_some_and(|n| n == "drop") && back.next().is_none_or(|m| m == "mem")
}

/// `drop(x)` calls `Drop::drop`, which must be marked for the type of `x`.
fn dropped(walk: &mut Walk, path: &Path, value: &mut Expr) -> Expr {
    let span = path.span();
    let krate = krate::at(span);
    let (r, raw) = (Ident::new("r", span), value.clone());
    let w = witness::method_name(&Ident::new("drop", span));
    walk.use_methods();
    walk.visit_expr_mut(value);
    Expr::Verbatim(quote_spanned! {span=>
        (if false { #krate::same(::core::mem::drop::<u8>, #path::<u8>); let #r = &(#raw); #krate::direct(#r, #r.#w()); },
         #path(#value)).1
    })
}

/// A path in value position: a function item must be certified before it may be named.
pub fn value(walk: &mut Walk, p: &ExprPath) -> Option<Expr> {
    let path = &p.path;
    let last = path.segments.last()?;
    let span = last.ident.span();
    let krate = krate::at(span);
    let is_bound = path.get_ident().is_some_and(|i| walk.bound.contains(i));
    if is_bound || known::is_upper(&last.ident.to_string()) {
        return None;
    }
    if let Some(name) = path.get_ident().filter(|i| walk.bound.is_unmarked(i)) {
        let text = format!("`{name}` is a function in this body without an attribute of its own: mark it as well");
        walk.error(name, &text);
        return None;
    }
    let full = walk.bound.resolve(path);
    let type_of_assoc = match path.segments.len() {
        1 => false,
        n => {
            let name = path.segments[n - 2].ident.to_string();
            known::is_upper(&name) || known::is_primitive(&name)
        }
    };
    let assertion = if p.qself.is_none()
        && let Some((listed, args)) = known::core_function(&full)
    {
        let bare = bare(path);
        quote_spanned!(span=> if false { #krate::same(#listed, #bare #args); })
    } else if p.qself.is_none()
        && let Some(listed) = known::core_constructor(path, &krate)
    {
        let mut ty = path.clone();
        ty.segments.pop();
        ty.segments.pop_punct();
        let ty = bare(&ty);
        quote_spanned!(span=> if false { #krate::same_type::<#listed>(::core::marker::PhantomData::<#ty<u8>>); })
    } else if p.qself.is_some() || type_of_assoc {
        let mut w = ExprPath { path: bare(path), ..p.clone() };
        if let Some(last) = w.path.segments.last_mut() {
            last.ident = witness::method_name(&last.ident);
        }
        quote_spanned!(span=> if false { let _ = #w; })
    } else {
        let bare = bare(&full);
        quote_spanned!(span=> let _: () = <#bare as #krate::NoWb>::CERTIFIED;)
    };
    if type_of_assoc || p.qself.is_some() {
        walk.use_methods();
    }
    Some(Expr::Verbatim(quote_spanned!(span=> ({ #assertion #p }))))
}
