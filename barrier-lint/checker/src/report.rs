//! What the tool prints.

use serde::Serialize;

use crate::body::How;
use crate::check::{Outcome, Subject};
use crate::lines::Frame;
use crate::walk::{Does, Step, Verdict};

/// A verdict on one root, for `--json`.
#[derive(Serialize)]
pub struct Root<'a> {
    root: &'a str,
    verdict: &'static str,
    /// To the first barrier, or to each unknown call.
    chains: Vec<Vec<Link>>,
}

#[derive(Serialize)]
struct Link {
    does: &'static str,
    what: String,
    /// Innermost first; the last is the function that does it.
    frames: Vec<Frame>,
}

/// The report on one program, for `--json`.
#[derive(Serialize)]
pub struct Json<'a> {
    program: &'a str,
    roots: Vec<Root<'a>>,
    /// Marked functions of which the program has no instance.
    not_in_the_program: &'a [String],
    canaries_condemned: usize,
    functions_read: usize,
    seconds: f64,
}

/// A function's name without the arguments of its own type parameters.
fn plain(function: &str) -> &str {
    match function.find('<') {
        Some(at) if at > 0 && !function[..at].ends_with("::") => &function[..at],
        _ => function,
    }
}

impl Subject {
    fn link(&self, step: &Step) -> Link {
        let (does, what) = match &step.does {
            Does::Reaches(How::Calls, to) => ("calls", self.program.name(to)),
            Does::Reaches(How::Takes, to) => ("takes the address of", self.program.name(to)),
            Does::IsSite => ("executes a barrier", String::new()),
            Does::Anything(instruction) => ("calls anything:", format!("`{instruction}`")),
        };
        let mut frames = self.lines.frames(step.at).to_vec();
        // Line tables may lack the names of functions that were not inlined; the symbol table has them.
        if let (Some(outermost), Some(id)) = (frames.last_mut(), self.program.function_around(step.at)) {
            outermost.function = self.program.functions[id].name.clone();
        }
        Link { does, what, frames }
    }

    /// A step on one line.
    pub fn line(&self, step: &Step) -> String {
        let link = self.link(step);
        let mut text = format!("{} {}", link.does, link.what).trim_end().to_owned();
        if let Some(first) = link.frames.first() {
            text += &format!(" at {}:{}", first.file, first.line);
            for pair in link.frames.windows(2) {
                text += &format!(" (in {}, inlined at {}:{})", plain(&pair[0].function), pair[1].file, pair[1].line);
            }
        }
        text
    }

    /// A verdict in words.
    pub fn print_verdict(&self, name: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Ok => println!("OK {name}"),
            Verdict::Bad(chain) => {
                println!("BAD {name}");
                chain.iter().for_each(|step| println!("    {}", self.line(step)));
            }
            Verdict::Unknown(chains) => {
                println!("UNKNOWN {name}");
                chains[0].iter().for_each(|step| println!("    {}", self.line(step)));
                if chains.len() > 1 {
                    println!("    and {} more: see --explain or --json", chains.len() - 1);
                }
            }
        }
    }

    pub fn print(&self, outcome: &Outcome) {
        for (id, finding) in &outcome.roots {
            self.print_verdict(&self.program.functions[*id].name, &finding.verdict);
        }
        if !self.records.absent.is_empty() {
            println!(
                "{} marked functions are not in this program: see --json or --complete",
                self.records.absent.len()
            );
        }
        println!(
            "{}: {} clean, {} bad, {} unknown; {} canaries condemned; {} functions read in {:.2} s",
            self.name,
            outcome.count(Verdict::is_ok),
            outcome.count(|v| matches!(v, Verdict::Bad(_))),
            outcome.count(|v| matches!(v, Verdict::Unknown(_))),
            outcome.canaries,
            outcome.read,
            outcome.time.as_secs_f64(),
        );
    }

    pub fn json<'a>(&'a self, outcome: &Outcome) -> Json<'a> {
        let chains = |all: &[Vec<Step>]| all.iter().map(|c| c.iter().map(|s| self.link(s)).collect()).collect();
        let roots = outcome.roots.iter().map(|(id, finding)| {
            let (verdict, chains) = match &finding.verdict {
                Verdict::Ok => ("OK", Vec::new()),
                Verdict::Bad(chain) => ("BAD", chains(std::slice::from_ref(chain))),
                Verdict::Unknown(all) => ("UNKNOWN", chains(all)),
            };
            Root { root: &self.program.functions[*id].name, verdict, chains }
        });
        Json {
            program: &self.name,
            roots: roots.collect(),
            not_in_the_program: &self.records.absent,
            canaries_condemned: outcome.canaries,
            functions_read: outcome.read,
            seconds: outcome.time.as_secs_f64(),
        }
    }
}
