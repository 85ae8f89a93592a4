//! Builds and runs the program under test.

use crate::tree::long_tier;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Long enough for a slow machine, short enough to notice a hang.
const LIMIT: Duration = Duration::from_secs(600);

/// The optimised build of the example: as people run it, or, before a commit, the one that the stage `lint` walks, which
/// differs by its records, and by how crates of others were built.
pub fn word_index() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| if long_tier() { build(&["--package", "tricolor", "--release"]) } else { linted() })
}

/// Builds the example as `cargo lint-barriers` does.
fn linted() -> PathBuf {
    let records = ["--config", r#"build.rustflags=["--cfg=barrier_lint"]"#];
    build_in("barrier-lint", &[&["--package", "tricolor", "--profile", "lint"], &records[..]].concat())
}

/// Builds the example with more flags and returns the program.
pub fn build(flags: &[&str]) -> PathBuf {
    build_in("", flags)
}

/// Likewise, in a folder of the target folder.
fn build_in(folder: &str, flags: &[&str]) -> PathBuf {
    // The folder of this build: a `--target-dir` on the command line is inherited by no variable.
    let this = std::env::current_exe().expect("the test knows its own path");
    let target = this.ancestors().nth(3).expect("target/profile/deps/test");
    let out = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--example", "word_index", "--message-format=json"])
        .args(flags)
        .arg("--target-dir")
        .arg(target.join(folder))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace"))
        .output()
        .expect("cargo can be started");
    assert!(out.status.success(), "word_index does not build:\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "word_index")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the program that it built")
}

/// How a run ended.
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}{}", self.stdout, self.stderr))
    }

    /// Expects this exit status.
    #[track_caller]
    pub fn code(self, code: i32) -> Run {
        assert_eq!(self.status.code(), Some(code), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self
    }

    /// The line on stderr that names this path.
    #[track_caller]
    pub fn line_on(&self, path: &str) -> &str {
        let start = format!("word_index: {path}: ");
        let mut lines = self.stderr.lines().filter(|line| line.starts_with(&start));
        let line = lines.next().unwrap_or_else(|| panic!("nothing on {path} in:\n{}", self.stderr));
        assert_eq!(lines.next(), None, "once is enough");
        line
    }
}

/// A run of the program, without what the environment says of the runtime.
pub fn command() -> Command {
    from(word_index())
}

/// A run of `program`, likewise.
pub fn from(program: &Path) -> Command {
    let mut command = Command::new(program);
    for variable in ["TRICOLOR_PROCS", "TRICOLOR_GC", "TRICOLOR_DEBUG", "TRICOLOR_MEMLIMIT"] {
        command.env_remove(variable);
    }
    command
}

/// Runs it to its end, or fails when that takes too long.
pub fn run(command: &mut Command) -> Run {
    let scratch = Scratch::new("output");
    let open = |name: &str| File::create_new(scratch.path().join(name)).expect("a scratch file");
    let (mut stdout, mut stderr) = (open("stdout"), open("stderr"));
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().expect("a file"))
        .stderr(stderr.try_clone().expect("a file"))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().expect("a child");
            child.wait().expect("a child");
            panic!("{command:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a scratch file");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Run { status, stdout: text(&mut stdout), stderr: text(&mut stderr) }
}

/// A folder that goes away with this value. Everybody may look into it, which is not so below every target folder.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("word_index-{}-{number}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a scratch folder");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file below the folder, and the folders that it needs.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a scratch folder");
        fs::write(&path, content).expect("a scratch file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
