//! Which attribute, and what stands in its parentheses.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Result, Token};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No barrier in the function itself.
    No,
    /// No barrier in the function, nor in what it calls.
    NoRec,
    /// May execute barriers, and may be called from `NoRec`.
    Yes,
    /// May execute barriers: named for a better error text.
    May,
    /// Must be condemned by the whole-program check.
    Canary,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::No => "nowritebarrier",
            Kind::NoRec => "nowritebarrierrec",
            Kind::Yes => "yeswritebarrierrec",
            Kind::May => "writebarrier",
            Kind::Canary => "canary",
        }
    }

    /// The kind that `#[path]` names, if it is one of ours.
    pub fn of(path: &syn::Path) -> Option<Kind> {
        let name = &path.segments.last()?.ident;
        [Kind::No, Kind::NoRec, Kind::Yes, Kind::May].into_iter().find(|k| name == k.name())
    }
}

/// Arguments in parentheses.
#[derive(Clone, Default)]
pub struct Args {
    /// The function stands in an inherent `impl`, although it has no `self`.
    pub assoc: bool,
    /// The function stands in the impl of a trait whose method is marked.
    pub tr_impl: bool,
    /// The function stands in the impl of a trait that knows nothing of barriers: no witness.
    pub foreign_trait: bool,
    /// Why the body's `asm!` holds no barrier.
    pub asm: Option<LitStr>,
    /// Why what the body calls through values holds no barrier.
    pub indirect: Option<LitStr>,
    /// Why what the compiler implies in the body holds no barrier: no twin.
    pub implied: Option<LitStr>,
    /// On an `impl Deref`: why no method of the type itself stands before one of its target.
    pub receiver: Option<LitStr>,
    /// Why this M holds a P in the body, which binds `wb`.
    pub wb: Option<LitStr>,
}

impl Parse for Args {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut args = Args::default();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            match name.to_string().as_str() {
                "assoc" => args.assoc = true,
                "tr_impl" => args.tr_impl = true,
                "foreign_trait" => args.foreign_trait = true,
                "asm" => args.asm = Some(reason(&name, input)?),
                "indirect" => args.indirect = Some(reason(&name, input)?),
                "implied" => args.implied = Some(reason(&name, input)?),
                "receiver" => args.receiver = Some(reason(&name, input)?),
                "wb" => args.wb = Some(reason(&name, input)?),
                _ => {
                    return Err(Error::new(
                        name.span(),
                        "expected `assoc`, `tr_impl`, `foreign_trait`, `asm = \"reason\"`, `indirect = \"reason\"`, \
                         `implied = \"reason\"`, `receiver = \"reason\"` or `wb = \"reason\"`",
                    ));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(args)
    }
}

/// `= "reason"`, where the reason says something.
pub fn reason(name: &Ident, input: ParseStream) -> Result<LitStr> {
    if !input.peek(Token![=]) {
        return Err(Error::new(name.span(), format!("`{name}` needs a reason: `{name} = \"why\"`")));
    }
    input.parse::<Token![=]>()?;
    stated(input.parse()?)
}

/// A reason that says something.
pub fn stated(reason: LitStr) -> Result<LitStr> {
    match reason.value().trim().is_empty() {
        true => Err(Error::new(reason.span(), "the reason is empty")),
        false => Ok(reason),
    }
}

impl Args {
    /// Says which arguments mean nothing for this attribute.
    pub fn check(&self, kind: Kind) -> Result<()> {
        let misfit = |text: &str| Err(Error::new(Span::call_site(), format!("{}: {text}", kind.name())));
        if self.wb.is_some() && kind != Kind::Yes {
            return misfit("a `Wb` is obtained only in a #[yeswritebarrierrec(wb = \"reason\")] function");
        }
        if (self.asm.is_some() || self.indirect.is_some() || self.implied.is_some()) && kind != Kind::NoRec {
            return misfit(
                "`asm`, `indirect` and `implied` belong to #[nowritebarrierrec]: no other body is checked that far",
            );
        }
        Ok(())
    }
}
