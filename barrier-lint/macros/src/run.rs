//! What checked functions do at run time, in builds with debug assertions.

use proc_macro2::Span;
use quote::quote;
use syn::visit::{self, Visit};
use syn::{Block, Expr, ExprCall, ExprMethodCall, Ident, ImplItemFn, Stmt, parse_quote};

use crate::args::Kind;
use crate::{known, krate};

/// Puts the note or the question into the body, if what it calls could make a difference.
pub fn add(kind: Kind, calls: bool, f: &mut ImplItemFn) {
    // Under loom, threads are not threads; the whole-program check reads code without questions. A `const fn` calls only
    // such, and has no barrier.
    let none = cfg!(any(modelled, barrier_lint)) || f.sig.constness.is_some() || f.sig.asyncness.is_some();
    if none || f.attrs.iter().any(|a| crate::record::is(a, "naked")) {
        return;
    }
    let krate = krate::path();
    let name = f.sig.ident.to_string();
    let name =
        quote!(::core::concat!(::core::module_path!(), "::", #name, " (", ::core::file!(), ":", ::core::line!(), ")"));
    let stmt: Stmt = match kind {
        Kind::NoRec if !calls => return,
        Kind::NoRec | Kind::Yes => {
            let inside = Ident::new("inside", Span::mixed_site());
            let function = match kind {
                Kind::NoRec => quote!(::core::option::Option::Some(#krate::Function(#name))),
                _ => quote!(::core::option::Option::None),
            };
            parse_quote! {
                #[cfg(debug_assertions)]
                let #inside = #krate::Inside::enter(#function);
            }
        }
        Kind::May => parse_quote! {
            #[cfg(debug_assertions)]
            #krate::barrier(#name);
        },
        Kind::No | Kind::Canary => return,
    };
    f.block.stmts.insert(0, stmt);
}

/// Whether a body calls anything but constructors and what only atomics have. Asked before calls are rewritten.
pub fn calls(body: &Block) -> bool {
    struct Find(bool);
    impl<'a> Visit<'a> for Find {
        fn visit_expr_call(&mut self, c: &'a ExprCall) {
            let constructs = match &*c.func {
                Expr::Path(p) => p.path.segments.last().is_some_and(|s| known::is_upper(&s.ident.to_string())),
                _ => false,
            };
            self.0 |= !constructs;
            visit::visit_expr_call(self, c);
        }
        fn visit_expr_method_call(&mut self, c: &'a ExprMethodCall) {
            self.0 |= !known::is_atomic(&c.method.to_string());
            visit::visit_expr_method_call(self, c);
        }
        fn visit_macro(&mut self, _: &'a syn::Macro) {
            self.0 = true;
        }
    }
    let mut find = Find(false);
    find.visit_block(body);
    find.0
}
