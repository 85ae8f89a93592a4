//! The contestants: where they come from, and how they are run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who takes part.
pub struct Contestant {
    pub name: &'static str,
    pub version: String,
    /// Its `mark_rate`.
    program: PathBuf,
    /// How its options begin: Go's have one dash.
    dashes: &'static str,
    /// Why it cannot take part.
    pub missing: Option<String>,
}

impl Contestant {
    /// Runs one shape with everything on one processor; MiB of marked objects per second of marking.
    ///
    /// # Errors
    /// What the program said, if that was no figure.
    pub fn mark_rate(&self, shape: &str, scale: u32) -> Result<f64, String> {
        let d = self.dashes;
        let output = Command::new(&self.program)
            .args([format!("{d}scale"), scale.to_string(), format!("{d}rounds"), "3".to_owned(), shape.to_owned()])
            .env("GOMAXPROCS", "1")
            .output()
            .map_err(|e| format!("{}: {e}", self.program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // shape, MiB, [million objects,] median, min, max
        let words: Vec<f64> = text.split_whitespace().skip(1).filter_map(|w| w.parse().ok()).collect();
        match words[..] {
            [.., median, _, _] if output.status.success() && median > 0.0 => Ok(median),
            _ => Err(format!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    }
}

/// This workspace's own, which cargo has built beside this program.
pub fn tricolor() -> Contestant {
    let program = env::current_exe().unwrap_or_default().with_file_name("mark_rate");
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--package", "tricolor-benches", "--bin", "mark_rate"])
        .status();
    let missing = match built {
        Ok(status) if status.success() && program.exists() => None,
        Ok(status) => Some(format!("mark_rate could not be built: {status}")),
        Err(e) => Some(format!("cargo: {e}")),
    };
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Contestant { name: "tricolor", version, program, dashes: "--", missing }
}

/// Go, by `TRICOLOR_GO` or from the search path.
pub fn go() -> Contestant {
    let go = env::var_os("TRICOLOR_GO").unwrap_or_else(|| "go".into());
    let mut contestant = Contestant {
        name: "go",
        version: String::new(),
        program: env::current_exe().unwrap_or_default().with_file_name("peer_go_mark_rate"),
        dashes: "-",
        missing: None,
    };
    match Command::new(&go).arg("version").output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            contestant.version = text.split_whitespace().nth(2).unwrap_or("?").trim_start_matches("go").to_owned();
        }
        Ok(output) => contestant.missing = Some(format!("{} version: {}", go.display(), output.status)),
        Err(e) => {
            contestant.missing = Some(format!("{}: {e} (benches/peers/README.md says where to get it)", go.display()));
        }
    }
    if contestant.missing.is_none() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/go");
        let built = Command::new(&go)
            .current_dir(folder)
            .args(["build", "-o"])
            .arg(&contestant.program)
            .arg("./mark_rate")
            .output();
        contestant.missing = match built {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(format!("go build: {}", String::from_utf8_lossy(&output.stderr).trim())),
            Err(e) => Some(format!("go build: {e}")),
        };
    }
    contestant
}
