//! `derive(Trace)`: a const list of where a type's pointers are.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Member, parse_macro_input, parse_quote};

/// Makes a type fit for the garbage-collected heap: says at compile time where its pointers are.
///
/// Every field must be `Trace` itself. Structs are described field by field; an enum with pointers in a variant is
/// described as words any of which may be a pointer. Unions and packed types are refused.
///
/// A field marked `#[trace(no_gc)]` need not be `Trace` but `NoGc`: to the collector it is data. A type with a field
/// that may hold a `Gc` must not implement `Drop`; one that implements `Drop` must be `Send`.
#[proc_macro_derive(Trace, attributes(trace))]
pub fn derive_trace(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input, &gc_core_path()).unwrap_or_else(Error::into_compile_error).into()
}

/// How the user's crate reaches gc-core: generated code names only crates that the user names.
fn gc_core_path() -> TokenStream {
    let ident = |name: FoundCrate, own: &str| match name {
        FoundCrate::Itself => format_ident!("{own}"),
        FoundCrate::Name(name) => format_ident!("{name}"),
    };
    if let Ok(found) = crate_name("gc-core") {
        let krate = ident(found, "gc_core");
        quote!(::#krate)
    } else if let Ok(found) = crate_name("tricolor") {
        let krate = ident(found, "tricolor");
        quote!(::#krate::__gc_core)
    } else {
        quote!(::gc_core)
    }
}

fn expand(input: &DeriveInput, gc: &TokenStream) -> syn::Result<TokenStream> {
    refuse_packed(input)?;
    let ident = &input.ident;
    let name = ident.to_string();
    let mut generics = input.generics.clone();
    for param in generics.type_params_mut() {
        param.bounds.push(parse_quote!(#gc::Trace));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let name = quote!(::core::concat!(::core::module_path!(), "::", #name));
    let desc = match &input.data {
        Data::Struct(s) => {
            let fields = s.fields.members().zip(&s.fields).map(|(member, field)| field_of(gc, &member, field));
            let fields = fields.collect::<syn::Result<Vec<_>>>()?;
            quote!(#gc::layout::TypeDesc::of_fields::<Self>(#name, &[#(#fields),*]))
        }
        Data::Enum(e) => {
            let payload = e.variants.iter().flat_map(|v| &v.fields).map(|f| desc_of(gc, f));
            let payload = payload.collect::<syn::Result<Vec<_>>>()?;
            quote!(#gc::layout::TypeDesc::of_enum::<Self>(#name, &[#(#payload),*]))
        }
        Data::Union(u) => {
            return Err(Error::new(
                u.union_token.span,
                "a union cannot be `Trace`: the collector cannot know which of its fields is alive",
            ));
        }
    };
    let with_pointers = format!(
        "`{ident}` implements Drop and has fields that may hold a `Gc`: when a dead `{ident}` is dropped, what they \
         point to may be gone already; put what needs dropping into a type of its own, without `Gc`s"
    );
    let not_send = format!(
        "`{ident}` implements Drop and is not `Send`: dead objects are dropped on a goroutine of the runtime, not on \
         the thread that made them (a generic type needs `Send` bounds on its parameters)"
    );
    Ok(quote! {
        // SAFETY: every field is named with its offset and descriptor (an enum's words are all looked at).
        unsafe impl #impl_generics #gc::Trace for #ident #type_generics #where_clause {
            const DESC: &'static #gc::layout::TypeDesc = {
                #[allow(unused_imports)]
                use #gc::layout::{Probe, ProbeElse};
                &#desc.checked_drop(Probe::<Self>::HAS_DROP_IMPL, Probe::<Self>::SEND, #with_pointers, #not_send)
            };
        }
        // SAFETY: a type has one place only, and this one is allocated in the heap.
        unsafe impl #impl_generics #gc::barrier_lint::Place for #ident #type_generics #where_clause {
            type At = #gc::barrier_lint::OnHeap;
        }
    })
}

fn desc_of(gc: &TokenStream, field: &syn::Field) -> syn::Result<TokenStream> {
    let ty = &field.ty;
    Ok(if is_no_gc(field)? {
        quote_spanned! {ty.span()=>
            const { &#gc::layout::no_gc_field::<#ty>(Probe::<#ty>::SEND, Probe::<#ty>::OFF_HEAP) }
        }
    } else {
        quote_spanned!(ty.span() => <#ty as #gc::Trace>::DESC)
    })
}

/// Whether the field is marked `#[trace(no_gc)]`.
fn is_no_gc(field: &syn::Field) -> syn::Result<bool> {
    let mut no_gc = false;
    for attr in field.attrs.iter().filter(|a| a.path().is_ident("trace")) {
        attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("no_gc") {
                return Err(meta.error("`trace` knows only `no_gc`: the field is `NoGc`, plain data to the collector"));
            }
            no_gc = true;
            Ok(())
        })?;
    }
    Ok(no_gc)
}

fn field_of(gc: &TokenStream, member: &Member, field: &syn::Field) -> syn::Result<TokenStream> {
    let desc = desc_of(gc, field)?;
    Ok(quote! {
        #gc::layout::Field { offset: ::core::mem::offset_of!(Self, #member), desc: #desc, count: 1 }
    })
}

fn refuse_packed(input: &DeriveInput) -> syn::Result<()> {
    for attr in input.attrs.iter().filter(|a| a.path().is_ident("repr")) {
        attr.parse_nested_meta(|meta| {
            if meta.path.is_ident("packed") {
                return Err(meta.error("a packed type cannot be `Trace`: its pointers would not be aligned"));
            }
            if meta.input.peek(syn::token::Paren) {
                let _: proc_macro2::Group = meta.input.parse()?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
