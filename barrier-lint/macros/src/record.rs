//! What the whole-program check reads from a linked program: which functions are roots, gates, sites and canaries.
//!
//! Only builds of the check's have records (`--cfg barrier_lint`, which it passes to the macros as well). A record in a
//! body is an address, a kind and the function's number, at an instruction of its own: the instruction tells two
//! functions with equal bodies apart, so that no linker merges them, and has a line of its own, so that inlining shows.
//! Free functions without type parameters are pointed to as well, so that they are linked even if nobody calls them.
//! Each root leaves its number and name even where no instance of it is linked, so that what has not been checked shows.

use std::hash::{DefaultHasher, Hash, Hasher};

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Attribute, FnArg, GenericParam, Ident, ImplItemFn, Signature, Stmt, Type, parse_quote};

use crate::args::{Args, Kind};
use crate::krate;

/// As the checker reads it.
fn code(kind: Kind) -> u64 {
    match kind {
        Kind::NoRec => 1,
        Kind::No => 2,
        Kind::Yes => 3,
        Kind::May => 4,
        Kind::Canary => 5,
    }
}

/// Puts a record into the body; gives the items that belong beside the function.
pub fn add(kind: Kind, args: &Args, f: &mut ImplItemFn) -> TokenStream {
    // A `const fn` is checked by the compiler.
    if !cfg!(barrier_lint) || f.sig.constness.is_some() || f.sig.asyncness.is_some() {
        return TokenStream::new();
    }
    let naked = f.attrs.iter().any(|a| is(a, "naked"));
    if !naked {
        f.block.stmts.splice(0..0, [in_body(kind, &f.sig.ident)].into_iter().chain(mark(kind, &f.sig.ident)));
        // Inlined, it would be its caller that is checked. A site is meant to be found wherever it ends up.
        if kind != Kind::May {
            f.attrs.retain(|a| !a.path().is_ident("inline"));
            f.attrs.push(parse_quote!(#[inline(never)]));
        }
    }
    let in_type = args.assoc || args.tr_impl || args.foreign_trait || f.sig.receiver().is_some();
    match in_type || is_generic(&f.sig) || kind == Kind::May {
        true => TokenStream::new(),
        false => beside(kind, &f.attrs, &f.sig.ident),
    }
}

/// `#[name]` or `#[unsafe(name)]`.
pub fn is(a: &Attribute, name: &str) -> bool {
    a.path().is_ident(name)
        || a.path().is_ident("unsafe") && a.meta.require_list().is_ok_and(|l| l.tokens.to_string() == name)
}

fn in_body(kind: Kind, name: &Ident) -> Stmt {
    let number = number(name);
    // Large enough for the long form of the instruction, small enough for a positive offset.
    let apart = format!("nop dword ptr [rax + {:#x}]", number & 0x3fff_ffff | 0x100);
    let kind = format!(".quad {:#x}", number << 8 | code(kind));
    // Retained (R): nothing refers to the section.
    parse_quote! {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, unused_unsafe, clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
        let () = unsafe {
            ::core::arch::asm!(
                "772:", #apart,
                ".pushsection barrier_lint,\"aR\",@progbits", ".balign 8", ".quad 772b - .", #kind, ".popsection",
                options(nomem, nostack, preserves_flags),
            )
        };
    }
}

/// What stays of a root that is not linked.
fn mark(kind: Kind, name: &Ident) -> Option<Stmt> {
    if !matches!(kind, Kind::NoRec | Kind::No) {
        return None;
    }
    let krate = krate::path();
    let (number, text) = (number(name), format!("::{}", name.unraw()));
    Some(parse_quote! {
        #[allow(unsafe_code, clippy::all, clippy::pedantic)]
        const _: () = {
            #[used]
            #[unsafe(link_section = "barrier_lint_marks")]
            static MARK: #krate::Mark =
                #krate::Mark(#number, concat!(module_path!(), #text, " (", file!(), ":", line!(), ")"));
        };
    })
}

fn beside(kind: Kind, attrs: &[Attribute], name: &Ident) -> TokenStream {
    let krate = krate::path();
    let cfg = attrs.iter().filter(|a| a.path().is_ident("cfg"));
    let kind = code(kind);
    quote! {
        #(#cfg)*
        #[allow(unsafe_code, clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
        const _: () = {
            #[used]
            #[unsafe(link_section = "barrier_lint_fns")]
            static RECORD: #krate::Record = #krate::Record(#name as *const (), #kind);
        };
    }
}

fn is_generic(sig: &Signature) -> bool {
    let parameter = |p: &GenericParam| !matches!(p, GenericParam::Lifetime(_));
    let implied = |a: &FnArg| matches!(a, FnArg::Typed(t) if has_impl(&t.ty));
    sig.generics.params.iter().any(parameter) || sig.inputs.iter().any(implied)
}

/// Whether `impl Trait` occurs in a parameter's type.
fn has_impl(ty: &Type) -> bool {
    struct Find(bool);
    impl<'a> syn::visit::Visit<'a> for Find {
        fn visit_type_impl_trait(&mut self, _: &'a syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut find = Find(false);
    syn::visit::Visit::visit_type(&mut find, ty);
    find.0
}

/// A number that no other function has, as far as 56 bits go.
fn number(name: &Ident) -> u64 {
    let at = name.span().unwrap();
    let mut hasher = DefaultHasher::new();
    let krate = std::env::var("CARGO_CRATE_NAME").unwrap_or_default();
    (krate, name.to_string(), at.line(), at.column(), at.file()).hash(&mut hasher);
    hasher.finish() >> 8
}
