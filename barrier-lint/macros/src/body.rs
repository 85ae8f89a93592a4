//! The walk over a marked body: each call gets an assertion that its callee is certified.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, Block, Error, Expr, ExprMethodCall, Macro, Path, Signature, Stmt, Token, parse_quote};

use crate::args::{Args, Kind};
use crate::bindings::Bindings;
use crate::known::{self, Known};
use crate::{call, krate, witness};

pub fn check(kind: Kind, args: &Args, sig: &Signature, block: &mut Block, errors: &mut Vec<Error>) {
    // Under loom the atomics are loom's, whose methods nobody certifies. The ordinary build checks the same source.
    if cfg!(modelled) {
        return;
    }
    let mut walk = Walk { kind, args, bound: Bindings::of(sig, &block.stmts), errors, methods: false };
    walk.visit_block_mut(block);
    if walk.methods {
        let krate = krate::path();
        let import: Stmt = match kind {
            Kind::NoRec => {
                parse_quote!(#[allow(unused_imports, clippy::wildcard_imports)] use #krate::certified::*;)
            }
            _ => parse_quote!(#[allow(unused_imports)] use #krate::UnlessStore as _;),
        };
        block.stmts.insert(0, import);
    }
}

pub struct Walk<'a> {
    kind: Kind,
    pub args: &'a Args,
    pub bound: Bindings,
    errors: &'a mut Vec<Error>,
    /// Whether a method was called, for which the standard library's witnesses must be in scope.
    methods: bool,
}

/// What a `for` may run over: a range or its reverse, or an array that is written out.
fn is_plain_iteration(e: &Expr) -> bool {
    match e {
        Expr::Range(_) | Expr::Array(_) => true,
        Expr::Paren(p) => is_plain_iteration(&p.expr),
        Expr::Group(g) => is_plain_iteration(&g.expr),
        Expr::Reference(r) => matches!(*r.expr, Expr::Array(_)),
        Expr::MethodCall(m) => m.method == "rev" && m.args.is_empty() && is_range(&m.receiver),
        _ => false,
    }
}

fn is_range(e: &Expr) -> bool {
    match e {
        Expr::Range(_) => true,
        Expr::Paren(p) => is_range(&p.expr),
        Expr::Group(g) => is_range(&g.expr),
        _ => false,
    }
}

impl Walk<'_> {
    pub fn error(&mut self, at: &impl ToTokens, text: &str) {
        self.errors.push(Error::new_spanned(at, format!("{}: {text}", self.kind.name())));
    }

    /// The body of an arm or a closure, where temporaries end anyway: a block will do.
    fn whole(&mut self, body: &mut Expr) {
        if let Expr::MethodCall(call) = body {
            let dead = self.method_witness(call);
            self.method_parts(call);
            *body = Expr::Verbatim(quote!({ #dead #call }));
        } else {
            self.visit_expr_mut(body);
        }
    }

    pub fn use_methods(&mut self) {
        self.methods = true;
    }

    fn strict(&self) -> bool {
        self.kind == Kind::NoRec
    }

    /// The assertion for one method call, on a copy of its receiver that is never evaluated. `direct` never returns, or the
    /// borrow checker would see the receiver moved twice.
    fn method_witness(&mut self, raw: &ExprMethodCall) -> Option<TokenStream> {
        let (receiver, method) = (&raw.receiver, &raw.method);
        let span = method.span();
        let krate = krate::at(span);
        let dead = match self.kind {
            Kind::NoRec => {
                let w = witness::method_name(method);
                // A name at the user's place, so that the error is there as a whole; it hides nothing that is used after it.
                let r = syn::Ident::new("r", span);
                quote_spanned!(span=> #[allow(static_mut_refs)] let #r = &(#receiver); #krate::direct(#r, #r.#w());)
            }
            _ if known::may_be_store(&method.to_string()) => {
                let w = witness::store_name(method);
                quote_spanned!(span=> #krate::no_store((#receiver).#w());)
            }
            _ => return None,
        };
        self.methods = true;
        Some(quote_spanned!(span=> if false { #dead }))
    }

    /// Rewrites what a method call contains, but not the call itself.
    fn method_parts(&mut self, call: &mut ExprMethodCall) {
        let mut checked = None;
        if self.strict()
            && let Some(params) = known::calls_its_argument(&call.method.to_string())
            && let Some(Expr::Path(p)) = call.args.last()
            && self.args.indirect.is_none()
        {
            let path = &p.path;
            let is_local = path.get_ident().is_some_and(|i| self.bound.contains(i));
            let is_upper = path.segments.last().is_some_and(|s| known::is_upper(&s.ident.to_string()));
            match params {
                // `map(Foo)` becomes `map(|x| Foo { 0: x })`, which resolves only if `Foo` is a constructor.
                Some(1) if is_upper => {
                    let span = Span::mixed_site().located_at(path.span());
                    let closure = quote_spanned!(span=> |x| #path { 0: x });
                    call.args.pop();
                    checked = Some(Expr::Verbatim(closure));
                }
                _ if is_local || is_upper => {
                    let text = "the callee calls this value, which cannot be certified: pass a closure literal or a \
                                marked function by name, or state why it is safe with `indirect = \"reason\"`";
                    self.error(&p.clone(), text);
                }
                _ => {}
            }
        }
        self.visit_expr_mut(&mut call.receiver);
        call.args.iter_mut().for_each(|a| self.visit_expr_mut(a));
        call.args.extend(checked);
        // Drops its argument if it is not wanted.
        if self.strict() && call.method == "then_some" {
            let span = call.method.span();
            let krate = krate::at(span);
            call.args.iter_mut().for_each(|a| *a = Expr::Verbatim(quote_spanned!(span=> #krate::copied(#a))));
        }
    }

    fn macro_call(&mut self, mac: &mut Macro) {
        let name = mac.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
        let known = match known::parse(mac) {
            Ok(known) => known,
            Err(_) if !self.strict() => return,
            Err(e) => {
                return self.error(&mac.path, &format!("cannot parse the arguments of `{name}!`: {e}"));
            }
        };
        match known {
            Known::Inert => {}
            Known::Exprs(mut exprs) => {
                let condition = exprs.first().map(|c| quote!(#c).to_string());
                exprs.iter_mut().for_each(|e| match e {
                    // `name = value` of a format string.
                    Expr::Assign(named) => self.visit_expr_mut(&mut named.right),
                    e => self.visit_expr_mut(e),
                });
                // Panics should quote what the user wrote, not what became of it.
                if let ("assert" | "debug_assert", 1, Some(text)) = (name.as_str(), exprs.len(), condition) {
                    exprs.push(parse_quote!("assertion failed: {}"));
                    exprs.push(parse_quote!(#text));
                }
                let exprs: Punctuated<Expr, Token![,]> = exprs.into_iter().collect();
                mac.tokens = quote!(#exprs);
            }
            Known::Matches { mut value, pat, mut guard } => {
                self.visit_expr_mut(&mut value);
                guard.iter_mut().for_each(|g| self.visit_expr_mut(g));
                let guard = guard.map(|g| quote!(if #g));
                mac.tokens = quote!(#value, #pat #guard);
            }
            Known::Place(mut place) => {
                self.place(&mut place);
                mac.tokens = quote!(#place);
            }
            Known::Asm if self.strict() && self.args.asm.is_none() => {
                let text = "the checker cannot see into `asm!`: state why it holds no barrier, \
                            #[nowritebarrierrec(asm = \"reason\")]";
                self.error(&mac.path, text);
            }
            Known::Opaque if self.strict() => {
                let text = format!(
                    "macro `{name}!` is opaque to the checker: expand it by hand, or move it to a marked function"
                );
                self.error(&mac.path, &text);
            }
            Known::Asm | Known::Opaque => {}
        }
    }

    /// A place whose address is taken without reading it: a bare path may be a lower-case symbol.
    fn place(&mut self, place: &mut Expr) {
        if !matches!(place, Expr::Path(_)) {
            self.visit_expr_mut(place);
        }
    }

    fn conjures(&mut self, path: &Path) -> bool {
        let mut back = path.segments.iter().rev().map(|s| &s.ident);
        let found = back.next().is_some_and(|n| n == "conjure") && back.next().is_some_and(|t| t == "Wb");
        if found {
            let text = "a `Wb` is obtained only in a #[yeswritebarrierrec(wb = \"reason\")] function";
            self.error(&path, text);
        }
        found
    }
}

impl VisitMut for Walk<'_> {
    fn visit_block_mut(&mut self, block: &mut Block) {
        for mut stmt in std::mem::take(&mut block.stmts) {
            // Where a call is a whole statement, the assertion stands before it. Elsewhere it must stand beside it in
            // a tuple, which the compiler calls unreachable if the call does not return.
            if let Stmt::Expr(Expr::MethodCall(call), _) = &mut stmt {
                if let Some(dead) = self.method_witness(call) {
                    let cfg = call.attrs.iter().filter(|a| a.path().is_ident("cfg"));
                    block.stmts.push(Stmt::Expr(Expr::Verbatim(quote!(#(#cfg)* { #dead })), None));
                }
                self.method_parts(call);
            } else {
                self.visit_stmt_mut(&mut stmt);
            }
            block.stmts.push(stmt);
        }
    }

    fn visit_stmt_mut(&mut self, stmt: &mut Stmt) {
        match stmt {
            Stmt::Macro(m) => self.macro_call(&mut m.mac),
            _ => visit_mut::visit_stmt_mut(self, stmt),
        }
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        let guard = arm.guard.as_mut().map(|(_, guard)| &mut **guard);
        guard.into_iter().for_each(|g| self.visit_expr_mut(g));
        self.whole(&mut arm.body);
    }

    fn visit_expr_mut(&mut self, e: &mut Expr) {
        match e {
            Expr::Call(c) => {
                let callee = match &mut *c.func {
                    Expr::Paren(p) => &mut *p.expr,
                    other => other,
                };
                if let Expr::Path(p) = callee
                    && self.conjures(&p.path)
                {
                    return;
                }
                if !self.strict() {
                    visit_mut::visit_expr_mut(self, e);
                } else if let Some(new) = call::rewrite(self, c) {
                    *e = new;
                }
            }
            Expr::MethodCall(call) => {
                let dead = self.method_witness(&call.clone());
                self.method_parts(call);
                // A tuple, not a block: temporaries must live as long as they did.
                if let Some(dead) = dead {
                    *e = Expr::Verbatim(quote_spanned!(call.method.span()=> (#dead, #call).1));
                }
            }
            Expr::Path(p) if self.strict() => {
                if let Some(new) = call::value(self, p) {
                    *e = new;
                }
            }
            Expr::Macro(m) => self.macro_call(&mut m.mac),
            Expr::RawAddr(r) => self.place(&mut r.expr),
            Expr::Struct(s) => {
                s.fields.iter_mut().filter(|f| f.colon_token.is_some()).for_each(|f| self.visit_expr_mut(&mut f.expr));
                s.rest.iter_mut().for_each(|r| self.visit_expr_mut(r));
            }
            Expr::ForLoop(f) if self.strict() => {
                if is_plain_iteration(&f.expr) {
                    self.range(&mut f.expr);
                } else {
                    let text = "`for` calls `IntoIterator` and `Iterator::next`, which may be anything: loop over a \
                                range, or use `while`";
                    self.error(&f.expr, text);
                }
                self.visit_block_mut(&mut f.body);
            }
            // On an `Option` only: on a `Result` it converts the error with `From`.
            Expr::Try(t) if self.strict() => {
                self.visit_expr_mut(&mut t.expr);
                let span = t.question_token.span();
                let (krate, option) = (krate::at(span), &t.expr);
                *t.expr = Expr::Verbatim(quote_spanned!(span=> #krate::question_mark(#option)));
            }
            Expr::Await(a) if self.strict() => {
                self.error(&a.await_token, "`.await` polls a future, which may be anything");
            }
            Expr::Async(a) if self.strict() => {
                self.error(&a.async_token, "an `async` block runs later, in a poll that no attribute covers");
            }
            Expr::Closure(c) if self.strict() && c.asyncness.is_some() => {
                self.error(&c.asyncness, "an `async` closure runs later, in a poll that no attribute covers");
            }
            Expr::Closure(c) => self.whole(&mut c.body),
            Expr::Verbatim(v) if self.strict() => {
                let unknown = v.clone();
                self.error(&unknown, "syntax that the checker does not know");
            }
            // Evaluated by the compiler.
            Expr::Const(_) => {}
            Expr::Repeat(r) => self.visit_expr_mut(&mut r.expr),
            _ => visit_mut::visit_expr_mut(self, e),
        }
    }

    fn visit_pat_mut(&mut self, _: &mut syn::Pat) {}
    fn visit_type_mut(&mut self, _: &mut syn::Type) {}
    fn visit_item_mut(&mut self, _: &mut syn::Item) {}
    fn visit_attribute_mut(&mut self, _: &mut syn::Attribute) {}
}

impl Walk<'_> {
    /// The bounds of a range or the elements of an array, without `rev`, which is `core`'s on a literal range.
    fn range(&mut self, e: &mut Expr) {
        match e {
            Expr::Paren(p) => self.range(&mut p.expr),
            Expr::Group(g) => self.range(&mut g.expr),
            Expr::MethodCall(m) => self.range(&mut m.receiver),
            _ => visit_mut::visit_expr_mut(self, e),
        }
    }
}
