//! The workspace under test, as cargo describes it, and commands in it.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::stage::{Obstacle, Step, Tier};
use crate::verdict::Expect;

/// The workspace under test.
pub struct Workspace {
    pub root: PathBuf,
    /// cargo's target folder for the workspace's ordinary flags.
    pub target: PathBuf,
    pub tier: Tier,
    /// The names of all integration tests (`tests/NAME.rs` of any package).
    tests: BTreeSet<String>,
    /// Those of the runtime.
    runtime_tests: BTreeSet<String>,
    /// The names of all programs with tests inside.
    programs: BTreeSet<String>,
}

/// Flags from outside would replace those of the workspace (frame pointers, `--cfg modelled`), and what `cargo run` says
/// about this tool is not about the tests.
const FOREIGN: [&str; 5] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTDOCFLAGS", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH"];

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    #[serde(default)]
    src_path: PathBuf,
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|k| k == kind)
    }

    /// Whether there are tests inside this program: in its file, or in its folder, if it has one. Files that it borrows by
    /// `#[path]` are tested where they belong.
    fn has_tests(&self) -> bool {
        match self.src_path.file_name() {
            Some(name) if name == "main.rs" => self.src_path.parent().is_some_and(has_tests),
            _ => has_tests(&self.src_path),
        }
    }
}

/// Whether a file, or one below a folder, has a test.
fn has_tests(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().any(|entry| has_tests(&entry.path())),
        Err(_) => fs::read_to_string(path).is_ok_and(|text| text.lines().any(|line| line.trim() == "#[test]")),
    }
}

impl Workspace {
    /// Asks cargo about the workspace that this tool belongs to.
    pub fn load(tier: Tier) -> Result<Workspace, String> {
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cargo metadata: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let metadata = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
        Ok(Workspace::from_metadata(metadata, tier))
    }

    fn from_metadata(metadata: Metadata, tier: Tier) -> Workspace {
        let names = |of: fn(&Package) -> bool| {
            let targets = metadata.packages.iter().filter(|package| of(package)).flat_map(|package| &package.targets);
            let tests = targets.filter(|target| target.is("test"));
            tests.map(|target| target.name.clone()).collect()
        };
        let programs = metadata.packages.iter().flat_map(|package| &package.targets).filter(|target| target.is("bin"));
        Workspace {
            programs: programs.filter(|program| program.has_tests()).map(|program| program.name.clone()).collect(),
            tests: names(|_| true),
            runtime_tests: names(|package| package.name == "tricolor"),
            root: metadata.workspace_root,
            target: metadata.target_directory,
            tier,
        }
    }

    /// A program in the root folder, with the environment of the tests.
    pub fn command(&self, program: impl Into<OsString>, arguments: &[&str]) -> Command {
        let mut command = Command::new(program.into());
        command.args(arguments).current_dir(&self.root);
        command.env("TRICOLOR_TIER", self.tier.name()).env("CARGO_TERM_COLOR", "never").env("RUST_BACKTRACE", "1");
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
    }

    /// A cargo command in the root folder, with the environment of the tests.
    pub fn cargo(&self, arguments: &[&str]) -> Command {
        self.command(cargo(), arguments)
    }

    /// The tests inside libraries and programs. To build a program without any for its tests takes as long as one with.
    pub fn inner_tests(&self) -> Step {
        let mut command = self.cargo(&["test", "--workspace", "--no-fail-fast", "--lib"]);
        command.args(self.programs.iter().flat_map(|name| ["--bin", name]));
        Step::new(command, Expect::Tests { at_least: 1 })
    }

    /// The integration tests that no stage of `claimed` has to itself.
    pub fn tests_except(&self, claimed: &[&str]) -> Result<Step, Obstacle> {
        let names: Vec<&str> = self.tests.iter().map(String::as_str).filter(|name| !claimed.contains(name)).collect();
        self.tests_named(&names)
    }

    /// The same of the runtime alone.
    pub fn runtime_tests_except(&self, claimed: &[&str]) -> Result<Step, Obstacle> {
        let names = self.runtime_tests.iter().map(String::as_str).filter(|name| !claimed.contains(name));
        self.tests_named(&names.collect::<Vec<_>>())
    }

    /// The integration tests of these names, in all packages that have them.
    ///
    /// Always the whole workspace: a choice of packages would be a choice of features, and another build.
    pub fn tests_named(&self, names: &[&str]) -> Result<Step, Obstacle> {
        if let Some(name) = names.iter().find(|name| !self.tests.contains(**name)) {
            return Err(Obstacle::Project(format!("no package has a test named `{name}`")));
        }
        if names.is_empty() {
            return Err(Obstacle::Project("no package has an integration test".to_owned()));
        }
        let mut command = self.cargo(&["test", "--workspace", "--no-fail-fast"]);
        command.args(names.iter().flat_map(|name| ["--test", name]));
        Ok(Step::new(command, Expect::Tests { at_least: 1 }))
    }

    /// Whether this command, which only asks for a version, succeeds here; `name` says what is missing if not.
    pub fn needs(&self, mut probe: Command, name: &str) -> Result<(), Obstacle> {
        let status = probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => Err(Obstacle::Machine(format!("{name} is not installed"))),
        }
    }
}

/// The cargo that runs this tool.
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A workspace with these integration tests.
    pub fn workspace(tests: &[&str]) -> Workspace {
        Workspace {
            root: env::temp_dir(),
            target: env::temp_dir(),
            tier: Tier::Commit,
            tests: tests.iter().map(|name| (*name).to_owned()).collect(),
            runtime_tests: BTreeSet::new(),
            programs: BTreeSet::new(),
        }
    }

    fn arguments(step: &Step) -> String {
        step.command.get_args().map(|a| a.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_integration_tests_are_taken_from_the_metadata() {
        let json = r#"{"workspace_root": "/w", "target_directory": "/t", "extra": 1, "packages": [
            {"name": "a", "targets": [{"name": "a", "kind": ["lib"]}, {"name": "stops", "kind": ["test"]}]},
            {"name": "tricolor", "targets": [{"name": "starts", "kind": ["test"]}, {"name": "b", "kind": ["bin"]}]}]}"#;
        let workspace = Workspace::from_metadata(serde_json::from_str(json).unwrap(), Tier::Long);
        let of_the_runtime = workspace.runtime_tests_except(&[]).unwrap();
        assert_eq!(arguments(&of_the_runtime), "test --workspace --no-fail-fast --test starts");
        assert_eq!(workspace.tests.into_iter().collect::<Vec<_>>(), ["starts", "stops"]);
        assert_eq!((workspace.root, workspace.target), ("/w".into(), "/t".into()));
    }

    #[test]
    fn programs_without_tests_are_not_built_for_them() {
        let folder = env::temp_dir().join(format!("verify-programs-{}", std::process::id()));
        fs::create_dir_all(folder.join("bin/large")).unwrap();
        let files = [
            ("bin/small.rs", "#[test]"),
            ("bin/bare.rs", "fn main() {}"),
            ("bin/large/main.rs", ""),
            ("bin/large/a.rs", "\n  #[test]\n"),
        ];
        let target = |name: &str, path: &str| {
            format!(r#"{{"name": "{name}", "kind": ["bin"], "src_path": "{}"}}"#, folder.join(path).display())
        };
        files.iter().for_each(|(path, text)| fs::write(folder.join(path), text).unwrap());
        let targets = [target("small", files[0].0), target("bare", files[1].0), target("large", files[2].0)].join(",");
        let json = format!(
            r#"{{"workspace_root": "/w", "target_directory": "/t", "packages": [{{"name": "a", "targets": [{targets}]}}]}}"#
        );
        let workspace = Workspace::from_metadata(serde_json::from_str(&json).unwrap(), Tier::Commit);
        fs::remove_dir_all(&folder).unwrap();
        let run = arguments(&workspace.inner_tests());
        assert_eq!(run, "test --workspace --no-fail-fast --lib --bin large --bin small");
    }

    #[test]
    fn every_test_runs_in_exactly_one_stage() {
        let workspace = workspace(&["compile_fail", "oracle", "stops", "weak"]);
        let rest = workspace.tests_except(&["compile_fail", "oracle"]).unwrap();
        assert_eq!(arguments(&rest), "test --workspace --no-fail-fast --test stops --test weak");
        let own = workspace.tests_named(&["oracle"]).unwrap();
        assert_eq!(arguments(&own), "test --workspace --no-fail-fast --test oracle");
    }

    #[test]
    fn a_missing_test_is_the_projects_fault() {
        let workspace = workspace(&["oracle"]);
        let Err(Obstacle::Project(reason)) = workspace.tests_named(&["word_index"]) else { panic!() };
        assert_eq!(reason, "no package has a test named `word_index`");
        assert!(matches!(workspace.tests_except(&["oracle"]), Err(Obstacle::Project(_))));
    }

    #[test]
    fn a_missing_program_is_the_machines_fault() {
        let workspace = workspace(&[]);
        let probe = |program| workspace.needs(Command::new(program), "miri");
        assert_eq!(probe("true"), Ok(()));
        let missing = Err(Obstacle::Machine("miri is not installed".to_owned()));
        assert_eq!(probe("false"), missing);
        assert_eq!(probe("/no/such/program"), missing);
    }

    #[test]
    fn commands_carry_the_tier_and_no_foreign_flags() {
        let command = workspace(&[]).cargo(&["test"]);
        let value = |name: &str| command.get_envs().find(|(n, _)| *n == name).map(|(_, value)| value);
        assert_eq!(value("TRICOLOR_TIER"), Some(Some("commit".as_ref())));
        assert_eq!(value("RUSTFLAGS"), Some(None));
    }
}
