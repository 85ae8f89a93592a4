//! The expansion of `#[tricolor::main]`.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ItemFn, Result, Token, parse2};

/// The options that are methods of the runtime's builder, by the same name.
const OPTIONS: [&str; 3] = ["procs", "gc_percent", "pinned"];

const NEEDS_UNSAFE: &str = "entering the runtime is unsafe: read the contract in the documentation of \
     `tricolor::Runtime`, and promise to keep it by `#[tricolor::main(unsafe)]`";

/// The path of the crate `tricolor`, by the name that the user's package gives it.
pub fn runtime_crate() -> Result<TokenStream> {
    let name = match crate_name("tricolor") {
        // Its examples and tests are crates of their own, which know the library by its name.
        Ok(FoundCrate::Itself) => "tricolor".to_owned(),
        Ok(FoundCrate::Name(name)) => name,
        Err(error) => return Err(Error::new(Span::call_site(), error)),
    };
    let name = Ident::new(&name, Span::call_site());
    Ok(quote!(::#name))
}

/// `unsafe`, or `name = value`.
enum Argument {
    Unsafe(Token![unsafe]),
    Option { name: Ident, value: Expr },
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Argument> {
        if input.peek(Token![unsafe]) {
            return Ok(Argument::Unsafe(input.parse()?));
        }
        let name: Ident = input.parse()?;
        if !OPTIONS.iter().any(|option| name == option) {
            let known = OPTIONS.map(|option| format!("`{option}`")).join(", ");
            let message = format!("unknown option `{name}`; there are `unsafe`, {known}");
            return Err(Error::new(name.span(), message));
        }
        input.parse::<Token![=]>()?;
        Ok(Argument::Option { name, value: input.parse()? })
    }
}

/// What the attribute's arguments say.
struct Arguments {
    unsafety: Token![unsafe],
    options: Vec<(Ident, Expr)>,
}

impl Arguments {
    fn parse(tokens: TokenStream) -> Result<Arguments> {
        let mut unsafety = None;
        let mut options: Vec<(Ident, Expr)> = Vec::new();
        for argument in Punctuated::<Argument, Token![,]>::parse_terminated.parse2(tokens)? {
            match argument {
                Argument::Unsafe(token) if unsafety.is_some() => {
                    return Err(Error::new(token.span, "`unsafe` stands here twice"));
                }
                Argument::Unsafe(token) => unsafety = Some(token),
                Argument::Option { name, .. } if options.iter().any(|(other, _)| *other == name) => {
                    return Err(Error::new(name.span(), format!("`{name}` stands here twice")));
                }
                Argument::Option { name, value } => options.push((name, value)),
            }
        }
        let unsafety = unsafety.ok_or_else(|| Error::new(Span::call_site(), NEEDS_UNSAFE))?;
        Ok(Arguments { unsafety, options })
    }
}

/// Expands `#[tricolor::main(options)] function`, where `tricolor` is the path of the runtime's crate.
pub fn expand(options: TokenStream, function: TokenStream, tricolor: &TokenStream) -> Result<TokenStream> {
    let function: ItemFn = parse2(function)?;
    check_signature(&function)?;
    let Arguments { unsafety, options } = Arguments::parse(options)?;

    let ItemFn { attrs, vis, sig, block } = function;
    let result = &sig.output;
    // `located_at`: errors show the user's `unsafe`, while names and lints see generated code.
    let span = Span::mixed_site().located_at(unsafety.span);
    let calls = options.iter().map(|(name, value)| quote!(.#name(#value)));
    // The body is a function of its own, so that it is not inside the `unsafe` block. It is called `main` because any
    // other name could hide one that the body uses. The options' values are outside of `unsafe`, too.
    let run = quote_spanned! {span=>
        fn main() #result #block
        let builder = #tricolor::Runtime::builder()#(#calls)*;
        // SAFETY: whoever wrote `unsafe` in the attribute keeps the contract of `Runtime`.
        unsafe { builder.run(main) }
    };
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            #run
        }
    })
}

/// Refuses every `main` but `fn main()` and `fn main() -> R`.
fn check_signature(function: &ItemFn) -> Result<()> {
    let sig = &function.sig;
    let refuse = |span: Span, message: &str| Err(Error::new(span, message));
    if sig.ident != "main" {
        return refuse(sig.ident.span(), "`#[tricolor::main]` is for `fn main`; elsewhere, use `tricolor::Runtime`");
    }
    if let Some(token) = sig.asyncness {
        return refuse(token.span, "`main` is a goroutine, which blocks like a thread: remove `async`");
    }
    if let Some(token) = sig.constness {
        return refuse(token.span, "`main` cannot be `const`");
    }
    if let Some(token) = sig.unsafety {
        return refuse(token.span, "`unsafe` stands in the attribute: `#[tricolor::main(unsafe)]`");
    }
    if let Some(abi) = &sig.abi {
        return refuse(abi.extern_token.span, "`main` cannot be `extern`");
    }
    if let Some(parameter) = sig.generics.params.first() {
        return Err(Error::new_spanned(parameter, "`main` cannot be generic"));
    }
    if let Some(clause) = &sig.generics.where_clause {
        return Err(Error::new_spanned(clause, "`main` cannot be generic"));
    }
    if let Some(input) = sig.inputs.first() {
        return Err(Error::new_spanned(input, "`main` takes no arguments; see `std::env::args`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(options: &str, function: &str) -> Result<String> {
        let tokens = expand(options.parse().unwrap(), function.parse().unwrap(), &quote!(::rt))?;
        // It has to be one item.
        parse2::<ItemFn>(tokens.clone())?;
        Ok(tokens.to_string())
    }

    fn same(options: &str, function: &str, expected: TokenStream) {
        assert_eq!(expanded(options, function).unwrap(), expected.to_string());
    }

    fn refused(options: &str, function: &str, message: &str) {
        let error = expanded(options, function).expect_err("is refused").to_string();
        assert!(error.contains(message), "{error}");
    }

    const MAIN: &str = "fn main() {}";

    #[test]
    fn main_runs_in_a_runtime() {
        same(
            "unsafe",
            "fn main() { f(); }",
            quote! {
                fn main() {
                    fn main() { f(); }
                    let builder = ::rt::Runtime::builder();
                    unsafe { builder.run(main) }
                }
            },
        );
    }

    #[test]
    fn options_are_builder_methods_in_the_order_written() {
        same(
            "gc_percent = 10 * 5, unsafe, pinned = true, procs = n(),",
            MAIN,
            quote! {
                fn main() {
                    fn main() {}
                    let builder = ::rt::Runtime::builder().gc_percent(10 * 5).pinned(true).procs(n());
                    unsafe { builder.run(main) }
                }
            },
        );
    }

    #[test]
    fn results_attributes_and_visibility_stay() {
        same(
            "unsafe",
            "#[allow(x)] pub fn main() -> impl Termination { f()?; Ok(()) }",
            quote! {
                #[allow(x)]
                pub fn main() -> impl Termination {
                    fn main() -> impl Termination { f()?; Ok(()) }
                    let builder = ::rt::Runtime::builder();
                    unsafe { builder.run(main) }
                }
            },
        );
    }

    #[test]
    fn unsafe_is_required_and_says_where_the_contract_is() {
        for options in ["", "procs = 2"] {
            refused(options, MAIN, "entering the runtime is unsafe");
            refused(options, MAIN, "documentation of `tricolor::Runtime`");
        }
    }

    #[test]
    fn wrong_options_are_named() {
        let there_are = "there are `unsafe`, `procs`, `gc_percent`, `pinned`";
        refused("unsafe, threads = 2", MAIN, &format!("unknown option `threads`; {there_are}"));
        refused("unsafe, unsafe", MAIN, "`unsafe` stands here twice");
        refused("unsafe, procs = 1, procs = 2", MAIN, "`procs` stands here twice");
        refused("unsafe, procs", MAIN, "expected `=`");
        refused("unsafe procs = 2", MAIN, "expected `,`");
    }

    #[test]
    fn wrong_mains_are_refused_with_their_reason() {
        refused("unsafe", "fn start() {}", "is for `fn main`");
        refused("unsafe", "async fn main() {}", "remove `async`");
        refused("unsafe", "const fn main() {}", "cannot be `const`");
        refused("unsafe", "unsafe fn main() {}", "stands in the attribute");
        refused("unsafe", "extern \"C\" fn main() {}", "cannot be `extern`");
        refused("unsafe", "fn main<T>() {}", "cannot be generic");
        refused("unsafe", "fn main<'a>() {}", "cannot be generic");
        refused("unsafe", "fn main() where u8: Copy {}", "cannot be generic");
        refused("unsafe", "fn main(n: usize) {}", "takes no arguments");
        refused("unsafe", "struct Main;", "expected `fn`");
    }

    #[test]
    fn a_crate_that_the_package_does_not_name_is_an_error() {
        // This very package does not depend on `tricolor`.
        assert!(runtime_crate().is_err());
    }
}
