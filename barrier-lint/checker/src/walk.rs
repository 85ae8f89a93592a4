//! The walk: from one function along all calls, until something forbidden or something unknown.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use crate::body::{self, Body, How};
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
    stops: HashMap<FunctionId, usize>,
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
        let mut stops = HashMap::new();
        for (n, rule) in rules.iter().enumerate() {
            if let Permit::Stop(name) = &rule.permit {
                stops.extend(program.functions_called(name).map(|id| (id, n)));
            }
        }
        let bodies = program.functions.iter().map(|_| OnceCell::new()).collect();
        Walker { program, lines, records, rules, forbidden, bodies, read: Cell::new(0), stops }
    }

    pub fn body(&self, id: FunctionId) -> &Body {
        self.bodies[id].get_or_init(|| {
            self.read.set(self.read.get() + 1);
            body::read(self.program, &self.program.functions[id])
        })
    }

    /// Looks at one root, without the rule of that number.
    pub fn judge(&self, root: FunctionId, without: Option<usize>) -> Finding {
        let only_itself = self.records.is(root, Kind::Own) && !self.records.is(root, Kind::Root);
        let mut search = Search { walker: self, root, without, from: HashMap::new(), rules: BTreeSet::new() };
        let verdict = search.run(only_itself);
        Finding { verdict, rules: search.rules }
    }

    /// The shortest chain from one function to another.
    pub fn chain(&self, root: FunctionId, to: FunctionId) -> Option<Vec<Step>> {
        let mut search = Search { walker: self, root, without: None, from: HashMap::new(), rules: BTreeSet::new() };
        search.run(false);
        (root == to || search.from.contains_key(&to)).then(|| search.chain(to))
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
    without: Option<usize>,
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
                && let Some(&stop) = self.walker.stops.get(&id)
                && self.may_use(stop)
            {
                continue;
            }
            let body = self.walker.body(id);
            if let Some(&at) = self.walker.records.sites.get(&id).and_then(|sites| sites.first()) {
                return Verdict::Bad(self.chain_with(id, Step { at, does: Does::IsSite }));
            }
            for edge in &body.edges {
                let step = Step { at: edge.at, does: Does::Reaches(edge.how, edge.to.clone()) };
                if self.is_permitted(id, edge.at, edge.how, &edge.to) {
                    continue;
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
                let rule = self.walker.rule(id, indirect.at, Permit::indirect);
                if !rule.is_some_and(|n| self.may_use(n)) {
                    let does = Does::Anything(indirect.instruction.clone());
                    unknown.push(self.chain_with(id, Step { at: indirect.at, does }));
                }
            }
        }
        match unknown.is_empty() {
            true => Verdict::Ok,
            false => Verdict::Unknown(unknown),
        }
    }

    fn may_use(&mut self, rule: usize) -> bool {
        let may = self.without != Some(rule);
        if may {
            self.rules.insert(rule);
        }
        may
    }

    fn is_permitted(&mut self, id: FunctionId, at: u64, how: How, to: &Target) -> bool {
        let (How::Takes, Target::Function(to)) = (how, to) else { return false };
        let to = &self.walker.program.functions[*to];
        let rule =
            self.walker.rule(id, at, |permit| permit.address().filter(|(_, t)| to.is_called(t)).map(|(from, _)| from));
        rule.is_some_and(|n| self.may_use(n))
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
