//! One run of the oracle, in a process of its own: a cell of the matrix of settings.
//!
//! A test function is a [`test`]: in the parent it starts children, which come back to the same test function, each with
//! a cell that it is to run.

use gc_core::Stress;
use std::fmt;
use std::process::{Command, Output};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Exit status of a process in which the oracle found something. Not that of a panic (101) or a fatal error (2).
pub const FOUND: i32 = 7;
/// Exit status of a process that did not come to its end in time.
pub const HUNG: i32 = 8;

/// Holds the cell for the child.
const CELL: &str = "TRICOLOR_ORACLE_CELL";

/// The settings of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub seed: u64,
    pub seconds: f64,
    pub round_ms: u64,
    pub mutators: usize,
    pub procs: usize,
    /// Objects of a region, about.
    pub objects: usize,
    /// Objects of a region that nobody changes, beside the others.
    pub ballast: usize,
    /// Whether there are large objects.
    pub large: bool,
    pub percent: u32,
    pub verify: bool,
    pub gc_every: u32,
    /// Whether the heap is the mutators' alone.
    pub alone: bool,
    /// Stress switches, as in `TRICOLOR_DEBUG`.
    pub stress: String,
    /// A planted fault, or nothing.
    pub fault: String,
}

impl Default for Cell {
    fn default() -> Self {
        Cell {
            seed: 1,
            seconds: 1.0,
            round_ms: 250,
            mutators: 2,
            procs: 2,
            objects: 5000,
            ballast: 0,
            large: true,
            percent: 100,
            verify: false,
            gc_every: 0,
            alone: true,
            stress: String::new(),
            fault: String::new(),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { seed, seconds, round_ms, mutators, procs, objects, ballast, .. } = self;
        let Cell { large, percent, verify, gc_every, alone, stress, fault, .. } = self;
        write!(
            f,
            "seed={seed} seconds={seconds} round_ms={round_ms} mutators={mutators} procs={procs} objects={objects} \
             ballast={ballast} large={large} percent={percent} verify={verify} gc_every={gc_every} \
             alone={alone}"
        )?;
        if !stress.is_empty() {
            write!(f, " stress={stress}")?;
        }
        if fault.is_empty() { Ok(()) } else { write!(f, " fault={fault}") }
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Cell, String> {
        fn put<T: FromStr>(place: &mut T, word: &str, value: &str) -> Result<(), String> {
            *place = value.parse().map_err(|_| format!("{word} is no setting of the oracle"))?;
            Ok(())
        }
        let mut cell = Cell::default();
        for word in text.split_whitespace() {
            let (name, value) = word.split_once('=').ok_or(format!("{word} is no setting of the oracle"))?;
            match name {
                "seed" => put(&mut cell.seed, word, value)?,
                "seconds" => put(&mut cell.seconds, word, value)?,
                "round_ms" => put(&mut cell.round_ms, word, value)?,
                "mutators" => put(&mut cell.mutators, word, value)?,
                "procs" => put(&mut cell.procs, word, value)?,
                "objects" => put(&mut cell.objects, word, value)?,
                "ballast" => put(&mut cell.ballast, word, value)?,
                "large" => put(&mut cell.large, word, value)?,
                "alone" => put(&mut cell.alone, word, value)?,
                "percent" => put(&mut cell.percent, word, value)?,
                "verify" => put(&mut cell.verify, word, value)?,
                "gc_every" => put(&mut cell.gc_every, word, value)?,
                "stress" => put(&mut cell.stress, word, value)?,
                "fault" => put(&mut cell.fault, word, value)?,
                _ => return Err(format!("{word} is no setting of the oracle")),
            }
        }
        Ok(cell)
    }
}

impl Cell {
    /// The switches in `stress`.
    pub fn switches(&self) -> Stress {
        let mut stress = Stress::default();
        for pair in self.stress.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            stress.set(name, value).unwrap_or_else(|allowed| panic!("{pair}: allowed is {allowed}"));
        }
        stress
    }
}

/// A test function: runs the cell that this process was started for, or starts children by `start`. One test at a time:
/// each wants the whole machine.
pub fn test(run: fn(&Cell), start: impl FnOnce()) {
    static TURN: Mutex<()> = Mutex::new(());
    match Cell::of_this_process() {
        Some(cell) => run(&cell),
        None => {
            let _turn = TURN.lock();
            start();
        }
    }
}

/// What came of a cell.
pub struct Outcome {
    pub output: Output,
    pub time: Duration,
}

impl Outcome {
    /// The line of a run that passed.
    pub fn passed(&self) -> Option<String> {
        let out = String::from_utf8_lossy(&self.output.stdout);
        let line = out.lines().find_map(|line| line.find("oracle: passed ").map(|at| line[at..].to_owned()));
        line.filter(|_| self.output.status.success())
    }

    /// Why a run failed: what it said last, or how it ended. `None` if it passed or hung.
    pub fn caught(&self) -> Option<String> {
        let status = self.output.status;
        if self.passed().is_some() || status.code() == Some(HUNG) {
            return None;
        }
        let err = String::from_utf8_lossy(&self.output.stderr);
        let said = |line: &&str| ["oracle: ", "fatal error: ", "panicked at"].iter().any(|what| line.contains(what));
        Some(err.lines().find(said).map_or(format!("{status}"), |line| format!("{line} ({status})")))
    }

    /// Everything that the process said.
    pub fn everything(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}\n{}{}", self.output.status, text(&self.output.stdout), text(&self.output.stderr))
    }
}

impl Cell {
    /// The cell that this process is to run, if it was started for one. From then on a panic on any thread ends the
    /// process, and so does a run that takes much too long.
    fn of_this_process() -> Option<Cell> {
        let text = std::env::var(CELL).ok()?;
        let cell: Cell = text.parse().unwrap_or_else(|e| panic!("{CELL}: {e}"));
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            print(info);
            std::process::exit(101);
        }));
        // A machine that is busy with other things gets its time, but not for a heap that was damaged on purpose.
        let limit = Duration::from_secs_f64(if cell.fault.is_empty() {
            cell.seconds * 3.0 + 20.0
        } else {
            cell.seconds + 10.0
        });
        std::thread::spawn(move || {
            std::thread::sleep(limit);
            eprintln!("oracle: no end after {} s", limit.as_secs());
            std::process::exit(HUNG);
        });
        Some(cell)
    }

    /// Runs the cell in a process of its own, in the test function of this name.
    pub fn run(&self, test: &str) -> Outcome {
        let began = Instant::now();
        let output = Command::new(std::env::current_exe().expect("this program has a path"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CELL, self.to_string())
            .output()
            .expect("a test program can be started");
        Outcome { output, time: began.elapsed() }
    }

    /// Runs the cell and expects it to pass. Returns the figures.
    ///
    /// # Panics
    /// If it did not, with everything that it said.
    pub fn run_well(&self, test: &str) -> Figures {
        let outcome = self.run(test);
        let line = outcome.passed().unwrap_or_else(|| panic!("oracle cell `{self}` failed: {}", outcome.everything()));
        println!("  {self}: {}", line.trim_start_matches("oracle: passed "));
        Figures::read(&line)
    }
}

/// The numbers of a run that a test looks at.
#[derive(Default, Debug)]
pub struct Figures {
    pub cycles: u64,
    pub checked: u64,
    pub reachable: u64,
    pub leftover: u64,
}

impl Figures {
    fn read(line: &str) -> Figures {
        let number = |name: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("`{line}` lacks {name}"))
        };
        Figures {
            cycles: number("cycles"),
            checked: number("checked"),
            reachable: number("reachable"),
            leftover: number("leftover"),
        }
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Figures) {
        self.cycles += other.cycles;
        self.checked += other.checked;
        self.reachable += other.reachable;
        self.leftover += other.leftover;
    }
}

/// The seed of this run: `TRICOLOR_SEED`, or a new one. A test prints it.
pub fn seed() -> u64 {
    match std::env::var("TRICOLOR_SEED") {
        Ok(text) => text.trim().parse().unwrap_or_else(|_| panic!("TRICOLOR_SEED={text}: a number is wanted")),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_nanos() as u64 % 1_000_000_000),
    }
}

/// Whether this is the long tier: `TRICOLOR_TIER` is `long`, not `commit` (the default).
pub fn long_tier() -> bool {
    match std::env::var("TRICOLOR_TIER").as_deref() {
        Ok("long") => true,
        Ok("commit") | Err(_) => false,
        Ok(other) => panic!("TRICOLOR_TIER={other}: `commit` or `long` is wanted"),
    }
}

/// The matrix: all of these share the time.
fn matrix(seed: u64, seconds: f64) -> Vec<Cell> {
    let base = Cell::default();
    let cells = [
        Cell { ..base.clone() },
        Cell { percent: 20, ballast: 50_000, ..base.clone() },
        Cell { percent: 5, ballast: 5000, verify: true, ..base.clone() },
        Cell { mutators: 1, percent: 20, verify: true, ..base.clone() },
        Cell { mutators: 4, percent: 100, large: false, ..base.clone() },
        Cell { mutators: 4, objects: 20_000, percent: 5, ..base.clone() },
        Cell { mutators: 2, objects: 300, gc_every: 7, verify: true, ..base.clone() },
        Cell { mutators: 3, objects: 1000, gc_every: 50, large: false, ..base.clone() },
        Cell { mutators: 2, objects: 60, gc_every: 1, verify: true, large: false, ..base },
    ];
    let n = cells.len();
    let each = |(i, cell): (usize, Cell)| Cell { seed: seed + i as u64, seconds: seconds / n as f64, ..cell };
    cells.into_iter().enumerate().map(each).collect()
}

/// Runs the matrix, which takes about `seconds`, in the test function of this name.
///
/// # Panics
/// If a cell fails.
pub fn run_matrix(test: &str, seconds: f64) {
    let seed = seed();
    println!("TRICOLOR_SEED={seed}");
    let mut sum = Figures::default();
    for cell in matrix(seed, seconds) {
        sum += cell.run_well(test);
    }
    println!("{sum:?}");
    assert!(sum.cycles > 100 && sum.checked > 10_000, "little was done: {sum:?}");
}
