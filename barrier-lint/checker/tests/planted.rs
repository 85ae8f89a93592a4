//! Barriers planted into functions of the runtime that must not have any: the build breaks, or else the check.
//!
//! Works on a copy of the sources, of which a few files are changed. Long tier: each plant is a build of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a plant needs, in a crate below the runtime.
const OTHER_CRATE: &str = r#"
#[cfg(not(modelled))]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod planted {
    pub static CELL: crate::RootCell<u64> = crate::RootCell::new();
    #[inline(never)]
    pub fn helper() {
        CELL.set(None);
    }
    pub const HELPER: fn() = helper;
    pub struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            helper();
        }
    }
    pub trait Stores {
        fn store(&self);
    }
    impl Stores for i32 {
        fn store(&self) {
            helper();
        }
    }
}
"#;

/// Where barriers are planted.
struct Place {
    file: &'static str,
    function: &'static str,
    /// Its name in the linked program.
    root: &'static str,
    /// The crate of [`OTHER_CRATE`], as this file names it.
    other_crate: &'static str,
}

const PLACES: [Place; 5] = [
    Place {
        file: "runtime/src/proc/newm.rs",
        function: "startm",
        root: "tricolor::proc::newm::startm",
        other_crate: "gc_core",
    },
    Place {
        file: "runtime/src/syscall.rs",
        function: "exitsyscall",
        root: "tricolor::syscall::exitsyscall",
        other_crate: "gc_core",
    },
    Place {
        file: "gc-core/src/mark/grey.rs",
        function: "greyobject",
        root: "gc_core::mark::grey::<impl gc_core::heap::Heap>::greyobject",
        other_crate: "crate",
    },
    // Called by assembly alone.
    Place {
        file: "runtime/src/preempt.rs",
        function: "async_preempt2",
        root: "tricolor::preempt::async_preempt2",
        other_crate: "gc_core",
    },
    // All that the signal handler does on a thread of the runtime; the kernel alone calls the handler.
    Place {
        file: "runtime/src/suspend.rs",
        function: "interrupted",
        root: "tricolor::signal::handler",
        other_crate: "gc_core",
    },
];

/// A violation; `$` stands for the other crate.
struct Plant {
    name: &'static str,
    /// As somebody would write it who has not read the rules.
    plain: &'static str,
    /// What stops the build: the ordinary one, or that of the twins.
    error: &'static str,
    by_twin: bool,
    /// As somebody would write it who lies to the attributes: in the body, and beside the function.
    hidden: &'static str,
    lie: &'static str,
    /// What the check says of the function then.
    verdict: &'static str,
}

const PLANTS: [Plant; 5] = [
    Plant {
        name: "direct",
        plain: "$::planted::CELL.set(None);",
        error: "this method may execute a write barrier",
        by_twin: false,
        hidden: "planted();",
        lie: r#"barrier_lint::certify! { fn planted: "not true"; }
#[inline(always)]
fn planted() { $::planted::CELL.set(None); }"#,
        verdict: "BAD",
    },
    Plant {
        name: "helper in another crate",
        plain: "$::planted::helper();",
        error: "expected type, found function `$::planted::helper`",
        by_twin: false,
        hidden: "planted();",
        lie: r#"barrier_lint::certify! { use $::planted::helper as planted: "not true"; }"#,
        verdict: "BAD",
    },
    Plant {
        name: "drop",
        plain: "let _guard = $::planted::Guard;",
        error: "planted::Guard` cannot be evaluated at compile-time",
        by_twin: true,
        hidden: "let _guard = $::planted::Guard;",
        lie: "",
        verdict: "BAD",
    },
    Plant {
        name: "trait object",
        plain: "let stores: &dyn $::planted::Stores = &7; stores.store();",
        error: "no method named `nowritebarrierrec__store` found for reference `&&dyn",
        by_twin: false,
        hidden: "planted(core::hint::black_box(&7));",
        lie: r#"barrier_lint::certify! { fn planted: "not true"; }
fn planted(stores: &dyn $::planted::Stores) { stores.store(); }"#,
        verdict: "UNKNOWN",
    },
    Plant {
        name: "function pointer",
        plain: "let store: fn() = $::planted::helper; store();",
        error: "`store` is a local binding",
        by_twin: false,
        hidden: "planted($::planted::HELPER);",
        lie: r#"barrier_lint::certify! { fn planted: "not true"; }
#[inline(never)]
fn planted(store: fn()) { store(); }"#,
        verdict: "BAD",
    },
];

/// A frame that is larger than any budget.
const LARGE: &str = "let large: core::mem::MaybeUninit<[u8; 4000]> = core::mem::MaybeUninit::uninit();
    core::hint::black_box(&large);";

/// A copy of the workspace's sources.
struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn new(name: &str) -> Copy {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // Not this build's target folder: to cargo both workspaces are the same, and only the age of files would tell
        // it whose `gc-core` was built last.
        let copy = Copy { root: folder.join("sources"), target: folder.join("target") };
        fs::create_dir_all(&copy.root).expect("a folder");
        for part in ["Cargo.toml", "Cargo.lock", ".cargo", "rust-toolchain.toml", "barrier-lint", "gc-core", "runtime"]
        {
            update(&original(part), &copy.root.join(part));
        }
        // Members of the workspace, which nothing here builds.
        for part in ["tests", "benches"] {
            update(&original(part), &copy.root.join(part));
        }
        let library = fs::read_to_string(original("gc-core/src/lib.rs")).expect("a source");
        copy.write("gc-core/src/lib.rs", &(library + OTHER_CRATE));
        copy
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root.join(file);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return; // its age counts
        }
        fs::write(path, text).expect("a source is written");
    }

    fn plant(&self, place: &Place, code: &str, beside: &str) {
        let text = fs::read_to_string(original(place.file)).expect("a source");
        let head = text.find(&format!("fn {}(", place.function)).expect("the function");
        let (before, after) = text.split_at(head + text[head..].find("{\n").expect("its body") + 2);
        let planted = format!("{before}{code}\n{after}\n{beside}\n");
        self.write(place.file, &planted.replace('$', place.other_crate));
    }

    /// The source as it is.
    fn restore(&self, place: &Place) {
        self.write(place.file, &fs::read_to_string(original(place.file)).expect("a source"));
    }

    /// Whether the copy builds, and what the compiler says.
    fn check(&self, twins: bool) -> (bool, String) {
        let mut cargo = self.command(env!("CARGO"), &["check", "--package", "tricolor"]);
        if twins {
            cargo.env("RUSTC_WORKSPACE_WRAPPER", original("barrier-lint/tests/with_twins.sh"));
        }
        let (built, _, says) = outcome(cargo);
        (built, says)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> (bool, String, String) {
        outcome(self.command(program, arguments))
    }

    /// A command in the copy.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command.env("CARGO_TERM_COLOR", "never");
        // What `cargo test` says about this test is not about the copy.
        for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
            command.env_remove(name);
        }
        command
    }
}

/// Status, output and error output of a command.
fn outcome(mut command: Command) -> (bool, String, String) {
    let output = command.output().expect("it starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn original(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(part)
}

/// Copies what differs.
fn update(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder").flatten().filter(|e| e.file_name() != "target") {
            update(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        let new = fs::read(from).expect("a file");
        if fs::read(to).ok().as_ref() != Some(&new) {
            fs::write(to, new).expect("a file is written");
        }
    }
}

fn is_long_tier() -> bool {
    std::env::var("TRICOLOR_TIER").is_ok_and(|tier| tier == "long")
}

#[test]
fn a_planted_barrier_breaks_the_build() {
    if !is_long_tier() {
        return;
    }
    let copy = Copy::new("planted-plain");
    for place in &PLACES {
        for plant in &PLANTS {
            copy.plant(place, plant.plain, "");
            let (built, says) = copy.check(plant.by_twin);
            let what = format!("{} in {}: {says}", plant.name, place.function);
            assert!(!built && says.contains(&plant.error.replace('$', place.other_crate)), "{what}");
            assert!(says.contains(&format!("--> {}", place.file)), "{what}");
        }
        copy.restore(place);
    }
    for twins in [false, true] {
        let (built, says) = copy.check(twins);
        assert!(built, "without a plant: {says}");
    }
}

#[test]
fn a_barrier_that_the_attributes_do_not_see_is_found_in_the_program() {
    if !is_long_tier() {
        return;
    }
    let copy = Copy::new("planted-hidden");
    for plant in &PLANTS {
        for place in &PLACES {
            copy.plant(place, plant.hidden, plant.lie);
        }
        let check = ["barrier-lint", "--package", "tricolor", "--example", "word_index"];
        let (clean, report, says) = copy.run(env!("CARGO_BIN_EXE_cargo-barrier-lint"), &check);
        assert!(!clean, "{}: {report}", plant.name);
        for place in &PLACES {
            let verdict = format!("{} {}\n", plant.verdict, place.root);
            let Some((_, chain)) = report.split_once(&verdict) else {
                panic!("{}: no `{}`: {report}{says}", plant.name, verdict.trim());
            };
            let chain: String = chain.lines().take_while(|l| l.starts_with(' ')).flat_map(|l| [l, "\n"]).collect();
            println!("{}:\n{verdict}{chain}", plant.name);
            assert!(chain.contains(place.file) && chain.contains("planted"), "{}: {chain}", plant.name);
        }
    }
}

#[test]
fn a_planted_frame_breaks_the_budget_of_async_preempt2() {
    if !is_long_tier() {
        return;
    }
    let copy = Copy::new("planted-frame");
    let place = PLACES.iter().find(|place| place.function == "async_preempt2").expect("a row of the table");
    let check = || {
        let stack = ["barrier-lint", "--package", "tricolor", "--example", "word_index", "--stack"];
        copy.run(env!("CARGO_BIN_EXE_cargo-barrier-lint"), &stack)
    };
    copy.restore(place);
    let (kept, report, says) = check();
    assert!(kept && report.contains(&format!("OK {}: ", place.root)), "{report}{says}");
    copy.plant(place, LARGE, "");
    let (kept, report, says) = check();
    assert!(!kept && report.contains(&format!("BAD {}: 4", place.root)), "{report}{says}");
    println!("{report}");
}
