//! The names that a body gives a meaning of its own: values (calling one is an indirect call), functions and imports.

use std::collections::{HashMap, HashSet};

use syn::visit::{self, Visit};
use syn::{FnArg, Ident, Item, Macro, PatIdent, Path, Signature, Stmt, UseTree, parse_quote};

use crate::args::Kind;
use crate::known::{self, Known};

#[derive(Default)]
pub struct Bindings {
    values: HashSet<String>,
    /// Functions inside the body without an attribute of ours. They have no shadow type, so that an outer function's
    /// would be found instead.
    unmarked: HashSet<String>,
    /// What `use` inside the body renames to what. Likewise: only the full path finds its own shadow type.
    imports: HashMap<String, Path>,
}

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

    pub fn contains(&self, name: &Ident) -> bool {
        name == "self" || self.values.contains(&name.to_string())
    }

    pub fn is_unmarked(&self, name: &Ident) -> bool {
        self.unmarked.contains(&name.to_string())
    }

    /// `path`, as it reads outside the body.
    pub fn resolve(&self, path: &Path) -> Path {
        let mut full = path.clone();
        let first = &path.segments[0].ident;
        if path.leading_colon.is_none()
            && let Some(import) = self.imports.get(&first.to_string())
        {
            let rest = full.segments.into_iter().skip(1);
            full = import.clone();
            full.segments.extend(rest);
            // Errors belong where the user wrote the name.
            full.segments.iter_mut().for_each(|s| s.ident.set_span(first.span()));
        }
        full
    }

    fn import(&mut self, prefix: &Path, tree: &UseTree) {
        let joined = |name: &Ident| {
            let mut path = prefix.clone();
            path.segments.push(parse_quote!(#name));
            path
        };
        match tree {
            UseTree::Path(p) => self.import(&joined(&p.ident), &p.tree),
            UseTree::Name(n) if n.ident == "self" => {
                let name = prefix.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
                self.imports.insert(name, prefix.clone());
            }
            UseTree::Name(n) => drop(self.imports.insert(n.ident.to_string(), joined(&n.ident))),
            UseTree::Rename(r) if r.ident == "self" => drop(self.imports.insert(r.rename.to_string(), prefix.clone())),
            UseTree::Rename(r) => drop(self.imports.insert(r.rename.to_string(), joined(&r.ident))),
            UseTree::Group(g) => g.items.iter().for_each(|t| self.import(prefix, t)),
            UseTree::Glob(_) => {}
        }
    }
}

impl<'ast> Visit<'ast> for Bindings {
    fn visit_pat_ident(&mut self, p: &'ast PatIdent) {
        // An upper-case name is a constant or a unit variant.
        let name = p.ident.to_string();
        if !known::is_upper(&name) {
            self.values.insert(name);
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

    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Fn(f) if !f.attrs.iter().any(|a| Kind::of(a.path()).is_some()) => {
                self.unmarked.insert(f.sig.ident.to_string());
            }
            Item::Use(u) => {
                let empty = Path { leading_colon: u.leading_colon, segments: Default::default() };
                self.import(&empty, &u.tree);
            }
            _ => {}
        }
    }
    fn visit_type(&mut self, _: &'ast syn::Type) {}
}
