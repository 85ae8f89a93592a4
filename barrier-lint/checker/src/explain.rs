//! `--explain FN`: what the walk sees of one function.

use crate::Refusal;
use crate::check::Subject;
use crate::program::FunctionId;
use crate::records::Kind;
use crate::walk::{Does, Lists, Step, Verdict, Walker};

/// Prints each function of that name (or whose path ends in it): what it calls, how it would be judged, and which
/// roots reach it.
pub fn explain(subject: &Subject, walker: &Walker, name: &str) -> Result<(), Refusal> {
    let program = &subject.program;
    let mut found: Vec<FunctionId> = program.functions_called(name).collect();
    if found.is_empty() {
        let tail = format!("::{name}");
        found = (0..program.functions.len()).filter(|&id| program.functions[id].name.ends_with(&tail)).collect();
    }
    if found.is_empty() {
        return Err(Refusal(format!("no function `{name}` in the program: never linked, or inlined everywhere")));
    }
    for id in found {
        let function = &program.functions[id];
        println!("{} at {:#x}, {} bytes", function.name, function.start, function.end - function.start);
        for (kind, text) in [
            (Kind::Root, "a root: nothing below may be a barrier"),
            (Kind::Own, "a root: it may have no barrier itself"),
            (Kind::Gate, "a gate: the walk stops here"),
            (Kind::Site, "holds a barrier"),
            (Kind::Canary, "a canary: must be condemned"),
        ] {
            if walker.records.is(id, kind) {
                println!("  {text}");
            }
        }
        let body = walker.body(id);
        for edge in &body.edges {
            println!("  {}", subject.line(&Step { at: edge.at, does: Does::Reaches(edge.how, edge.to.clone()) }));
        }
        for indirect in &body.indirect {
            println!(
                "  {}",
                subject.line(&Step { at: indirect.at, does: Does::Anything(indirect.instruction.clone()) })
            );
        }
        let verdict = walker.judge(id, Lists::Hold).verdict;
        print!("  as a root: ");
        subject.print_verdict(&function.name, &verdict);
        if let Verdict::Unknown(chains) = &verdict {
            for chain in &chains[1..] {
                println!("    or:");
                chain.iter().for_each(|step| println!("    {}", subject.line(step)));
            }
        }
        for root in walker.records.of_kind(Kind::Root).filter(|&r| r != id) {
            if let Some(chain) = walker.chain(root, id) {
                println!("  reached from the root {}:", program.functions[root].name);
                chain.iter().for_each(|step| println!("    {}", subject.line(step)));
            }
        }
    }
    Ok(())
}
