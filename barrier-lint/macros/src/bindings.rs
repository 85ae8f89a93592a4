//! The names that a body binds: calling one is an indirect call.

use std::collections::HashSet;

use syn::visit::{self, Visit};
use syn::{FnArg, Macro, PatIdent, Signature, Stmt};

use crate::known::{self, Known};

#[derive(Default)]
pub struct Bindings(HashSet<String>);

impl Bindings {
    pub fn of(sig: &Signature, body: &[Stmt]) -> Self {
        let mut names = Bindings::default();
        for arg in &sig.inputs {
            if let FnArg::Typed(arg) = arg {
                names.visit_pat(&arg.pat);
            }
        }
        body.iter().for_each(|s| names.visit_stmt(s));
        names
    }

    pub fn contains(&self, name: &syn::Ident) -> bool {
        name == "self" || self.0.contains(&name.to_string())
    }
}

impl<'ast> Visit<'ast> for Bindings {
    fn visit_pat_ident(&mut self, p: &'ast PatIdent) {
        // An upper-case name is a constant or a unit variant.
        let name = p.ident.to_string();
        if !known::is_upper(&name) {
            self.0.insert(name);
        }
        visit::visit_pat_ident(self, p);
    }

    fn visit_macro(&mut self, mac: &'ast Macro) {
        let Ok(known) = known::parse(mac) else { return };
        match known {
            Known::Exprs(exprs) => exprs.iter().for_each(|e| self.visit_expr(e)),
            Known::Matches { value, pat, guard } => {
                self.visit_expr(&value);
                self.visit_pat(&pat);
                guard.iter().for_each(|g| self.visit_expr(g));
            }
            Known::Place(place) => self.visit_expr(&place),
            Known::Inert | Known::Asm | Known::Opaque => {}
        }
    }

    fn visit_item(&mut self, _: &'ast syn::Item) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
}
