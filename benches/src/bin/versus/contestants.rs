//! The contestants: where they come from, and what they are missing for.

use crate::workloads::Group;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who takes part.
pub struct Contestant {
    pub name: &'static str,
    pub version: String,
    /// The program, and arguments that stand before all others.
    pub program: Vec<OsString>,
    /// What it takes part in.
    groups: &'static [Group],
    /// Why it cannot.
    pub missing: Option<String>,
}

impl Contestant {
    pub fn is_in(&self, group: Group) -> bool {
        self.groups.contains(&group)
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

const ENTRIES: &[Entry] = &[
    ("tricolor", &[Group::Marking, Group::Net, Group::Scheduling], tricolor),
    ("go", &[Group::Marking, Group::Net, Group::Scheduling], go),
    ("tokio", &[Group::Net, Group::Scheduling], rust),
    ("may", &[Group::Net, Group::Scheduling], rust),
    ("bare", &[Group::Scheduling], rust),
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

/// Runs a command that must succeed; what it printed.
fn succeed(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(e) => Err(format!("{program}: {e} (benches/peers/README.md says where to get it)")),
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
