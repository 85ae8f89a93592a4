//! Builds and runs the harness: the product must keep every register, a twin without one must be caught.
//!
//! The C side (folder `harness/`) gets the text of the product and of all twins at once, with the operands put in as
//! it lays out its mock runtime. What this machine lacks, a cross compiler or AVX-512, makes a row SKIPPED.

use crate::asm::Fault;
use crate::outputs::assembly;
use crate::table::{ARCHES, Arch, Kind};
use crate::{aarch64, x86};
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

/// The name of the product among the variants.
const PRODUCT: &str = "product";
/// The variant that injects nothing: signals alone change no register.
const CONTROL: &str = "control";
/// What a twin is expected to call wrong if the processor kills it instead.
const DIES: &str = "memory fault";
const SIGSEGV: i32 = 11;
/// The harness's exit status for "not on this machine".
const NOT_HERE: i32 = 77;

/// Counts of rows, for the last line.
#[derive(Default)]
pub struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

enum Row {
    Pass(String),
    Fail(String),
    Skip(String),
}

impl Tally {
    fn row(&mut self, name: &str, row: Row) {
        let (verdict, count, detail) = match row {
            Row::Pass(detail) => ("ok", &mut self.passed, detail),
            Row::Fail(detail) => ("FAILED", &mut self.failed, detail),
            Row::Skip(detail) => ("SKIPPED", &mut self.skipped, detail),
        };
        *count += 1;
        println!("{name:<34} {verdict:<7} {detail}");
    }

    /// Prints the last line; says whether nothing failed.
    pub fn end(&self) -> bool {
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        self.failed == 0
    }
}

/// What the harness's C files are told, by name.
fn operands(arch: &Arch) -> Vec<(&'static str, String)> {
    let word = if arch.name == "i686" { 4 } else { 8 };
    let mut operands = vec![
        ("CURRENT_IN_RUNTIME", 8 + 3 * word),
        ("CURRENT_STOP_PENDING", 12 + 3 * word),
        ("XREGS_BYTES", if arch.name == "i686" { x86::I686.xregs_bytes() } else { x86::X86_64.xregs_bytes() }),
        ("FRAME_BYTES", aarch64::FRAME_BYTES),
    ];
    if arch.name == "x86_64" {
        let scratch = 64;
        let cache = scratch + x86::X86_64.xregs_bytes();
        operands.extend([("CURRENT_M", 24), ("M_P", 16), ("P_XREGS_SCRATCH", scratch), ("P_XREGS_CACHE", cache)]);
    }
    operands.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

/// The text with its operands put in, under another name than `async_preempt`.
fn instantiate(arch: &Arch, fault: Fault, name: &str) -> Result<String, String> {
    let mut text: String =
        assembly(arch, fault).lines().filter(|line| !line.starts_with(['#', '/'])).map(|l| format!("{l}\n")).collect();
    text = text.replace("{async_preempt2}", "mock_preempt2").replace("{xsave_mode}", "xsave_mode");
    for (operand, value) in operands(arch) {
        text = text.replace(&format!("{{{operand}}}"), &value);
    }
    if let Some(line) = text.lines().find(|line| line.contains(['{', '}'])) {
        return Err(format!("an operand that the harness does not know: {}", line.trim()));
    }
    Ok(text.replace("async_preempt", &symbol(name)))
}

fn symbol(variant: &str) -> String {
    format!("async_preempt_{}", variant.replace('-', "_"))
}

/// A variant of the assembly.
struct Variant {
    name: &'static str,
    fault: Fault,
    /// What the harness must call wrong.
    wrong: &'static str,
    /// It shows between instructions only.
    step: bool,
}

impl Variant {
    const fn new(name: &'static str, fault: Fault, wrong: &'static str) -> Variant {
        Variant { name, fault, wrong, step: false }
    }
}

/// Twins of both x86 architectures that are about other things than registers.
const X86_TWINS: [Variant; 5] = [
    Variant { step: true, ..Variant::new("early-clear", Fault::ClearsEarly, "order") },
    Variant { step: true, ..Variant::new("no-signal-frame", Fault::Lacks(".cfi_signal_frame"), "unwinding") },
    Variant::new("no-cld", Fault::Lacks("cld"), "df"),
    Variant::new("no-fninit", Fault::Lacks("fninit"), "x87 stack"),
    Variant::new("no-second-save", Fault::Lacks("jmp .Lasync_preempt_save"), "stop_pending"),
];

const X86_64_TWINS: [Variant; 2] = [
    Variant::new("no-alignment", Fault::Lacks("and rsp, -16"), "alignment"),
    Variant::new("no-clean-header", Fault::Lacks("mov qword ptr [rdi + 528], rax"), DIES),
];

const I686_TWINS: [Variant; 1] =
    [Variant::new("no-clean-header", Fault::Lacks("mov dword ptr [edi + 528], eax"), DIES)];

const AARCH64_TWINS: [Variant; 2] = [
    Variant::new("no-second-call", Fault::Lacks("b .Lasync_preempt_call"), "stop_pending"),
    Variant::new("no-signal-frame", Fault::Lacks(".cfi_signal_frame"), "unwinding"),
];

/// All of them, the product first.
fn variants(arch: &'static Arch) -> Vec<Variant> {
    let mut all = vec![Variant::new(PRODUCT, Fault::None, "")];
    all.extend(arch.registers.iter().map(|r| Variant::new(r.name, Fault::Without(r.name), r.name)));
    match arch.name {
        "x86_64" => all.extend(X86_TWINS.into_iter().chain(X86_64_TWINS)),
        "i686" => all.extend(X86_TWINS.into_iter().chain(I686_TWINS)),
        _ => all.extend(AARCH64_TWINS),
    }
    all
}

/// Whether a program can single-step itself.
fn has_steps(arch: &Arch) -> bool {
    arch.registers.iter().any(|r| matches!(r.kind, Kind::Component(_)))
}

/// How to build and run programs of an architecture.
struct Tools {
    compiler: &'static str,
    /// Empty: runs as it is.
    emulators: &'static [&'static str],
    native: bool,
}

fn tools(arch: &Arch) -> Tools {
    match arch.name {
        "x86_64" => Tools { compiler: "cc", emulators: &[], native: true },
        "i686" => Tools { compiler: "i686-linux-gnu-gcc", emulators: &["qemu-i386", "qemu-i386-static"], native: true },
        _ => Tools {
            compiler: "aarch64-linux-gnu-gcc",
            emulators: &["qemu-aarch64", "qemu-aarch64-static"],
            native: false,
        },
    }
}

fn exists(program: &str) -> bool {
    let probe = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    probe.is_ok_and(|output| output.status.success())
}

/// A built harness and how it is run.
struct Built {
    program: PathBuf,
    emulator: Option<&'static str>,
}

impl Built {
    fn command(&self) -> Command {
        match self.emulator {
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        }
    }

    fn run(&self, variant: &str, mode: &str, rounds: u32, step: bool) -> Result<Output, String> {
        let mut command = self.command();
        command.args([variant, mode, &rounds.to_string(), "20150715"]).args(step.then_some("step"));
        command.stdin(Stdio::null()).output().map_err(|error| format!("{}: {error}", self.program.display()))
    }
}

/// Why there is no harness for an architecture.
enum NotBuilt {
    Lacks(String),
    Broken(String),
}

fn build(arch: &'static Arch, folder: &Path) -> Result<Built, NotBuilt> {
    let tools = tools(arch);
    if !exists(tools.compiler) {
        return Err(NotBuilt::Lacks(format!("{} is not installed", tools.compiler)));
    }
    let broken = |error: std::io::Error| NotBuilt::Broken(format!("{}: {error}", folder.display()));
    let (mut text, mut table) = (String::new(), "#include \"harness.h\"\n".to_owned());
    let mut rows = String::new();
    for variant in variants(arch) {
        text.push_str(&instantiate(arch, variant.fault, variant.name).map_err(NotBuilt::Broken)?);
        let symbol = symbol(variant.name);
        writeln!(table, "extern char {symbol}[], {symbol}_end[];").expect("a string takes all text");
        writeln!(rows, "    {{\"{}\", {symbol}, {symbol}_end}},", variant.name).expect("a string takes all text");
    }
    write!(table, "const struct variant variants[] = {{\n{rows}    {{\"{CONTROL}\", 0, 0}},\n    {{0}},\n}};\n")
        .expect("a string takes all text");
    let (syntax, progbits) =
        if has_steps(arch) { (".intel_syntax noprefix\n", "@progbits") } else { ("", "%progbits") };
    let text = format!("{syntax}{text}.section .note.GNU-stack,\"\",{progbits}\n");

    fs::create_dir_all(folder).map_err(broken)?;
    let (asm, c, program) =
        (folder.join("variants.s"), folder.join("variants.c"), folder.join(format!("harness-{}", arch.name)));
    fs::write(&asm, text).map_err(broken)?;
    fs::write(&c, table).map_err(broken)?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("harness");
    let part = if has_steps(arch) { "x86" } else { arch.name };
    let mut command = Command::new(tools.compiler);
    command.args(["-O1", "-Wall", "-Wextra", "-Werror", "-static", "-fasynchronous-unwind-tables"]);
    command.args(operands(arch).into_iter().map(|(name, value)| format!("-D{name}={value}")));
    command.arg("-I").arg(&sources).arg(sources.join("harness.c"));
    command.arg(sources.join(format!("{part}.c"))).arg(sources.join(format!("{part}.S")));
    command.arg(asm).arg(c).arg("-o").arg(&program);
    let output = command.output().map_err(broken)?;
    if !output.status.success() {
        return Err(NotBuilt::Broken(format!("does not build: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }

    let mut built = Built { program, emulator: None };
    let control = |built: &Built| built.run(CONTROL, "best", 8, false).map_err(NotBuilt::Broken);
    if tools.native && matches!(control(&built), Ok(output) if output.status.success()) {
        return Ok(built);
    }
    let Some(first) = tools.emulators.first() else {
        return Err(NotBuilt::Broken("the control fails: signals alone change registers here".to_owned()));
    };
    let emulator = tools.emulators.iter().copied().find(|emulator| exists(emulator));
    let emulator = emulator.ok_or_else(|| NotBuilt::Lacks(format!("{first} is not installed")))?;
    built.emulator = Some(emulator);
    let output = control(&built)?;
    if output.status.success() {
        return Ok(built);
    }
    // It would be the emulator's mistake that every row shows.
    let said = String::from_utf8_lossy(&output.stdout).trim().replace('\n', "; ");
    Err(NotBuilt::Lacks(format!("{emulator} loses registers over a signal: {said}")))
}

/// What a run of the product must be.
fn good(output: Result<Output, String>) -> Row {
    match output {
        Err(error) => Row::Fail(error),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).trim().replace('\n', "; ");
            match output.status.code() {
                Some(0) => Row::Pass(said),
                Some(NOT_HERE) => Row::Skip(said),
                _ => Row::Fail(format!("{said} ({})", output.status)),
            }
        }
    }
}

/// What a run of a twin must be: it says that this is wrong, by name.
fn bad(output: Result<Output, String>, expected: &str) -> Row {
    match output {
        Err(error) => Row::Fail(error),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            match output.status.code() {
                Some(1) if said.lines().any(|line| line.starts_with(&format!("wrong {expected}: "))) => {
                    Row::Pass("noticed".to_owned())
                }
                None if expected == DIES && output.status.signal() == Some(SIGSEGV) => Row::Pass("noticed".to_owned()),
                Some(NOT_HERE) => Row::Skip(said.trim().to_owned()),
                _ => Row::Fail(format!("a bad twin passes: {} ({})", said.trim().replace('\n', "; "), output.status)),
            }
        }
    }
}

/// Runs the harness for these architectures, each with all its twins.
pub fn run(arches: &[&'static Arch], rounds: u32) -> bool {
    let mut tally = Tally::default();
    for arch in arches {
        let built = match build_for(arch) {
            Ok(built) => built,
            Err(NotBuilt::Lacks(what)) => {
                tally.row(arch.name, Row::Skip(what));
                continue;
            }
            Err(NotBuilt::Broken(what)) => {
                tally.row(arch.name, Row::Fail(what));
                continue;
            }
        };
        let on = built.emulator.map_or(String::new(), |emulator| format!(" ({emulator})"));
        let modes: &[&str] = if has_steps(arch) { &["fxsave", "xsave", "xsavec"] } else { &["best"] };
        for mode in modes {
            tally.row(&format!("{} {mode}{on}", arch.name), good(built.run(PRODUCT, mode, rounds, false)));
        }
        // An emulator's single steps are its own.
        let steps = has_steps(arch) && built.emulator.is_none();
        if steps {
            tally.row(&format!("{} step by step", arch.name), good(built.run(PRODUCT, "best", 8, true)));
        }
        for twin in variants(arch).into_iter().skip(1).filter(|twin| steps || !twin.step) {
            let without = if matches!(twin.fault, Fault::Without(_)) { "without " } else { "twin " };
            let output = built.run(twin.name, "best", 8, twin.step);
            tally.row(&format!("{} {without}{}", arch.name, twin.name), bad(output, twin.wrong));
        }
    }
    tally.end()
}

/// Runs one twin alone and shows what the harness says of it; says whether it passed as if nothing were wrong.
pub fn run_without(arch: &'static Arch, register: &str) -> Result<bool, String> {
    let names = || arch.registers.iter().map(|r| r.name);
    if !names().any(|name| name == register) {
        let names: Vec<&str> = names().collect();
        return Err(format!("{} has no register `{register}`; the table has {}", arch.name, names.join(", ")));
    }
    let built = build_for(arch).map_err(|error| match error {
        NotBuilt::Lacks(what) | NotBuilt::Broken(what) => what,
    })?;
    let output = built.run(register, "best", 8, false)?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    Ok(output.status.success())
}

fn build_for(arch: &'static Arch) -> Result<Built, NotBuilt> {
    // Next to this program, so inside cargo's target folder.
    let here = env::current_exe().map_err(|error| NotBuilt::Broken(error.to_string()))?;
    let folder = here.parent().expect("a program lies in a folder").join("preempt-asm").join(arch.name);
    build(arch, &folder)
}

/// The architectures of these names, or all.
pub fn named(names: &[String]) -> Result<Vec<&'static Arch>, String> {
    let all = || ARCHES.iter().map(|arch| arch.name).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        return Ok(ARCHES.to_vec());
    }
    let find = |name: &String| ARCHES.iter().find(|arch| arch.name == name).copied();
    names.iter().map(|name| find(name).ok_or(format!("no architecture `{name}`; there are {}", all()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operand_of_every_variant_is_known() {
        for arch in ARCHES {
            for variant in variants(arch) {
                let text = instantiate(arch, variant.fault, variant.name).unwrap();
                let named = text.contains(&format!("\n{}:\n", symbol(variant.name)));
                assert!(named, "{} {}", arch.name, variant.name);
            }
        }
    }

    #[test]
    fn every_twin_differs_from_the_product() {
        for arch in ARCHES {
            let product = assembly(arch, Fault::None);
            for variant in &variants(arch)[1..] {
                assert_ne!(assembly(arch, variant.fault), product, "{} {}", arch.name, variant.name);
            }
        }
    }

    #[test]
    fn wrong_names_are_told() {
        assert_eq!(named(&["vax".into()]).unwrap_err(), "no architecture `vax`; there are x86_64, i686, aarch64");
        let error = run_without(&crate::table::I686, "r8").unwrap_err();
        assert!(error.starts_with("i686 has no register `r8`; the table has ebp, eflags, eax"), "{error}");
    }
}
