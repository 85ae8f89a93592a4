//! What a run is to do, drawn from its seed: the same options with the same seed are the same plan.
//!
//! A run is a sequence of *legs*, each in a process of its own with settings of its own: number of Ps, growth of the heap,
//! storm of signals, stress switches. A leg is a sequence of *phases*, in each of which other workers meet. Leg `k` of a
//! run has the seed `seed + k`, and is what a run of its own with that seed begins with.

use super::kind::Kind;
use crate::oracle::cell::Cell;
use crate::oracle::rng::Rng;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The longest leg, in seconds.
pub const LEG: f64 = 10.0;
/// How long nothing may move if nobody says otherwise, in seconds.
pub const PATIENCE: f64 = 12.0;
/// Workers of a phase if nobody says otherwise.
pub const GOROUTINES: usize = 24;
/// Bytes that they keep alive if nobody says otherwise.
pub const HEAP: u64 = 16 << 20;
/// About how long a phase is.
const PHASE: f64 = 1.25;

/// What is put under stress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Stops of the world.
    Stw,
    /// The heap.
    Heap,
    /// Preemption and suspension.
    Preempt,
    /// Blocking calls.
    Syscall,
    /// All of it.
    Soak,
}

impl Mode {
    /// The subcommand's name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Stw => "stw",
            Mode::Heap => "heap",
            Mode::Preempt => "preempt",
            Mode::Syscall => "syscall",
            Mode::Soak => "soak",
        }
    }
}

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    pub mode: Mode,
    pub seed: u64,
    pub seconds: f64,
    /// `None`: each leg draws its own.
    pub procs: Option<usize>,
    /// Workers of a phase; some have partners.
    pub goroutines: usize,
    /// Bytes that workers keep alive, about.
    pub heap: u64,
    /// A planted fault.
    pub fault: Option<String>,
    /// A worker more, which does wrong on purpose.
    pub plant: Option<Kind>,
    /// `TRICOLOR_DEBUG`.
    pub debug: Option<String>,
    /// How long nothing may move, in seconds.
    pub patience: f64,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leg {
    pub wanted: Wanted,
    pub procs: usize,
    /// As `TRICOLOR_GC`.
    pub percent: u32,
    /// Bytes that workers keep alive: what was wanted, or less, for cycles that follow each other quickly.
    pub live: u64,
    /// Microseconds from one signal without reason to the next; 0: none.
    pub storm: u64,
    /// Stress switches, as in `TRICOLOR_DEBUG`.
    pub stress: String,
    /// The collector's own verifier.
    pub verify: bool,
    /// The oracle's settings ([`Cell`]).
    pub oracle: String,
    pub phases: Vec<Phase>,
}

/// Who works at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub seconds: f64,
    /// Few workers, none of which waits long for a timer: if all threads sleep for long, somebody was not woken.
    pub quiet: bool,
    /// Signals come from elsewhere.
    pub signals: bool,
    pub crew: Vec<(Kind, usize)>,
}

/// Who asks for stops and the like.
const REQUESTERS: &[(Kind, usize)] =
    &[(Kind::Stopper, 2), (Kind::EachP, 1), (Kind::Collect, 1), (Kind::Procs, 1), (Kind::Hiccup, 1)];
/// Who is stopped.
const TRAFFIC: &[Kind] = &[
    Kind::Loop,
    Kind::Alloc,
    Kind::Arrays,
    Kind::Channel,
    Kind::PingPong,
    Kind::Crowd,
    Kind::Select,
    Kind::Locks,
    Kind::Block,
    Kind::Pipe,
    Kind::Threads,
    Kind::Locked,
    Kind::Net,
    Kind::Timer,
    Kind::Churn,
    Kind::Afterlife,
    Kind::Registers,
    Kind::Moves,
    Kind::Limits,
    Kind::Deadlines,
    Kind::Readers,
    Kind::Silence,
    Kind::Brood,
    Kind::Leaks,
];
/// What goes into the kernel and comes back.
const BLOCKING: &[Kind] = &[Kind::Block, Kind::Pipe, Kind::Threads, Kind::Locked, Kind::Loop, Kind::Alloc];
/// Who waits for others, and for the clock only shortly.
const WAITING: &[Kind] = &[
    Kind::PingPong,
    Kind::Channel,
    Kind::Crowd,
    Kind::Select,
    Kind::Locks,
    Kind::Net,
    Kind::Pipe,
    Kind::Limits,
    Kind::Deadlines,
    Kind::Readers,
    Kind::Silence,
    Kind::Once,
    Kind::Churn,
];

/// Who works alone in a leg's first phase, before anybody has waited for a file and while there are few threads. A row is for
/// every leg whose seed leaves its number; not as many as `stress` has, so that each meets each.
const FIRST: [[(Kind, usize); 1]; 5] =
    [[(Kind::Naps, 1)], [(Kind::Fair, 1)], [(Kind::Silence, 1)], [(Kind::Locked, 1)], [(Kind::Naps, 1)]];
/// Who works alone later, two one after the other in the time of a phase. Where nobody else does anything who is not woken
/// stays asleep, and marking is short: a worker comes to its beginning and its end all the time.
const ALONE: [[[(Kind, usize); 2]; 2]; 5] = [
    [[(Kind::Fair, 1), (Kind::Moves, 2)], [(Kind::Brood, 4), (Kind::Arrays, 1)]],
    [[(Kind::Limits, 1), (Kind::Silence, 1)], [(Kind::Afterlife, 1), (Kind::Select, 1)]],
    [[(Kind::Fair, 1), (Kind::Readers, 1)], [(Kind::Moves, 2), (Kind::Silence, 1)]],
    [[(Kind::Limits, 1), (Kind::Deadlines, 1)], [(Kind::Fair, 1), (Kind::Brood, 4)]],
    [[(Kind::Silence, 1), (Kind::Brood, 4)], [(Kind::Once, 1), (Kind::Moves, 2)]],
];

impl Wanted {
    /// Leg `k`.
    pub fn leg(&self, k: u64) -> Leg {
        let begun = k as f64 * LEG;
        let wanted =
            Wanted { seed: self.seed.wrapping_add(k), seconds: (self.seconds - begun).min(LEG), ..self.clone() };
        Leg::draw(wanted)
    }

    /// How many legs there are.
    pub fn legs(&self) -> u64 {
        (self.seconds / LEG).ceil().max(1.0) as u64
    }
}

impl Leg {
    fn draw(wanted: Wanted) -> Leg {
        // What the user may fix has a stream of its own, so that fixing it changes nothing else.
        let drawn = [2, 4, 4, 16][Rng::new(wanted.seed ^ 0x5a5a).below(4)];
        let procs = wanted.procs.unwrap_or(drawn);
        let mut rng = Rng::new(wanted.seed);
        let mode = wanted.mode;
        let percent = [10, 30, 100][rng.below(3)];
        let storm = match mode {
            Mode::Preempt => 20,
            Mode::Heap => [0, 100][rng.below(2)],
            _ => [0, 0, 200, 50][rng.below(4)],
        };
        // Legs that follow each other differ in these.
        let stress = match wanted.seed % 6 {
            _ if mode == Mode::Preempt => "poison=1",
            0 => "poison=1,delay=before-stack-scan:500",
            1 => "poison=1,smallbuf=1,delay=before-drop:300",
            2 => "poison=1,delay=phase-flips:200,delay=ragged-barrier-to-stop:500",
            3 => "poison=1,delay=between-flag-check-and-store:50,delay=after-mark-before-enqueue:50",
            4 => "poison=1,delay=before-stack-scan:200,delay=sweep-to-publish:50",
            _ => "poison=1",
        };
        let verify = wanted.seed.wrapping_add(wanted.seed / 6).is_multiple_of(2) && mode != Mode::Preempt;
        let live = wanted.heap >> [0, 2, 4][rng.below(3)];
        let objects = (live / 128).clamp(1000, 400_000) as usize;
        let oracle = Cell {
            seed: wanted.seed,
            mutators: [2, 2, 3, 4][rng.below(4)],
            objects: (objects / 8).clamp(300, 5000),
            ballast: if rng.one_in(2) { objects / 4 } else { 0 },
            large: rng.one_in(2),
            round_ms: 200,
            alone: mode == Mode::Heap && storm == 0,
            ..Cell::default()
        };
        let mut lengths = Vec::new();
        let mut left = wanted.seconds;
        while left > 0.05 {
            // Not a rest that is no phase.
            lengths.push(if left < PHASE * 1.5 { left } else { PHASE });
            left -= lengths[lengths.len() - 1];
        }
        let alone = alone(&wanted, lengths.len(), &mut rng);
        let mut phases = Vec::new();
        for (seconds, crews) in lengths.into_iter().zip(alone) {
            if crews.is_empty() {
                phases.push(together(&wanted, seconds, phases.is_empty(), &mut rng));
            }
            for crew in crews {
                let (name, seconds) = (crew.0.name().to_owned(), seconds / crews.len() as f64);
                phases.push(Phase { name, seconds, quiet: true, signals: false, crew: vec![*crew] });
            }
        }
        Leg { wanted, procs, percent, live, storm, stress: stress.into(), verify, oracle: oracle.to_string(), phases }
    }

    /// The command that runs this leg, and nothing else.
    pub fn repeat(&self) -> String {
        let Wanted { mode, seed, seconds, goroutines, heap, fault, plant, debug, patience, .. } = &self.wanted;
        let plant = plant.map(|kind| kind.name().to_owned());
        let option =
            |name: &str, value: &Option<String>| value.as_ref().map_or(String::new(), |v| format!(" --{name} {v}"));
        format!(
            "cargo stress {} --seed {seed} --seconds {seconds} --procs {} --goroutines {goroutines} --heap {heap}{}{}{}{}",
            mode.name(),
            self.procs,
            option("break", fault),
            option("plant", &plant),
            option("debug", debug),
            if *patience == PATIENCE { String::new() } else { format!(" --patience {patience}") }
        )
    }
}

/// Who works alone in which of `n` stretches of a leg, one after the other; where there is nobody, several work together. Legs
/// that follow each other take turns, so that each comes along within as many legs as there are rows.
fn alone(wanted: &Wanted, n: usize, rng: &mut Rng) -> Vec<&'static [(Kind, usize)]> {
    let mut all: Vec<&[_]> = vec![&[]; n];
    if wanted.plant.is_some() || n < 4 || matches!(wanted.mode, Mode::Heap | Mode::Preempt) {
        return all;
    }
    let row = (wanted.seed % FIRST.len() as u64) as usize;
    all[0] = &FIRST[row];
    let mut places: Vec<usize> = (1..n).collect();
    for two in &ALONE[row] {
        all[places.swap_remove(rng.below(places.len()))] = two;
    }
    all
}

/// A phase in which several kinds work together. The first one is never quiet: it may be the only one.
fn together(wanted: &Wanted, seconds: f64, first: bool, rng: &mut Rng) -> Phase {
    let mode = match wanted.mode {
        Mode::Soak => [Mode::Stw, Mode::Stw, Mode::Heap, Mode::Preempt, Mode::Syscall][rng.below(5)],
        mode => mode,
    };
    let quiet = matches!(mode, Mode::Stw | Mode::Syscall) && rng.one_in(8) && !first;
    let mut name = mode.name().to_owned();
    let mut crew: Vec<(Kind, usize)> = Vec::new();
    if quiet {
        (0..1 + rng.below(3)).for_each(|_| add(&mut crew, WAITING[rng.below(WAITING.len())], 1));
        name += ", quiet";
        return Phase { name, seconds, quiet, signals: false, crew };
    }
    let traffic: &[Kind] = match mode {
        Mode::Stw | Mode::Soak => {
            REQUESTERS.iter().for_each(|(kind, n)| add(&mut crew, *kind, *n));
            TRAFFIC
        }
        Mode::Syscall => {
            [Kind::Stopper, Kind::EachP, Kind::Collect, Kind::Block]
                .into_iter()
                .for_each(|kind| add(&mut crew, kind, 1));
            BLOCKING
        }
        Mode::Preempt => {
            [Kind::Stopper, Kind::Collect, Kind::Hiccup].into_iter().for_each(|kind| add(&mut crew, kind, 1));
            &[Kind::Kernel, Kind::Registers]
        }
        Mode::Heap => {
            add(&mut crew, Kind::Oracle, 1);
            &[]
        }
    };
    if wanted.mode == Mode::Soak && mode != Mode::Heap && rng.one_in(3) {
        name += ", oracle";
        add(&mut crew, Kind::Oracle, 1);
    }
    if wanted.mode == Mode::Soak && mode == Mode::Heap {
        [Kind::Stopper, Kind::Afterlife, Kind::Arrays].into_iter().for_each(|kind| add(&mut crew, kind, 1));
        add(&mut crew, Kind::Moves, 2);
    }
    // A part of the kinds at a time, so that their mixture changes; each kind that is there at least once.
    let mut here: Vec<Kind> = traffic.iter().copied().filter(|kind| *kind == Kind::Kernel || !rng.one_in(3)).collect();
    wanted.plant.into_iter().for_each(|kind| add(&mut crew, kind, 1));
    (1..here.len()).for_each(|i| here.swap(i, rng.below(i + 1)));
    let fixed: usize = crew.iter().map(|(_, n)| n).sum();
    let rest = wanted.goroutines.saturating_sub(fixed).max(1);
    for i in 0..if here.is_empty() { 0 } else { rest } {
        let kind = if i < here.len() { here[i] } else { here[rng.below(here.len())] };
        // Those that never wait take whole time slices.
        let hot = matches!(kind, Kind::Loop) && crew.iter().any(|(k, n)| *k == kind && *n >= 4);
        add(&mut crew, if hot { Kind::Channel } else { kind }, 1);
    }
    Phase { name, seconds, quiet, signals: mode != Mode::Heap, crew }
}

fn add(crew: &mut Vec<(Kind, usize)>, kind: Kind, n: usize) {
    match crew.iter_mut().find(|(k, _)| *k == kind) {
        Some((_, all)) => *all += n,
        None => crew.push((kind, n)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(seed: u64) -> Wanted {
        Wanted {
            mode: Mode::Soak,
            seed,
            seconds: 25.0,
            procs: None,
            goroutines: 20,
            heap: 1 << 25,
            fault: None,
            plant: None,
            debug: None,
            patience: 20.0,
        }
    }

    #[test]
    fn a_leg_is_what_a_run_with_its_seed_begins_with() {
        for seed in 0..50 {
            let whole = wanted(seed);
            assert_eq!(whole.legs(), 3);
            for k in 0..3 {
                let leg = whole.leg(k);
                let alone = Wanted { procs: Some(leg.procs), ..leg.wanted.clone() }.leg(0);
                assert_eq!(Leg { wanted: leg.wanted.clone(), ..alone }, leg);
            }
        }
    }

    #[test]
    fn a_run_of_one_phase_is_not_quiet() {
        for (seed, mode) in (0..100).flat_map(|seed| [Mode::Soak, Mode::Stw, Mode::Syscall].map(|mode| (seed, mode))) {
            let phases = Wanted { seconds: 1.5, mode, ..wanted(seed) }.leg(0).phases;
            assert!(phases.len() == 1 && !phases[0].quiet, "{phases:?}");
        }
    }

    #[test]
    fn who_works_alone_comes_along_in_a_minute() {
        for seed in 0..50 {
            let whole = Wanted { seconds: 60.0, ..wanted(seed) };
            let phases: Vec<Phase> = (0..whole.legs()).flat_map(|k| whole.leg(k).phases).collect();
            let alone = |one: (Kind, usize)| phases.iter().any(|p| p.quiet && p.crew == [one]);
            let all = FIRST.into_iter().flatten().chain(ALONE.into_iter().flatten().flatten());
            assert!({ all }.all(alone), "{seed}: {phases:#?}");
            let together: f64 = phases.iter().filter(|p| p.crew.len() > 3).map(|p| p.seconds).sum();
            assert!(together > 20.0, "{seed}: {together}");
        }
    }

    #[test]
    fn phases_fill_the_time_and_have_somebody_in_them() {
        for seed in 0..200 {
            let leg = wanted(seed).leg(0);
            let seconds: f64 = leg.phases.iter().map(|p| p.seconds).sum();
            assert!((seconds - LEG).abs() < 1e-6, "{seed}: {seconds}");
            for phase in &leg.phases {
                assert!(!phase.crew.is_empty() && phase.crew.iter().all(|(_, n)| *n > 0), "{phase:?}");
            }
        }
    }
}
