//! Building the program to check, and what the workspace says about checks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Refusal;
use crate::args::Options;

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    metadata: Option<BTreeMap<String, serde_json::Value>>,
}

/// `[workspace.metadata.SECTION]`, where `SECTION` is that of the records with hyphens, so usually `barrier-lint`: what
/// goes for every check in the workspace that names nothing else.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Defaults {
    forbid: Vec<String>,
    stop: Vec<PathBuf>,
    allow: Vec<PathBuf>,
    /// Stop lists for `--stack` alone, beside the others.
    stack: Vec<PathBuf>,
}

/// A line of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The flag that makes the attributes leave records.
const CFG: &str = "--cfg=barrier_lint";

/// What the `lint` profile is, also where a workspace does not define it.
const PROFILE: [&str; 4] = [
    "profile.lint.inherits=\"release\"",
    "profile.lint.debug=\"line-tables-only\"",
    "profile.lint.lto=false",
    "profile.lint.strip=false",
];

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Takes the workspace's settings where the options say nothing.
fn add_defaults(options: &mut Options, metadata: &Metadata) -> Result<(), Refusal> {
    let section = options.records.replace('_', "-");
    let Some(table) = metadata.metadata.as_ref().and_then(|m| m.get(&section)) else { return Ok(()) };
    let defaults: Defaults = serde_json::from_value(table.clone())
        .map_err(|e| Refusal(format!("[workspace.metadata.{section}] in Cargo.toml: {e}")))?;
    let mut stop = defaults.stop;
    stop.extend(if options.stack { defaults.stack } else { Vec::new() });
    for (given, of_workspace) in [(&mut options.stop, stop), (&mut options.allow, defaults.allow)] {
        if given.is_empty() {
            given.extend(of_workspace.iter().map(|p| metadata.workspace_root.join(p)));
        }
    }
    if options.forbid.is_empty() {
        options.forbid = defaults.forbid;
    }
    Ok(())
}

/// Builds what the options name.
pub fn build(options: &mut Options) -> Result<Vec<PathBuf>, Refusal> {
    let metadata = metadata()?;
    add_defaults(options, &metadata)?;
    let mut command = cargo();
    command.args(["build", "--message-format=json-render-diagnostics", "--profile", &options.profile]);
    command.arg("--target-dir").arg(metadata.target_directory.join("barrier-lint"));
    for setting in PROFILE.iter().filter(|_| options.profile == "lint") {
        command.args(["--config", setting]);
    }
    flags(&mut command);
    for (kind, name) in options.targets() {
        command.args([&format!("--{kind}"), name]);
    }
    for (flag, value) in [("--package", &options.package), ("--features", &options.features)] {
        command.args(value.iter().flat_map(|v| [flag, v]));
    }
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| Refusal(format!("cargo build: {e}")))?;
    if !output.status.success() {
        return Err(Refusal("the program does not build".to_owned()));
    }
    let messages: Vec<Message> =
        output.stdout.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let built = |(kind, name): (&str, &str)| {
        let is_it = |t: &Target| t.name == name && t.kind.iter().any(|k| k == kind);
        let message = messages.iter().find(|m| m.executable.is_some() && m.target.as_ref().is_some_and(is_it));
        message
            .and_then(|m| m.executable.clone())
            .ok_or_else(|| Refusal(format!("cargo built no program for --{kind} {name}")))
    };
    options.targets().into_iter().map(built).collect()
}

/// Flags in the environment replace those of the configuration, so ours go where the others are.
fn flags(command: &mut Command) {
    let from_outside = |name| std::env::var(name).ok().filter(|v: &String| !v.is_empty());
    if let Some(flags) = from_outside("CARGO_ENCODED_RUSTFLAGS") {
        command.env("CARGO_ENCODED_RUSTFLAGS", format!("{flags}\u{1f}{CFG}"));
    } else if let Some(flags) = from_outside("RUSTFLAGS") {
        command.env("RUSTFLAGS", format!("{flags} {CFG}"));
    } else {
        command.args(["--config", &format!("build.rustflags=[\"{CFG}\"]")]);
    }
}

fn metadata() -> Result<Metadata, Refusal> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version=1"])
        .output()
        .map_err(|e| Refusal(format!("cargo metadata: {e}")))?;
    if !output.status.success() {
        return Err(Refusal(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| Refusal(format!("cargo metadata: {e}")))
}
