//! What the checker knows by name: macros of the standard library, functions of `core`, and naming conventions.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, Macro, Pat, Path, Result, Token};

/// A macro call, as far as the checker can see through it.
pub enum Known {
    /// Comma-separated expressions: all are checked.
    Exprs(Vec<Expr>),
    /// `matches!`
    Matches {
        value: Box<Expr>,
        pat: Box<Pat>,
        guard: Option<Box<Expr>>,
    },
    /// `addr_of!`: the place itself is not read.
    Place(Box<Expr>),
    /// Nothing runs.
    Inert,
    Asm,
    Opaque,
}

pub fn parse(mac: &Macro) -> Result<Known> {
    let exprs = |tokens: &TokenStream| -> Result<Vec<Expr>> {
        let list = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(tokens.clone())?;
        Ok(list.into_iter().collect())
    };
    let tokens = &mac.tokens;
    // A runtime's own `panic!`, from whatever crate: its arguments are checked, and nothing runs after it.
    if mac.path.segments.last().is_some_and(|s| s.ident == "throw") {
        return Ok(Known::Exprs(exprs(tokens)?));
    }
    let Some(name) = std_name(&mac.path) else {
        return Ok(Known::Opaque);
    };
    Ok(match name.as_str() {
        "assert" | "assert_eq" | "assert_ne" | "debug_assert" | "debug_assert_eq" | "debug_assert_ne" | "panic"
        | "unreachable" | "todo" | "unimplemented" | "format_args" => Known::Exprs(exprs(tokens)?),
        "matches" => matches_args.parse2(tokens.clone())?,
        "addr_of" | "addr_of_mut" => Known::Place(syn::parse2(tokens.clone())?),
        "offset_of" | "concat" | "stringify" | "line" | "column" | "file" | "module_path" | "cfg" | "env"
        | "option_env" | "include_str" | "include_bytes" | "compile_error" => Known::Inert,
        "asm" | "naked_asm" => Known::Asm,
        _ => Known::Opaque,
    })
}

/// The name of a macro that is called as the standard library's are: bare, or through `core::` and `std::`.
fn std_name(path: &Path) -> Option<String> {
    let first = path.segments.first()?;
    let std = path.segments.len() == 1 || ["core", "std", "ptr", "mem", "arch"].iter().any(|c| first.ident == c);
    std.then(|| path.segments.last().map(|s| s.ident.to_string()))?
}

fn matches_args(input: ParseStream) -> Result<Known> {
    let value = input.parse()?;
    input.parse::<Token![,]>()?;
    let pat = Box::new(Pat::parse_multi_with_leading_vert(input)?);
    let guard = match input.parse::<Option<Token![if]>>()? {
        Some(_) => Some(input.parse()?),
        None => None,
    };
    input.parse::<Option<Token![,]>>()?;
    Ok(Known::Matches { value, pat, guard })
}

pub fn is_upper(name: &str) -> bool {
    name.trim_start_matches('_').starts_with(char::is_uppercase)
}

pub fn is_primitive(name: &str) -> bool {
    matches!(
        name,
        "u8" | "u16"
            | "u32"
            | "u64"
            | "u128"
            | "usize"
            | "i8"
            | "i16"
            | "i32"
            | "i64"
            | "i128"
            | "isize"
            | "bool"
            | "char"
            | "f32"
            | "f64"
            | "str"
    )
}

/// Functions of `core` that run no code of the user's: `module: names` by number of type parameters.
const FUNCTIONS: &[(&str, usize, &[&str])] = &[
    (
        "ptr",
        1,
        &[
            "null",
            "null_mut",
            "read",
            "write",
            "read_volatile",
            "write_volatile",
            "read_unaligned",
            "write_unaligned",
            "copy",
            "copy_nonoverlapping",
            "write_bytes",
            "swap",
            "replace",
            "eq",
            "from_ref",
            "from_mut",
            "without_provenance",
            "without_provenance_mut",
            "dangling",
            "dangling_mut",
            "with_exposed_provenance",
            "with_exposed_provenance_mut",
            "slice_from_raw_parts",
            "slice_from_raw_parts_mut",
        ],
    ),
    ("ptr", 2, &["addr_eq"]),
    (
        "mem",
        1,
        &["size_of", "align_of", "size_of_val", "align_of_val", "swap", "replace", "forget", "needs_drop", "zeroed"],
    ),
    ("hint", 0, &["spin_loop", "unreachable_unchecked", "assert_unchecked"]),
    ("hint", 1, &["black_box"]),
    ("slice", 1, &["from_raw_parts", "from_raw_parts_mut", "from_ref", "from_mut"]),
    ("sync::atomic", 0, &["fence", "compiler_fence"]),
];

/// Those that may be called by their bare name, since hardly anything else bears it.
const BARE: &[&str] = &[
    "size_of",
    "align_of",
    "size_of_val",
    "align_of_val",
    "null",
    "null_mut",
    "fence",
    "compiler_fence",
    "spin_loop",
    "black_box",
    "addr_eq",
    "unreachable_unchecked",
    "assert_unchecked",
    "read_volatile",
    "write_volatile",
    "copy_nonoverlapping",
    "slice_from_raw_parts",
    "slice_from_raw_parts_mut",
    "from_raw_parts",
    "from_raw_parts_mut",
];

/// If `path` looks like a listed function of `core`: that function, and the arguments that make both names comparable.
/// The expansion compares the two function *items*, so a function of the user's by that name is not mistaken for it.
pub fn core_function(path: &Path) -> Option<(TokenStream, TokenStream)> {
    let mut back = path.segments.iter().rev();
    let name = back.next()?.ident.to_string();
    let module = back.next().map(|s| s.ident.to_string());
    let &(home, params, _) = FUNCTIONS.iter().find(|(home, _, names)| {
        names.contains(&name.as_str())
            && match &module {
                Some(m) => home.rsplit("::").next() == Some(m),
                None => BARE.contains(&name.as_str()),
            }
    })?;
    let home = home.split("::").map(|s| quote::format_ident!("{s}"));
    let name = quote::format_ident!("{name}");
    let args = match params {
        0 => quote!(),
        1 => quote!(::<u8>),
        _ => quote!(::<u8, u8>),
    };
    Some((quote!(::core #(::#home)* ::#name #args), args))
}

/// Generic types of `core` whose constructors are called without type arguments: home, name, constructors.
const TYPES: &[(&str, &str, &[&str])] = &[
    ("ptr", "NonNull", &["new", "new_unchecked", "dangling", "slice_from_raw_parts"]),
    ("sync::atomic", "AtomicPtr", &["new"]),
    ("cell", "UnsafeCell", &["new", "raw_get"]),
    ("cell", "Cell", &["new"]),
    ("mem", "MaybeUninit", &["new", "uninit", "zeroed"]),
    ("mem", "ManuallyDrop", &["new", "into_inner"]),
];

/// As [`core_function`], for `Type::constructor`: the type in `core`. The expansion compares the two types.
pub fn core_constructor(path: &Path, krate: &TokenStream) -> Option<TokenStream> {
    let mut back = path.segments.iter().rev();
    let name = back.next()?.ident.to_string();
    let ty = &back.next()?.ident;
    if ty == "NoBarrierPtr" && matches!(name.as_str(), "new" | "null") {
        return Some(quote!(#krate::#ty<u8>));
    }
    let (home, ..) = TYPES.iter().find(|(_, t, names)| ty == t && names.contains(&name.as_str()))?;
    let home = home.split("::").map(|s| quote::format_ident!("{s}"));
    Some(quote!(::core #(::#home)* ::#ty<u8>))
}

/// Methods that call their last argument, with how many arguments of its own: it must be something that the checker
/// has seen. `None` if that depends on the receiver.
pub fn calls_its_argument(method: &str) -> Option<Option<u8>> {
    Some(match method {
        "map" | "map_err" | "map_or" | "and_then" | "is_some_and" | "is_none_or" | "is_ok_and" | "is_err_and"
        | "filter" | "inspect" | "fetch_update" | "update" | "map_addr" => Some(1),
        "or_else" | "unwrap_or_else" | "ok_or_else" | "then" | "get_or_insert_with" => None,
        _ => return None,
    })
}

/// Methods that are barriered stores on some types: what `#[nowritebarrier]` looks at.
pub fn may_be_store(method: &str) -> bool {
    matches!(
        method,
        "set"
            | "store"
            | "swap"
            | "replace"
            | "take"
            | "write"
            | "update"
            | "fetch_update"
            | "compare_exchange"
            | "compare_exchange_weak"
            | "copy_from"
            | "copy_from_slice"
            | "fill"
            | "clear"
            | "init"
    )
}

/// Methods that take their receiver by value, by the names that the standard library gives them.
pub fn consumes(method: &str) -> bool {
    method.starts_with("into_")
        || method.starts_with("unwrap")
        || method.starts_with("expect")
        || method.starts_with("map")
        || matches!(
            method,
            "and_then"
                | "is_some_and"
                | "is_none_or"
                | "is_ok_and"
                | "is_err_and"
                | "ok"
                | "err"
                | "or"
                | "or_else"
                | "ok_or"
                | "ok_or_else"
                | "xor"
                | "and"
                | "filter"
                | "copied"
                | "cloned"
                | "assume_init"
                | "rev"
                | "inspect"
                | "into"
                | "zip"
                | "flatten"
        )
}

/// Methods that nobody but an atomic, a pointer or a number has.
pub fn is_atomic(method: &str) -> bool {
    method.starts_with("fetch_")
        || method.starts_with("compare_exchange")
        || method.starts_with("wrapping_")
        || method.starts_with("saturating_")
        || matches!(
            method,
            "load" | "cast" | "cast_mut" | "cast_const" | "is_null" | "is_none" | "is_some" | "is_ok" | "is_err"
        )
}
