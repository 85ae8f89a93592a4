//! The contestants: where they come from, and what they are missing for.

use crate::workloads::{Group, Heap};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who takes part.
pub struct Contestant {
    pub name: &'static str,
    pub version: String,
    /// The program, and arguments that stand before all others.
    program: Vec<OsString>,
    /// What it takes part in.
    groups: &'static [Group],
    /// Why it cannot.
    pub missing: Option<String>,
}

impl Contestant {
    pub fn is_in(&self, group: Group) -> bool {
        self.groups.contains(&group)
    }

    /// A command that runs the program with `procs` processors (the others see to that themselves) and such a heap. Java
    /// has its 512 MiB always.
    pub fn command(&self, procs: usize, heap: Heap) -> Command {
        let mut command = Command::new(&self.program[0]);
        match self.name {
            "java" => _ = command.arg(format!("-XX:ActiveProcessorCount={procs}")),
            "boehm" => _ = command.env("GC_NPROCS", procs.to_string()),
            _ => {}
        }
        match (heap, self.name) {
            (Heap::UpTo(mib), "tricolor") => {
                command.env("TRICOLOR_GC", "off").env("TRICOLOR_MEMLIMIT", format!("{mib}MiB"));
            }
            (Heap::UpTo(mib), "go") => _ = command.env("GOGC", "off").env("GOMEMLIMIT", format!("{mib}MiB")),
            (Heap::UpTo(mib), "boehm") => {
                command.env("GC_INITIAL_HEAP_SIZE", format!("{mib}M")).env("GC_MAXIMUM_HEAP_SIZE", format!("{mib}M"));
            }
            (Heap::Huge, "tricolor") => _ = command.env("TRICOLOR_HUGEPAGES", "on"),
            _ => {}
        }
        command.args(&self.program[1..]);
        command
    }

    /// It shows what the machine allows, and takes part where there is such a thing: nothing is lacking elsewhere.
    pub fn is_limit(&self) -> bool {
        self.name == "bare"
    }
}

/// Who could take part: name, groups, and how it is had.
type Entry = (&'static str, &'static [Group], fn(&str) -> Result<Had, String>);

/// Version and command.
type Had = (String, Vec<OsString>);

const ALL: [Group; 7] =
    [Group::Net, Group::Scheduling, Group::Memory, Group::Program, Group::Barrier, Group::Stops, Group::Marking];

const ENTRIES: &[Entry] = &[
    ("tricolor", &ALL, tricolor),
    ("go", &ALL, go),
    ("tokio", &[Group::Net, Group::Scheduling], rust),
    ("may", &[Group::Net, Group::Scheduling], rust),
    ("bare", &[Group::Scheduling, Group::Barrier, Group::Stops, Group::Marking], rust),
    ("java", &[Group::Memory], java),
    ("boehm", &[Group::Memory], boehm),
    ("mimalloc", &[Group::Memory], rust),
];

/// Names of all that there are.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|(name, ..)| *name)
}

/// Builds those that take part in one of `groups`. Tricolor is the first.
pub fn assemble(groups: &[Group], wanted: impl Fn(&str) -> bool) -> Vec<Contestant> {
    let chosen = ENTRIES.iter().filter(|(name, theirs, _)| {
        *name == "tricolor" || (wanted(name) && theirs.iter().any(|group| groups.contains(group)))
    });
    chosen
        .map(|(name, groups, get)| {
            eprintln!("building: {name}");
            let (missing, (version, program)) = match get(name) {
                Ok(had) => (None, had),
                Err(why) => (Some(why), Had::default()),
            };
            Contestant { name, version, program, groups, missing }
        })
        .collect()
}

/// Beside this program, where cargo puts what it builds.
fn beside(name: &str) -> PathBuf {
    env::current_exe().unwrap_or_default().with_file_name(name)
}

fn peers(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(folder)
}

const HELP: &str = "benches/peers/README.md says where to get it";

/// Runs a command that must succeed; what it printed.
fn succeed(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            eprintln!("{command:?}:\n{text}");
            let line = text.lines().find(|line| line.contains("error")).or(text.lines().next());
            Err(format!("{program}: {} ({HELP})", line.unwrap_or("failed").trim()))
        }
        Err(e) => Err(format!("{program}: {e} ({HELP})")),
    }
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// This workspace's own.
fn tricolor(_: &str) -> Result<Had, String> {
    succeed(cargo().args(["build", "--quiet", "--release", "--package", "tricolor-benches", "--bin", "contestant"]))?;
    Ok((env!("CARGO_PKG_VERSION").to_owned(), vec![beside("contestant").into()]))
}

/// Go, by `TRICOLOR_GO` or from the search path.
fn go(_: &str) -> Result<Had, String> {
    let go = env::var_os("TRICOLOR_GO").unwrap_or_else(|| "go".into());
    let version = succeed(Command::new(&go).arg("version"))?;
    let version = version.split_whitespace().nth(2).unwrap_or("?").trim_start_matches("go").to_owned();
    let program = beside("peer_go");
    succeed(Command::new(&go).current_dir(peers("go")).args(["build", "-o"]).arg(&program).arg("./contestant"))?;
    Ok((version, vec![program.into()]))
}

/// A crate of `peers/rust`, which is called like the crate that it is about; `bare` is corosensei's.
fn rust(name: &str) -> Result<Had, String> {
    let (folder, target) = (peers("rust"), beside("peers"));
    let package = format!("peer-{name}");
    succeed(
        cargo()
            .current_dir(&folder)
            .args(["build", "--quiet", "--release", "--locked", "--package", &package, "--target-dir"])
            .arg(&target),
    )?;
    let of = if name == "bare" { "corosensei" } else { name };
    let lock = std::fs::read_to_string(folder.join("Cargo.lock")).map_err(|e| format!("Cargo.lock: {e}"))?;
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{of}\""));
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1)).unwrap_or("?");
    let version = if name == "bare" { format!("{of} {version}") } else { version.to_owned() };
    Ok((version, vec![target.join("release").join(package).into()]))
}

/// A JDK: `java` and `javac` on the search path. The collector is G1, with as much memory as it may have by then.
fn java(_: &str) -> Result<Had, String> {
    let version = Command::new("java").arg("-version").output();
    let version = version.map_err(|e| format!("java: {e} ({HELP})"))?;
    let version = String::from_utf8_lossy(&version.stderr).split('"').nth(1).unwrap_or("?").to_owned();
    let classes = beside("peers").join("java");
    succeed(Command::new("javac").arg("-d").arg(&classes).arg(peers("java").join("Contestant.java")))?;
    let options = ["java", "-XX:+UseG1GC", "-Xmx512m", "-cp"].map(OsString::from);
    Ok((format!("{version}, G1, -Xmx512m"), [&options[..], &[classes.into(), "Contestant".into()]].concat()))
}

/// A C compiler and the library that Debian calls libgc-dev.
fn boehm(_: &str) -> Result<Had, String> {
    let program = beside("peer_boehm");
    let cc = env::var_os("CC").unwrap_or_else(|| "cc".into());
    succeed(
        Command::new(&cc)
            .args(["-O2", "-o"])
            .arg(&program)
            .arg(peers("c").join("contestant.c"))
            .args(["-lgc", "-pthread"]),
    )?;
    let version = "#include <gc.h>\nGC_VERSION_MAJOR GC_VERSION_MINOR GC_VERSION_MICRO";
    let version = succeed(Command::new("sh").args(["-c", "printf '%s' \"$1\" | \"$0\" -E -"]).arg(&cc).arg(version))?;
    Ok((version.lines().last().unwrap_or("?").trim().replace(' ', "."), vec![program.into()]))
}
