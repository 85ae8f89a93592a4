//! The expansion of `#[tricolor::recursive]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ImplItemFn, Result, ReturnType, Token, Type, parse2};

/// Bytes of stack that a call finds, unless the attribute says otherwise.
const BYTES: usize = 32 << 10;

/// `bytes = EXPR`, or nothing.
struct Arguments {
    bytes: Option<Expr>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Arguments> {
        if input.is_empty() {
            return Ok(Arguments { bytes: None });
        }
        let name: syn::Ident = input.parse()?;
        if name != "bytes" {
            return Err(Error::new(name.span(), format!("unknown option `{name}`; there is `bytes`")));
        }
        input.parse::<Token![=]>()?;
        Ok(Arguments { bytes: Some(input.parse()?) })
    }
}

/// Expands `#[tricolor::recursive(options)] function`, where `tricolor` is the path of the runtime's crate.
pub fn expand(options: TokenStream, function: TokenStream, tricolor: &TokenStream) -> Result<TokenStream> {
    let Arguments { bytes } = parse2(options)?;
    // Functions and methods alike.
    let ImplItemFn { attrs, vis, defaultness, sig, block } = parse2(function)?;
    if let Some(token) = sig.asyncness {
        return Err(Error::new(token.span, "an `async fn` does not recurse on the stack: its future does"));
    }
    if let Some(token) = sig.constness {
        return Err(Error::new(token.span, "a `const fn` cannot ask for stack"));
    }
    let bytes = bytes.map_or_else(|| quote!(#BYTES), |bytes| quote!(#bytes));
    // The type helps inference, where it can be named.
    let result = match &sig.output {
        ReturnType::Type(_, result) if !matches!(**result, Type::ImplTrait(_) | Type::Never(_)) => quote!(-> #result),
        ReturnType::Type(_, result) if matches!(**result, Type::Never(_)) => {
            return Err(Error::new(Span::call_site(), "a function that never returns needs no recursion"));
        }
        _ => quote!(),
    };
    Ok(quote! {
        #(#attrs)*
        #vis #defaultness #sig {
            #tricolor::stack::ensure(#bytes, move || #result #block)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(options: &str, function: &str) -> Result<String> {
        expand(options.parse().unwrap(), function.parse().unwrap(), &quote!(::rt)).map(|tokens| tokens.to_string())
    }

    fn refused(options: &str, function: &str, message: &str) {
        let error = expanded(options, function).expect_err("is refused").to_string();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn the_body_is_asked_stack_for() {
        assert_eq!(
            expanded("", "pub fn f<T>(&self, n: T) -> u64 { self.f(n) }").unwrap(),
            quote! { pub fn f<T>(&self, n: T) -> u64 { ::rt::stack::ensure(32768usize, move || -> u64 { self.f(n) }) } }
                .to_string()
        );
        assert_eq!(
            expanded("bytes = 2 * N", "fn f() -> impl Copy { 1 }").unwrap(),
            quote! { fn f() -> impl Copy { ::rt::stack::ensure(2 * N, move || { 1 }) } }.to_string()
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        refused("size = 1", "fn f() {}", "unknown option `size`; there is `bytes`");
        refused("bytes 1", "fn f() {}", "expected `=`");
        refused("", "async fn f() {}", "does not recurse on the stack");
        refused("", "const fn f() {}", "cannot ask for stack");
        refused("", "fn f() -> ! { loop {} }", "never returns");
        refused("", "struct S;", "expected `fn`");
    }
}
