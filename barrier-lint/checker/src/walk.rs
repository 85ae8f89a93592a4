//! The walk: from one function along all calls, until something forbidden or something unknown.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::body::{self, Body, Edge, How};
use crate::lines::Lines;
use crate::program::{FunctionId, Program, Target};
use crate::records::{Kind, Records};
use crate::rules::{Permit, Rule};

/// One step of a chain: where it happens, and what it leads to.
#[derive(Clone, Debug)]
pub struct Step {
    pub at: u64,
    pub does: Does,
}

#[derive(Clone, Debug)]
pub enum Does {
    /// Calls or takes the address of a function.
    Reaches(How, Target),
    /// Is a recorded site.
    IsSite,
    /// An indirect call: the instruction.
    Anything(String),
}

#[derive(Clone, Debug)]
pub enum Verdict {
    Ok,
    /// The shortest chain to something forbidden.
    Bad(Vec<Step>),
    /// Chains to calls that may be anything. Not empty.
    Unknown(Vec<Vec<Step>>),
}

impl Verdict {
    pub fn is_ok(&self) -> bool {
        matches!(self, Verdict::Ok)
    }
}

/// A verdict, and the numbers of the rules that it rests on.
pub struct Finding {
    pub verdict: Verdict,
    pub rules: BTreeSet<usize>,
}

/// What a walk makes of the lists.
#[derive(Clone, Copy, PartialEq)]
pub enum Lists {
    Hold,
    /// This line is not there.
    Without(usize),
    /// Where this line looks away there is a barrier, and the line is not there.
    BarrierAt(usize),
}

/// Everything that a walk needs.
pub struct Walker<'a> {
    pub program: &'a Program,
    pub lines: &'a Lines,
    pub records: &'a Records,
    pub rules: &'a [Rule],
    forbidden: HashSet<Target>,
    bodies: Vec<OnceCell<Body>>,
    /// How many functions have been read.
    pub read: Cell<usize>,
    /// The functions that it does not enter, and their rules.
    stops: HashMap<&'a str, usize>,
}

impl<'a> Walker<'a> {
    pub fn new(
        program: &'a Program,
        lines: &'a Lines,
        records: &'a Records,
        rules: &'a [Rule],
        forbid: &[String],
    ) -> Self {
        let mut forbidden = HashSet::new();
        for name in forbid {
            forbidden.extend(program.functions_called(name).map(Target::Function));
            forbidden.insert(Target::External(name.clone()));
        }
        forbidden.extend(program.labels_called(forbid).map(Target::Nowhere));
        let stop = |(n, rule): (usize, &'a Rule)| {
            if let Permit::Stop(name) = &rule.permit { Some((name.as_str(), n)) } else { None }
        };
        let stops = rules.iter().enumerate().filter_map(stop).collect();
        let bodies = program.functions.iter().map(|_| OnceCell::new()).collect();
        Walker { program, lines, records, rules, forbidden, bodies, read: Cell::new(0), stops }
    }

    pub fn body(&self, id: FunctionId) -> &Body {
        self.bodies[id].get_or_init(|| {
            self.read.set(self.read.get() + 1);
            body::read(self.program, &self.program.functions[id])
        })
    }

    /// Looks at one root.
    pub fn judge(&self, root: FunctionId, lists: Lists) -> Finding {
        let only_itself = self.records.is(root, Kind::Own) && !self.records.is(root, Kind::Root);
        let mut search = Search { walker: self, root, lists, from: HashMap::new(), rules: BTreeSet::new() };
        let verdict = search.run(only_itself);
        Finding { verdict, rules: search.rules }
    }

    /// The shortest chain from one function to another.
    pub fn chain(&self, root: FunctionId, to: FunctionId) -> Option<Vec<Step>> {
        let mut search =
            Search { walker: self, root, lists: Lists::Hold, from: HashMap::new(), rules: BTreeSet::new() };
        search.run(false);
        (root == to || search.from.contains_key(&to)).then(|| search.chain(to))
    }

    /// The rule that stops the walk before a function.
    fn stop_before(&self, id: FunctionId) -> Option<usize> {
        let function = &self.program.functions[id];
        std::iter::once(&function.name).chain(&function.aliases).find_map(|name| self.stops.get(name.as_str()).copied())
    }

    /// The same for a function that has been inlined at `at`.
    fn stop_inlined(&self, at: u64) -> Option<usize> {
        if self.stops.is_empty() {
            return None;
        }
        let frames = self.lines.frames(at);
        frames.split_last()?.1.iter().find_map(|f| self.stops.get(f.function.as_str()).copied())
    }

    /// The rule for something at `at`, in the code of a function or of one that was inlined there: `of` says which
    /// function a rule is about, if it is about this.
    fn rule<'r>(&'r self, id: FunctionId, at: u64, of: impl Fn(&'r Permit) -> Option<&'r str>) -> Option<usize> {
        let about: Vec<_> = self.rules.iter().enumerate().filter_map(|(n, r)| Some((n, of(&r.permit)?))).collect();
        if about.is_empty() {
            return None;
        }
        let frames = self.lines.frames(at);
        // Line tables without full names give only the last part, which says too little.
        let owner = frames.first().map(|f| f.function.as_str()).filter(|name| name.contains("::"));
        let is_owner = |name| self.program.functions[id].is_called(name) || Some(name) == owner;
        about.into_iter().find(|(_, name)| is_owner(name)).map(|(n, _)| n)
    }
}

struct Search<'w, 'a> {
    walker: &'w Walker<'a>,
    root: FunctionId,
    lists: Lists,
    /// How each function was reached first.
    from: HashMap<FunctionId, (FunctionId, Step)>,
    rules: BTreeSet<usize>,
}

impl Search<'_, '_> {
    fn run(&mut self, only_itself: bool) -> Verdict {
        let mut unknown = Vec::new();
        let mut queue = VecDeque::from([self.root]);
        while let Some(id) = queue.pop_front() {
            if id != self.root
                && let Some(stop) = self.walker.stop_before(id)
            {
                if self.lists == Lists::BarrierAt(stop) {
                    return Verdict::Bad(self.chain(id));
                }
                if self.may_use(stop) {
                    continue;
                }
            }
            let body = self.walker.body(id);
            if let Some(&at) = self.walker.records.sites.get(&id).and_then(|sites| sites.first()) {
                return Verdict::Bad(self.chain_with(id, Step { at, does: Does::IsSite }));
            }
            for edge in &body.edges {
                let step = Step { at: edge.at, does: Does::Reaches(edge.how, edge.to.clone()) };
                if let Some(rule) = self.permit_for(id, edge) {
                    if self.lists == Lists::BarrierAt(rule) {
                        return Verdict::Bad(self.chain_with(id, step));
                    }
                    if self.may_use(rule) {
                        continue;
                    }
                }
                if self.walker.forbidden.contains(&edge.to) {
                    return Verdict::Bad(self.chain_with(id, step));
                }
                match edge.to {
                    Target::Function(to) if self.walker.records.is(to, Kind::Gate) => {}
                    Target::Function(to) if to != self.root && !self.from.contains_key(&to) => {
                        self.from.insert(to, (id, step));
                        queue.push_back(to);
                    }
                    Target::Nowhere(_) => unknown.push(self.chain_with(id, step)),
                    Target::Function(_) | Target::External(_) => {}
                }
            }
            if only_itself {
                return Verdict::Ok;
            }
            for indirect in &body.indirect {
                let rule = self.walker.stop_inlined(indirect.at);
                let rule = rule.or_else(|| self.walker.rule(id, indirect.at, Permit::indirect));
                let chain = || {
                    let does = Does::Anything(indirect.instruction.clone());
                    self.chain_with(id, Step { at: indirect.at, does })
                };
                if rule.is_some_and(|n| self.lists == Lists::BarrierAt(n)) {
                    return Verdict::Bad(chain());
                }
                if rule.is_none_or(|n| self.lists == Lists::Without(n)) {
                    unknown.push(chain());
                }
                self.rules.extend(rule);
            }
        }
        match unknown.is_empty() {
            true => Verdict::Ok,
            false => Verdict::Unknown(unknown),
        }
    }

    fn may_use(&mut self, rule: usize) -> bool {
        self.rules.insert(rule);
        self.lists != Lists::Without(rule)
    }

    /// The rule by which an edge is passed by.
    fn permit_for(&self, id: FunctionId, edge: &Edge) -> Option<usize> {
        if let Some(stop) = self.walker.stop_inlined(edge.at) {
            return Some(stop);
        }
        let (How::Takes, Target::Function(to)) = (edge.how, &edge.to) else { return None };
        let to = &self.walker.program.functions[*to];
        self.walker
            .rule(id, edge.at, |permit| permit.address().filter(|(_, taken)| to.is_called(taken)).map(|(from, _)| from))
    }

    /// The steps from the root to a function.
    fn chain(&self, mut id: FunctionId) -> Vec<Step> {
        let mut steps = Vec::new();
        while id != self.root {
            let (from, step) = &self.from[&id];
            steps.push(step.clone());
            id = *from;
        }
        steps.reverse();
        steps
    }

    fn chain_with(&self, id: FunctionId, last: Step) -> Vec<Step> {
        let mut steps = self.chain(id);
        steps.push(last);
        steps
    }
}
