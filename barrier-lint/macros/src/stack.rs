//! `#[nosplit]` and `#[systemstack]`: what a function needs of a stack, and which one it runs on.
//!
//! The records of both are in a section of their own, `barrier_lint_stack`: an address in the function and its budget,
//! or `u64::MAX` where the walk ends because another stack begins.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Error, FnArg, Ident, ImplItemFn, LitInt, Result, Stmt, Token, Type, parse_quote};

use crate::args::Kind;
use crate::krate;
use crate::record::is;

/// `budget = N`, in bytes.
pub struct Budget(u64);

impl Parse for Budget {
    fn parse(input: ParseStream) -> Result<Self> {
        let wants = "say how many bytes of stack the function and all that it calls may use: `budget = 800`";
        let name: Ident = input.parse().map_err(|e| Error::new(e.span(), wants))?;
        if name != "budget" {
            return Err(Error::new(name.span(), wants));
        }
        input.parse::<Token![=]>()?;
        let number: LitInt = input.parse()?;
        match number.base10_parse()? {
            0 | u64::MAX => Err(Error::new(number.span(), wants)),
            n => Ok(Budget(n)),
        }
    }
}

pub fn nosplit(budget: &Budget, mut f: ImplItemFn) -> TokenStream {
    let Budget(bytes) = *budget;
    if comes_first(&f) {
        let krate = krate::path();
        f.attrs.push(parse_quote!(#[#krate::nosplit(budget = #bytes)]));
        return f.into_token_stream();
    }
    match record(bytes, "nosplit", &mut f) {
        Ok(()) => f.into_token_stream(),
        Err(e) => with(e, &f),
    }
}

pub fn systemstack(mut f: ImplItemFn) -> TokenStream {
    let krate = krate::path();
    let takes_token = |a: &FnArg| match a {
        FnArg::Typed(a) => matches!(&*a.ty, Type::Reference(r) if is_token(&r.elem)),
        FnArg::Receiver(_) => false,
    };
    if !f.sig.inputs.iter().any(takes_token) {
        let text = "systemstack: this function runs on a system stack only, and its caller must prove that: add a \
                    parameter of type `&SystemStack`";
        return with(Error::new(f.sig.ident.span(), text), &f);
    }
    if comes_first(&f) {
        f.attrs.push(parse_quote!(#[#krate::systemstack]));
        return f.into_token_stream();
    }
    if f.sig.constness.is_none() && !cfg!(any(modelled, barrier_lint)) {
        let name = f.sig.ident.to_string();
        let check: Stmt = parse_quote! {
            #[cfg(debug_assertions)]
            #krate::check_system_stack(::core::concat!(::core::module_path!(), "::", #name));
        };
        f.block.stmts.insert(0, check);
    }
    match record(u64::MAX, "systemstack", &mut f) {
        Ok(()) => f.into_token_stream(),
        Err(e) => with(e, &f),
    }
}

/// Whether another attribute of ours is still to come: that one must see the body as the user wrote it.
fn comes_first(f: &ImplItemFn) -> bool {
    f.attrs.iter().any(|a| Kind::of(a.path()).is_some())
}

fn is_token(ty: &Type) -> bool {
    matches!(ty, Type::Path(p) if p.path.segments.last().is_some_and(|s| s.ident == "SystemStack"))
}

fn with(e: Error, f: &ImplItemFn) -> TokenStream {
    let e = e.to_compile_error();
    quote!(#e #f)
}

fn record(budget: u64, attribute: &str, f: &mut ImplItemFn) -> Result<()> {
    let refuse =
        |at: &dyn ToTokens, text: &str| Err(Error::new_spanned(at.to_token_stream(), format!("{attribute}: {text}")));
    if let Some(naked) = f.attrs.iter().find(|a| is(a, "naked")) {
        return refuse(naked, "a naked function's frame is written out: put the attribute on what it calls");
    }
    if let Some(asyncness) = &f.sig.asyncness {
        return refuse(
            asyncness,
            "an `async fn` runs its body later, in a poll that no attribute covers; write a plain fn",
        );
    }
    if !cfg!(barrier_lint) || f.sig.constness.is_some() {
        return Ok(());
    }
    let budget = format!(".quad {budget:#x}");
    let stmt: Stmt = parse_quote! {
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code, unused_unsafe, clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
        let () = unsafe {
            ::core::arch::asm!(
                // An instruction of its own, whose line shows inlining.
                "772:", "nop",
                ".pushsection barrier_lint_stack,\"aR\",@progbits", ".balign 8", ".quad 772b - .", #budget, ".popsection",
                options(nomem, nostack, preserves_flags),
            )
        };
    };
    f.block.stmts.insert(0, stmt);
    // Inlined, it would be its caller that has the budget.
    f.attrs.retain(|a| !a.path().is_ident("inline"));
    f.attrs.push(parse_quote!(#[inline(never)]));
    Ok(())
}
