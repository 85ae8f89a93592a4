//! A test that wants a process of its own: for its limits, its resident set, its exit status, or a planted fault.
#![allow(dead_code)] // each test uses a part

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

const VARIABLE: &str = "GC_CORE_TEST_CHILD";

/// Whether this process was started by [`run`].
pub fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Switches on the planted fault that the parent chose.
pub fn choose_fault() {
    #[cfg(feature = "faults")]
    if let Ok(name) = std::env::var(VARIABLE)
        && !name.is_empty()
    {
        gc_core::faults::choose(Some(&name)).expect("a fault of that name");
    }
}

/// What a child ran to.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub text: String,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.code == Some(0)
    }
}

/// Runs the test `name` of this program in a process of its own, with a planted fault ("": none) and with `limits`
/// on its resources.
pub fn run(name: &str, fault: &str, limits: &[(libc::__rlimit_resource_t, u64)]) -> Outcome {
    let exe = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(exe);
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(VARIABLE, fault);
    command.env("RUST_BACKTRACE", "0");
    let limits = limits.to_vec();
    // SAFETY: only a system call between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for (resource, bytes) in &limits {
                set_limit(*resource, *bytes)?;
            }
            Ok(())
        });
    }
    let Output { status, stdout, stderr } = command.output().expect("starting a child");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    Outcome { code: status.code(), text }
}

/// Limits a resource of this process.
pub fn set_limit(resource: libc::__rlimit_resource_t, bytes: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: reads the struct.
    match unsafe { libc::setrlimit(resource, &raw const limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A figure of /proc/self/status in bytes, such as `VmRSS`.
pub fn status(name: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':')).expect("a line of that name");
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).expect("a number") << 10
}

/// Asserts that the test passes in a process of its own, and that it notices each of the planted faults.
pub fn passes_and_notices(name: &str, faults: &[&str]) {
    let good = run(name, "", &[]);
    eprintln!("{}", good.text);
    assert!(good.passed(), "{good:#?}");
    if cfg!(feature = "faults") {
        for fault in faults {
            let bad = run(name, fault, &[]);
            assert!(!bad.passed(), "{name} does not notice {fault}: {}", bad.text);
        }
    }
}
