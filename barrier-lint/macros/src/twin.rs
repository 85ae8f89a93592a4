//! The twin of a checked body: a `const fn` that nobody calls, in which the compiler itself looks for implied calls.
//!
//! A `const fn` may not drop a value that has drop glue. So the twin keeps the body's variables, moves, assignments and
//! control flow, and makes everything opaque that const code could not do but that is checked elsewhere: calls, casts,
//! reads and writes through fields and pointers. An opaque expression is a closure that is never called: `f(x, g(y))`
//! becomes `opaque((opaque((), |()| g(y)),), |(a,)| f(x, a))`. It gives its type and moves what it moves. It diverges
//! first, so that the borrow checker does not look at the rest. There, too, stand the questions that need types only:
//! does an operator, an index or a dereference call code of the user's?
//!
//! The twin exists only under `--cfg barrier_lint_twin`, and so does the other half of the trick: an `impl Drop` that is
//! certified is no `impl Drop` there, so that only drop glue that nobody certified is left.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, BinOp, Block, Expr, Ident, ImplItemFn, Local, Macro, Pat, Path, Stmt, Token, UnOp, Visibility,
    parse_quote,
};

use crate::args::Kind;
use crate::known::{self, Known};
use crate::krate;

/// Whether this build has twins.
pub fn wanted() -> bool {
    cfg!(barrier_lint_twin) && !cfg!(modelled)
}

/// The name of a method's twin. `place` sets apart methods of one name, of different traits.
fn name(place: &str, method: &Ident) -> Ident {
    let place: String = place.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format_ident!("nowritebarrierrec__twin_{}_{}", place, method.unraw(), span = method.span())
}

/// The twin of `f`. `None` if it holds assembly, whose operands no closure can have.
pub fn of(f: &ImplItemFn, place: &str) -> Option<TokenStream> {
    // An `impl Deref` reaches its own fields, whatever else is to be said of it.
    let own = place.starts_with("Deref");
    let mut find = FindAsm(false);
    find.visit_block_mut(&mut f.block.clone());
    if find.0 {
        return None;
    }
    let mut sig = f.sig.clone();
    sig.constness = Some(parse_quote!(const));
    sig.abi = None;
    sig.ident = name(place, &sig.ident);
    let cfg = f.attrs.iter().filter(|a| a.path().is_ident("cfg"));
    let mut twin = Twin { holes: 0, self_reached: own };
    let body = twin.block(&f.block);
    // The whole body is unsafe: opaque places are raw pointers.
    let krate = krate::path();
    Some(quote! {
        #(#cfg)*
        #[doc(hidden)]
        #[allow(warnings, unused, unreachable_code, non_snake_case, overflowing_literals, static_mut_refs)]
        #[allow(dangerous_implicit_autorefs, clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
        #sig {
            use #krate::{Answer as _, Stripped as _};
            unsafe #body
        }
    })
}

struct FindAsm(bool);

impl VisitMut for FindAsm {
    fn visit_macro_mut(&mut self, mac: &mut Macro) {
        self.0 |= matches!(known::parse(mac), Ok(Known::Asm));
    }
}

struct Twin {
    holes: usize,
    /// Whether something was asked about the type of `self`.
    self_reached: bool,
}

/// What an opaque expression takes from outside its closure.
#[derive(Default)]
struct Holes {
    values: Vec<TokenStream>,
    names: Vec<Ident>,
    checks: Vec<TokenStream>,
}

fn plain(e: &Expr) -> &Expr {
    match e {
        Expr::Paren(p) => plain(&p.expr),
        Expr::Group(g) => plain(&g.expr),
        e => e,
    }
}

/// A place that is more than a variable.
fn is_projection(e: &Expr) -> bool {
    match plain(e) {
        Expr::Field(_) | Expr::Index(_) => true,
        Expr::Unary(u) => matches!(u.op, UnOp::Deref(_)),
        _ => false,
    }
}

fn is_literal(e: &Expr) -> bool {
    match plain(e) {
        Expr::Lit(_) => true,
        Expr::Unary(u) => matches!(u.op, UnOp::Neg(_)) && is_literal(&u.expr),
        _ => false,
    }
}

fn is_self(e: &Expr) -> bool {
    matches!(plain(e), Expr::Path(p) if p.path.is_ident("self"))
}

/// Whether a pattern takes the whole value by one name.
fn takes_whole(pat: &Pat) -> bool {
    match pat {
        Pat::Ident(i) => i.by_ref.is_none() && i.subpat.is_none() && !known::is_upper(&i.ident.to_string()),
        Pat::Type(t) => takes_whole(&t.pat),
        Pat::Paren(p) => takes_whole(&p.pat),
        _ => false,
    }
}

fn is_assignment(op: &BinOp) -> bool {
    use BinOp::*;
    matches!(
        op,
        AddAssign(_)
            | SubAssign(_)
            | MulAssign(_)
            | DivAssign(_)
            | RemAssign(_)
            | BitXorAssign(_)
            | BitAndAssign(_)
            | BitOrAssign(_)
            | ShlAssign(_)
            | ShrAssign(_)
    )
}

impl Twin {
    fn opaque(&self, span: Span, holes: Holes, inside: TokenStream) -> TokenStream {
        let Holes { values, names, checks } = holes;
        let span = Span::mixed_site().located_at(span);
        let krate = krate::at(span);
        quote_spanned!(span=> #krate::opaque((#(#values,)*), |(#(mut #names,)*)| { loop {} #(#checks)* #inside }))
    }

    /// `e` as the closure of an opaque expression can say it: in its own words if evaluating it implies nothing that
    /// const code would refuse, else as a name for what is evaluated outside.
    fn part(&mut self, e: &Expr, holes: &mut Holes) -> TokenStream {
        match plain(e) {
            e if is_literal(e) => e.to_token_stream(),
            e @ Expr::Path(_) => e.to_token_stream(),
            e @ Expr::Closure(_) => self.value(e),
            Expr::Reference(r) if is_projection(&r.expr) || matches!(plain(&r.expr), Expr::Path(_)) => {
                let (m, place) = (&r.mutability, self.place(&r.expr, holes));
                quote!((& #m #place))
            }
            Expr::RawAddr(r) if is_projection(&r.expr) || matches!(plain(&r.expr), Expr::Path(_)) => {
                let (m, place) = (&r.mutability, self.place(&r.expr, holes));
                quote!((&raw #m #place))
            }
            e if is_projection(e) => self.place(e, holes),
            e => self.hole(e, holes),
        }
    }

    fn hole(&mut self, e: &Expr, holes: &mut Holes) -> TokenStream {
        let name = format_ident!("a{}", self.holes, span = Span::mixed_site().located_at(e.span()));
        self.holes += 1;
        holes.values.push(self.value(e));
        holes.names.push(name.clone());
        name.into_token_stream()
    }

    /// The place `e` in the words of a closure, with the questions that its way there raises.
    fn place(&mut self, e: &Expr, holes: &mut Holes) -> TokenStream {
        match plain(e) {
            Expr::Field(f) => {
                let (base, member) = (self.place_below(&f.base, holes), &f.member);
                self.reaches(&f.base, &base, member.span(), holes);
                quote_spanned!(e.span()=> #base.#member)
            }
            Expr::Unary(u) if matches!(u.op, UnOp::Deref(_)) => {
                let base = self.place_below(&u.expr, holes);
                self.reaches(&u.expr, &base, e.span(), holes);
                quote_spanned!(e.span()=> (*#base))
            }
            Expr::Index(i) => {
                let (base, index) = (self.place_below(&i.expr, holes), self.part(&i.index, holes));
                let span = Span::mixed_site().located_at(i.expr.span());
                let krate = krate::at(span);
                holes.checks.push(quote_spanned! {span=>
                    #krate::indexed((&&&&#krate::strip(&(#base))).stripped());
                });
                quote_spanned!(e.span()=> #base[#index])
            }
            e @ Expr::Path(_) => e.to_token_stream(),
            e => self.hole(e, holes),
        }
    }

    /// The place below a field, an index or a `*`. A temporary stays outside and is dropped there, as it is in the body.
    fn place_below(&mut self, e: &Expr, holes: &mut Holes) -> TokenStream {
        match is_projection(e) || matches!(plain(e), Expr::Path(_)) {
            true => self.place(e, holes),
            false => {
                let name = self.hole(&Expr::Reference(parse_quote!(&mut #e)), holes);
                quote_spanned!(e.span()=> (*#name))
            }
        }
    }

    /// Asks whether what lies behind `base` is reached without a call of the user's.
    fn reaches(&mut self, e: &Expr, base: &TokenStream, span: Span, holes: &mut Holes) {
        if is_self(e) && std::mem::replace(&mut self.self_reached, true) {
            return;
        }
        let span = Span::mixed_site().located_at(span);
        let krate = krate::at(span);
        holes.checks.push(quote_spanned! {span=>
            #krate::reached((&&&&&(&&&&#krate::strip(&(#base))).stripped()).answer());
        });
    }

    fn operand(&mut self, e: &Expr, text: &TokenStream, holes: &mut Holes) {
        if !is_literal(e) {
            let span = Span::mixed_site().located_at(e.span());
            let krate = krate::at(span);
            holes.checks.push(quote_spanned!(span=> #krate::operand(&(#text));));
        }
    }

    /// A place outside any closure: what an opaque pointer points to.
    fn pointed(&mut self, e: &Expr) -> TokenStream {
        let mut holes = Holes::default();
        let place = self.place(e, &mut holes);
        let span = e.span();
        let pointer = self.opaque(span, holes, quote_spanned!(span=> (&raw const #place).cast_mut()));
        quote_spanned!(span=> (*#pointer))
    }

    /// `e` where a pattern looks at it.
    fn scrutinee(&mut self, e: &Expr) -> TokenStream {
        if is_projection(e) { self.pointed(e) } else { self.value(e) }
    }

    fn block(&mut self, block: &Block) -> TokenStream {
        let stmts = block.stmts.iter().map(|s| self.stmt(s));
        let stmts: Vec<TokenStream> = stmts.collect();
        quote!({ #(#stmts)* })
    }

    fn stmt(&mut self, stmt: &Stmt) -> TokenStream {
        match stmt {
            Stmt::Local(Local { attrs, pat, init, .. }) => {
                let cfg = attrs.iter().filter(|a| a.path().is_ident("cfg"));
                let init = init.as_ref().map(|init| {
                    let value = if takes_whole(pat) { self.value(&init.expr) } else { self.scrutinee(&init.expr) };
                    let diverge = init.diverge.as_ref().map(|(_, e)| {
                        let e = self.value(e);
                        quote!(else #e)
                    });
                    quote!(= #value #diverge)
                });
                quote!(#(#cfg)* let #pat #init;)
            }
            Stmt::Item(item) => {
                let mut item = item.clone();
                Unmark.visit_item_mut(&mut item);
                item.into_token_stream()
            }
            Stmt::Expr(e, semi) => {
                let cfg: Vec<_> = attributes(e).iter().filter(|a| a.path().is_ident("cfg")).collect();
                let value = self.value(e);
                match cfg.is_empty() {
                    true => quote!(#value #semi),
                    false => quote!(#(#cfg)* { #value #semi }),
                }
            }
            Stmt::Macro(m) => {
                let cfg = m.attrs.iter().filter(|a| a.path().is_ident("cfg"));
                let (value, semi) = (self.macro_call(&m.mac), &m.semi_token);
                quote!(#(#cfg)* { #value } #semi)
            }
        }
    }

    fn value(&mut self, e: &Expr) -> TokenStream {
        let span = e.span();
        let mut holes = Holes::default();
        match e {
            Expr::Paren(p) => {
                let e = self.value(&p.expr);
                quote_spanned!(span=> (#e))
            }
            Expr::Group(g) => self.value(&g.expr),
            e if is_projection(e) => {
                let place = self.place(e, &mut holes);
                self.opaque(span, holes, place)
            }
            Expr::Call(c) => {
                let path = match plain(&c.func) {
                    Expr::Path(p) => p.path.segments.last(),
                    _ => None,
                };
                if path.is_some_and(|p| known::is_upper(&p.ident.to_string())) {
                    let (func, args) = (&c.func, self.values(&c.args));
                    return quote_spanned!(span=> #func(#(#args),*));
                }
                let func = self.part(&c.func, &mut holes);
                let args: Vec<_> = c.args.iter().map(|a| self.part(a, &mut holes)).collect();
                self.opaque(span, holes, quote_spanned!(span=> (#func)(#(#args),*)))
            }
            Expr::MethodCall(m) => {
                let receiver = match plain(&m.receiver) {
                    Expr::Closure(_) | Expr::Range(_) => self.hole(&m.receiver, &mut holes),
                    // Borrowed: who calls this method on a temporary drops it. Consumed: the method has it.
                    Expr::Call(_) | Expr::MethodCall(_) if !known::consumes(&m.method.to_string()) => {
                        self.place_below(&m.receiver, &mut holes)
                    }
                    _ => self.part(&m.receiver, &mut holes),
                };
                if !is_literal(&m.receiver) {
                    self.reaches(&m.receiver, &receiver, m.method.span(), &mut holes);
                }
                let args: Vec<_> = m.args.iter().map(|a| self.part(a, &mut holes)).collect();
                let (method, turbofish) = (&m.method, &m.turbofish);
                self.opaque(m.method.span(), holes, quote_spanned!(span=> #receiver.#method #turbofish(#(#args),*)))
            }
            Expr::Binary(b) if matches!(b.op, BinOp::And(_) | BinOp::Or(_)) => {
                let (left, op, right) = (self.value(&b.left), &b.op, self.value(&b.right));
                quote_spanned!(span=> #left #op #right)
            }
            Expr::Binary(b) => {
                let left = match is_assignment(&b.op) {
                    true => self.place(&b.left, &mut holes),
                    false => self.part(&b.left, &mut holes),
                };
                let (op, right) = (&b.op, self.part(&b.right, &mut holes));
                self.operand(&b.left, &left, &mut holes);
                self.operand(&b.right, &right, &mut holes);
                self.opaque(span, holes, quote_spanned!(span=> #left #op #right))
            }
            Expr::Unary(_) if is_literal(e) => e.to_token_stream(),
            Expr::Unary(u) => {
                let (op, of) = (&u.op, self.part(&u.expr, &mut holes));
                self.operand(&u.expr, &of, &mut holes);
                self.opaque(span, holes, quote_spanned!(span=> #op #of))
            }
            Expr::Cast(c) if is_literal(&c.expr) => e.to_token_stream(),
            Expr::Cast(c) => {
                let (of, ty) = (self.part(&c.expr, &mut holes), &c.ty);
                self.opaque(span, holes, quote_spanned!(span=> #of as #ty))
            }
            Expr::Reference(r) => {
                let (m, of) = (&r.mutability, self.scrutinee(&r.expr));
                quote_spanned!(span=> & #m #of)
            }
            Expr::RawAddr(r) => {
                let (m, of) = (&r.mutability, self.scrutinee(&r.expr));
                quote_spanned!(span=> &raw #m #of)
            }
            Expr::Assign(a) => {
                let left = match is_projection(&a.left) {
                    true => self.pointed(&a.left),
                    false => a.left.to_token_stream(),
                };
                let right = self.value(&a.right);
                quote_spanned!(span=> #left = #right)
            }
            Expr::Let(l) => {
                let (pat, of) = (&l.pat, self.scrutinee(&l.expr));
                quote_spanned!(span=> let #pat = #of)
            }
            Expr::If(i) => {
                let (cond, then) = (self.value(&i.cond), self.block(&i.then_branch));
                let other = i.else_branch.as_ref().map(|(_, e)| {
                    let e = self.value(e);
                    quote!(else #e)
                });
                quote_spanned!(span=> if #cond #then #other)
            }
            Expr::Match(m) => {
                let of = self.scrutinee(&m.expr);
                let arms = m.arms.iter().map(|arm| {
                    let cfg = arm.attrs.iter().filter(|a| a.path().is_ident("cfg"));
                    let guard = arm.guard.as_ref().map(|(_, g)| {
                        let g = self.value(g);
                        quote!(if #g)
                    });
                    let (pat, body) = (&arm.pat, self.value(&arm.body));
                    quote!(#(#cfg)* #pat #guard => { #body })
                });
                let arms: Vec<_> = arms.collect();
                quote_spanned!(span=> match #of { #(#arms)* })
            }
            Expr::While(w) => {
                let (label, cond, body) = (&w.label, self.value(&w.cond), self.block(&w.body));
                quote_spanned!(span=> #label while #cond #body)
            }
            Expr::Loop(l) => {
                let (label, body) = (&l.label, self.block(&l.body));
                quote_spanned!(span=> #label loop #body)
            }
            Expr::ForLoop(f) => {
                let krate = krate::at(Span::mixed_site().located_at(f.expr.span()));
                let over = Ident::new("over", Span::mixed_site().located_at(f.expr.span()));
                let (label, pat, range, body) = (&f.label, &f.pat, self.value(&f.expr), self.block(&f.body));
                quote_spanned! {span=> {
                    let #over = #range;
                    #label while #krate::opaque((), |()| true) { let #pat = #krate::element(&#over); #body }
                }}
            }
            Expr::Try(t) => {
                let of = self.value(&t.expr);
                let some = Ident::new("some", Span::mixed_site().located_at(span));
                quote_spanned!(span=> (match #of { Some(#some) => #some, None => return None }))
            }
            Expr::Block(b) => {
                let (label, block) = (&b.label, self.block(&b.block));
                quote_spanned!(span=> #label #block)
            }
            Expr::Unsafe(u) => {
                let block = self.block(&u.block);
                quote_spanned!(span=> unsafe #block)
            }
            Expr::Break(b) => {
                let (label, of) = (&b.label, b.expr.as_ref().map(|e| self.value(e)));
                quote_spanned!(span=> break #label #of)
            }
            Expr::Return(r) => {
                let of = r.expr.as_ref().map(|e| self.value(e));
                quote_spanned!(span=> return #of)
            }
            Expr::Closure(c) => {
                let body = self.value(&c.body);
                let mut c = c.clone();
                c.body = Box::new(Expr::Verbatim(quote!({ #body })));
                c.into_token_stream()
            }
            Expr::Tuple(t) => {
                let of = self.values(&t.elems);
                quote_spanned!(span=> (#(#of,)*))
            }
            Expr::Array(a) => {
                let of = self.values(&a.elems);
                quote_spanned!(span=> [#(#of),*])
            }
            Expr::Repeat(r) => {
                let (of, len) = (self.value(&r.expr), &r.len);
                quote_spanned!(span=> [#of; #len])
            }
            Expr::Range(r) => {
                let start = r.start.as_ref().map(|e| self.value(e));
                let end = r.end.as_ref().map(|e| self.value(e));
                let limits = &r.limits;
                quote_spanned!(span=> (#start #limits #end))
            }
            Expr::Struct(s) => {
                let mut s = s.clone();
                for f in s.fields.iter_mut().filter(|f| f.colon_token.is_some()) {
                    f.expr = Expr::Verbatim(self.value(&f.expr));
                }
                s.rest = s.rest.map(|r| Box::new(Expr::Verbatim(self.value(&r))));
                s.into_token_stream()
            }
            Expr::Macro(m) => self.macro_call(&m.mac),
            other => other.to_token_stream(),
        }
    }

    fn values<'a>(&mut self, of: impl IntoIterator<Item = &'a Expr>) -> Vec<TokenStream> {
        of.into_iter().map(|e| self.value(e)).collect()
    }

    fn macro_call(&mut self, mac: &Macro) -> TokenStream {
        let span = mac.span();
        let name = mac.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
        match known::parse(mac) {
            Ok(Known::Exprs(exprs)) => {
                let says = |twin: &mut Self, exprs: &[Expr]| -> Vec<TokenStream> {
                    let of = exprs.iter().filter(|e| !is_literal(e)).map(|e| match e {
                        Expr::Assign(named) => twin.value(&Expr::Reference(reference(&named.right))),
                        e => twin.value(&Expr::Reference(reference(e))),
                    });
                    of.collect()
                };
                match name.trim_start_matches("debug_") {
                    "assert" if !exprs.is_empty() => {
                        let (cond, of) = (self.value(&exprs[0]), says(self, &exprs[1..]));
                        quote_spanned!(span=> if !(#cond) { #(let _ = #of;)* loop {} })
                    }
                    "assert_eq" | "assert_ne" if exprs.len() > 1 => {
                        let of = says(self, &exprs[2..]);
                        let [left, right] = [&exprs[0], &exprs[1]];
                        let cond = self.value(&equality(left, right));
                        quote_spanned!(span=> if !(#cond) { #(let _ = #of;)* loop {} })
                    }
                    "format_args" => {
                        let mut holes = Holes::default();
                        // What it borrows must be there; that is asked by the ordinary build.
                        says(self, &exprs).into_iter().for_each(|v| holes.values.push(v));
                        holes.names = (0..holes.values.len()).map(|i| format_ident!("_a{i}")).collect();
                        self.opaque(span, holes, quote!(#mac))
                    }
                    _ => {
                        let of = says(self, &exprs);
                        quote_spanned!(span=> { #(let _ = #of;)* loop {} })
                    }
                }
            }
            Ok(Known::Matches { value, pat, guard }) => {
                let (of, guard) = (self.scrutinee(&value), guard.map(|g| self.value(&g)));
                let guard = guard.map(|g| quote!(if #g));
                quote_spanned!(span=> (match #of { #pat #guard => true, _ => false }))
            }
            Ok(Known::Place(place)) => {
                let of = self.scrutinee(&place);
                let m = if name == "addr_of" { quote!(const) } else { quote!(mut) };
                quote_spanned!(span=> (&raw #m #of))
            }
            _ => mac.to_token_stream(),
        }
    }
}

fn equality(left: &Expr, right: &Expr) -> Expr {
    let op = BinOp::Eq(Token![==](left.span()));
    let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
    Expr::Binary(syn::ExprBinary { attrs: Vec::new(), left, op, right })
}

fn reference(e: &Expr) -> syn::ExprReference {
    // Not from tokens: `e` may be an operation of lower rank.
    syn::ExprReference {
        attrs: Vec::new(),
        and_token: Token![&](e.span()),
        mutability: None,
        expr: Box::new(e.clone()),
    }
}

fn attributes(e: &Expr) -> &[Attribute] {
    match e {
        Expr::Assign(x) => &x.attrs,
        Expr::Binary(x) => &x.attrs,
        Expr::Block(x) => &x.attrs,
        Expr::Break(x) => &x.attrs,
        Expr::Call(x) => &x.attrs,
        Expr::Continue(x) => &x.attrs,
        Expr::ForLoop(x) => &x.attrs,
        Expr::If(x) => &x.attrs,
        Expr::Loop(x) => &x.attrs,
        Expr::Match(x) => &x.attrs,
        Expr::MethodCall(x) => &x.attrs,
        Expr::Return(x) => &x.attrs,
        Expr::Try(x) => &x.attrs,
        Expr::Unsafe(x) => &x.attrs,
        Expr::While(x) => &x.attrs,
        _ => &[],
    }
}

/// Items inside a body are marked and have witnesses already.
struct Unmark;

impl VisitMut for Unmark {
    fn visit_item_mut(&mut self, item: &mut syn::Item) {
        match item {
            syn::Item::Fn(f) => f.attrs.retain(|a| Kind::of(a.path()).is_none()),
            syn::Item::Impl(i) => i.attrs.retain(|a| Kind::of(a.path()).is_none()),
            syn::Item::Trait(t) => t.attrs.retain(|a| Kind::of(a.path()).is_none()),
            _ => {}
        }
        visit_mut::visit_item_mut(self, item);
    }
    fn visit_impl_item_fn_mut(&mut self, f: &mut ImplItemFn) {
        f.attrs.retain(|a| Kind::of(a.path()).is_none());
    }
    fn visit_visibility_mut(&mut self, _: &mut Visibility) {}
    fn visit_path_mut(&mut self, _: &mut Path) {}
}
