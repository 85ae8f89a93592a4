//! The watcher: starts the process that runs a leg, follows it, and judges.
//!
//! It shares nothing with the runtime but the page, so its verdict does not depend on what is under suspicion:
//!
//! | what it sees | verdict |
//! |---|---|
//! | exit status 0, and the last line on its output | clean |
//! | another status, or a signal | what the process said last: a wrong answer, the oracle's word, a fatal error |
//! | a worker's count has not moved for [`patience`], or a phase does not end | a hang |
//! | in a quiet phase: for two seconds all threads of the runtime sleep, and no count moves | a lost wake-up |
//!
//! A process that hangs is asked (SIGQUIT) to print every goroutine, thread and P; what the kernel knows of its threads is
//! added, in case it cannot; then it is killed. Patience is counted in looks, not by the clock: when this process is not
//! let run, nor is the other one. And a look at a process that wants to run and gets less than half a processor counts
//! only for the part that it gets ([`share`]).

use super::crash;
use super::outside;
use super::page::{Count, Mapped, Page, WORKS};
use super::plan::Leg;
use super::samples::{Line, Sample, Snapshot};
use serde::Serialize;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(100);
/// Looks at a worker that stands still after which it is looked whether the process is let run at all.
const SUSPECT: f64 = 10.0;
/// Looks at which everybody sleeps.
const ASLEEP: u32 = 20;
/// How long a process may take to print where everybody is.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// Bytes of what a process has said that are kept, from its beginning and from its end.
const KEPT: usize = 512 << 10;

/// What broke.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Which check has found it: `oracle`, `hang`, `lost wake-up`, the kind of a worker, `fatal error`, a signal's name.
    pub check: String,
    /// In a line.
    pub what: String,
    /// Number and name.
    pub phase: String,
    pub seed: u64,
    /// Seconds after the leg began.
    pub after: f64,
    /// The command that does it again.
    pub repeat: String,
    /// Everything that the process has printed, and what is known of its threads.
    pub output: String,
}

/// What became of a leg.
pub struct Ended {
    pub failure: Option<Failure>,
    /// The process refused its settings: nothing has run. What it said.
    pub refused: Option<String>,
    pub samples: Vec<Sample>,
    pub last: Option<Snapshot>,
    pub seconds: f64,
}

/// How long a worker may stand still: longer where there are many.
pub fn patience(leg: &Leg) -> Duration {
    Duration::from_secs_f64(leg.wanted.patience + leg.wanted.goroutines as f64 * 0.04)
}

/// Runs a leg. `look` is called several times a second.
///
/// # Errors
/// If there is no process, or no memory for the page.
pub fn run(leg: &Leg, look: &mut dyn FnMut(&Page)) -> io::Result<Ended> {
    let page = Mapped::new()?;
    let began = Instant::now();
    let debug = [leg.wanted.debug.as_deref(), Some("trace=1")].into_iter().flatten().collect::<Vec<_>>().join(",");
    let mut command = Command::new(std::env::current_exe()?);
    let heed = || {
        // SAFETY: a system call, which is allowed between `fork` and `exec`.
        unsafe { libc::signal(libc::SIGQUIT, libc::SIG_DFL) };
        Ok(())
    };
    // What a script starts in the background ignores SIGQUIT, and so would this process, which may have to answer it.
    // SAFETY: as `heed` says.
    unsafe { command.pre_exec(heed) };
    let mut child = command
        .args(["child", "--page", &page.fd().to_string(), "--leg"])
        .arg(serde_json::to_string(leg)?)
        .env("TRICOLOR_DEBUG", debug)
        .env_remove("TRICOLOR_PROCS")
        .env_remove("TRICOLOR_GC")
        .env_remove("TRICOLOR_MEMLIMIT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let lines = follow(child.stdout.take());
    let said = Said::of(child.stderr.take());
    let mut watch = Watch::new(leg, &page);
    let stuck = attend(&lines, |event| match event {
        Event::Said(line) => {
            watch.take(line);
            None
        }
        Event::Look => {
            look(&page);
            watch.look(child.id())
        }
    });
    let mut known = String::new();
    if stuck.is_some() {
        known = threads_text(child.id());
        // SAFETY: a signal to a process of ours, which has not been waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGQUIT) };
    }
    let status = end(&mut child, &mut known)?;
    lines.iter().for_each(|line| watch.take(line));
    // What was counted to the end, whatever that was.
    let counted = Count::ALL.iter().map(|(name, count)| ((*name).to_owned(), page.counted(*count)));
    watch.take(Line::Snapshot(Snapshot { numbers: counted.filter(|(_, n)| *n > 0).collect(), ..Snapshot::default() }));
    let output = said.all();
    let seconds = began.elapsed().as_secs_f64();
    // A dump ends with the same status.
    let said = |what| output.contains(what);
    let refused = stuck.is_none()
        && status.code() == Some(2)
        && page.phases.load(Relaxed) == 0
        && !said("fatal error:")
        && !said("stress: SIG");
    let failure = if refused { None } else { watch.judge(stuck, status, &output, &known, seconds) };
    Ok(Ended { failure, refused: refused.then_some(output), samples: watch.samples, last: watch.last, seconds })
}

/// The lines of a process's output, as they come.
fn follow(out: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Line> {
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        for line in out.map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
            // What else a process writes there (a test's allocator, say) is none of ours.
            if let Ok(line) = serde_json::from_str(&line)
                && tx.send(line).is_err()
            {
                break;
            }
        }
    });
    rx
}

/// What there is to do about a process that runs.
enum Event {
    Said(Line),
    /// It is time to look.
    Look,
}

/// Calls `event` until it has a result, or there are no more lines: with each, and from time to time, however many come.
fn attend<T>(lines: &mpsc::Receiver<Line>, mut event: impl FnMut(Event) -> Option<T>) -> Option<T> {
    let mut next = Instant::now() + LOOK;
    loop {
        let happened = match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) => Event::Said(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                // Not at fixed times: those that this process has slept through are not made up for.
                next = Instant::now() + LOOK;
                Event::Look
            }
        };
        if let Some(result) = event(happened) {
            return Some(result);
        }
    }
}

/// What a process says on standard error.
struct Said {
    text: Arc<Mutex<(Vec<u8>, Vec<u8>)>>,
    reader: thread::JoinHandle<()>,
}

impl Said {
    fn of(err: Option<impl Read + Send + 'static>) -> Said {
        let text: Arc<Mutex<(Vec<u8>, Vec<u8>)>> = Arc::default();
        let to = text.clone();
        let reader = thread::spawn(move || {
            let (Some(mut err), mut buf) = (err, [0; 16 << 10]) else { return };
            while let Ok(n @ 1..) = err.read(&mut buf) {
                let Ok(mut text) = to.lock() else { return };
                let room = KEPT.saturating_sub(text.0.len()).min(n);
                text.0.extend_from_slice(&buf[..room]);
                text.1.extend_from_slice(&buf[room..n]);
                let extra = text.1.len().saturating_sub(KEPT);
                text.1.drain(..extra);
            }
        });
        Said { text, reader }
    }

    /// Everything; its writer has ended.
    fn all(self) -> String {
        let _ = self.reader.join();
        let text = self.text.lock().map(|text| [&text.0[..], &text.1].concat()).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Waits for the end of a process that has closed its output, or was asked to; kills it if that lasts.
fn end(child: &mut Child, known: &mut String) -> io::Result<ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() > LAST_WORDS {
            *known += "(it has not ended by itself, and was killed)\n";
            child.kill()?;
            return child.wait();
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A thread, as the kernel tells it: number, state, processor time in ticks, where in the kernel it waits.
struct Thread {
    /// It is none of the runtime's.
    outside: bool,
    tid: u32,
    state: char,
    ticks: u64,
    wchan: String,
}

fn threads(process: u32) -> Vec<Thread> {
    let entries = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let one = |entry: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let (name, rest) = stat.split_at(stat.rfind(')')?);
        let fields: Vec<&str> = rest[1..].split_whitespace().collect();
        let number = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok());
        let wchan = std::fs::read_to_string(entry.path().join("wchan")).unwrap_or_default();
        Some(Thread {
            outside: name.ends_with(outside::NAME),
            tid: entry.file_name().to_str()?.parse().ok()?,
            state: fields.first()?.chars().next()?,
            ticks: number(11)? + number(12)?,
            wchan,
        })
    };
    entries.filter_map(one).collect()
}

/// Processor time of a process, of its ended threads too, in ticks.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.get(11..13).map_or(0, |times| times.iter().filter_map(|t| t.parse::<u64>().ok()).sum())
}

/// How much a look counts at a process that got `ticks` since the one before: all of it if nobody there wants to run, or if it
/// got half a processor at least (a tick is 10 ms).
fn share(wants: bool, ticks: u64) -> f64 {
    let half = LOOK.as_millis() as f64 / 20.0;
    if wants { (ticks as f64 / half).min(1.0) } else { 1.0 }
}

fn threads_text(process: u32) -> String {
    let mut text = format!("threads of process {process}, as the kernel knows them:\n");
    for t in threads(process) {
        text += &format!(
            "\tthread {}: state {}, {} ticks of processor time, waits in {:?}\n",
            t.tid, t.state, t.ticks, t.wchan
        );
    }
    text
}

struct Watch<'a> {
    leg: &'a Leg,
    page: &'a Page,
    samples: Vec<Sample>,
    last: Option<Snapshot>,
    clean: bool,
    /// Of each slot: its count when it last moved, and looks since then, as far as they count.
    moved: Vec<(u64, f64)>,
    /// Processor time at the last look that asked for it.
    used: Option<u64>,
    /// Looks since the phase should have ended, as far as they did not count.
    denied: f64,
    /// Looks since all fell asleep, and who had moved how far and used how much then.
    asleep: u32,
}

/// What stands still.
struct Stuck {
    check: &'static str,
    what: String,
}

impl<'a> Watch<'a> {
    fn new(leg: &'a Leg, page: &'a Page) -> Watch<'a> {
        let (samples, moved) = (Vec::new(), Vec::new());
        Watch { leg, page, samples, last: None, clean: false, moved, used: None, denied: 0.0, asleep: 0 }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Sample(sample) => self.samples.push(sample),
            Line::Snapshot(snapshot) => self.last.get_or_insert_default().update(snapshot),
            Line::Clean => self.clean = true,
        }
    }

    /// How much this look counts.
    fn share(&mut self, process: u32) -> f64 {
        let now = ticks(process);
        let got = self.used.replace(now).map(|before| now.saturating_sub(before));
        let wants = || threads(process).iter().any(|t| !t.outside && t.state == 'R');
        // The first one knows nothing yet.
        got.map_or(1.0, |got| share(wants(), got))
    }

    fn phase(&self) -> Option<(usize, &'a super::plan::Phase)> {
        let n = (self.page.phases.load(Relaxed) as usize).checked_sub(1)?;
        Some((n, self.leg.phases.get(n)?))
    }

    /// One look. What stands still, if it has for long.
    fn look(&mut self, process: u32) -> Option<Stuck> {
        let looks = (patience(self.leg).as_secs_f64() / LOOK.as_secs_f64()).round();
        let crashed = self.page.crashed.load(Relaxed);
        if crashed != 0 {
            // It prints; if it cannot, that is a hang like any other.
            self.asleep += 1;
            let what = || format!("{} came, and the process did not end", crash::name(crashed as i32));
            return (f64::from(self.asleep) > looks).then(|| Stuck { check: "hang", what: what() });
        }
        let (_, phase) = self.phase()?;
        let workers = self.page.workers();
        self.moved.resize(workers.len(), (0, 0.0));
        let late = self.page.clock.load(Relaxed).saturating_sub(self.page.phase_ends.load(Relaxed));
        let suspect = late > 0 || self.moved.iter().any(|(_, still)| *still > SUSPECT);
        let counts = if suspect { self.share(process) } else { 1.0 };
        let mut anyone = false;
        for (slot, (ticks, still)) in workers.iter().zip(&mut self.moved) {
            let now = slot.ticks.load(Relaxed);
            *still = if now != *ticks || slot.state.load(Relaxed) != WORKS { 0.0 } else { *still + counts };
            anyone |= now != *ticks;
            *ticks = now;
        }
        if phase.quiet && !anyone && workers.iter().any(|slot| slot.state.load(Relaxed) == WORKS) {
            let asleep = threads(process).iter().all(|t| t.outside || t.state == 'S');
            self.asleep = if asleep { self.asleep + 1 } else { 0 };
            if self.asleep > ASLEEP {
                let what = "all threads sleep, and a goroutine that should run waits for ever".into();
                return Some(Stuck { check: "lost wake-up", what });
            }
        } else {
            self.asleep = 0;
        }
        if let Some(i) = self.moved.iter().position(|(_, still)| *still > looks) {
            let slot = &workers[i];
            let (kind, goroutine) = (slot.kind().name(), slot.goroutine.load(Relaxed));
            let what = format!("{kind}, goroutine {goroutine}, has made no progress for {:?}", LOOK.mul_f64(looks));
            return Some(Stuck { check: "hang", what });
        }
        self.denied = if late > 0 { self.denied + 1.0 - counts } else { 0.0 };
        let late = late.saturating_sub(LOOK.mul_f64(self.denied).as_millis() as u64);
        // Every worker may take its time to end, which the above judges.
        (late > 2 * patience(self.leg).as_millis() as u64)
            .then(|| Stuck { check: "hang", what: format!("the phase should have ended {late} ms ago") })
    }

    fn judge(
        &self,
        stuck: Option<Stuck>,
        status: ExitStatus,
        output: &str,
        known: &str,
        after: f64,
    ) -> Option<Failure> {
        let (check, what) = match stuck {
            Some(stuck) => (stuck.check.to_owned(), stuck.what),
            None if status.success() && self.clean => return None,
            None => cause(status, self.page.crashed.load(Relaxed) as i32, output),
        };
        let phase = self.phase().map_or("none yet".into(), |(n, phase)| format!("{n} ({})", phase.name));
        let (seed, repeat) = (self.leg.wanted.seed, self.leg.repeat());
        Some(Failure { check, what, phase, seed, after, repeat, output: format!("{output}\n{known}") })
    }
}

/// Which check has spoken, and what it said.
fn cause(status: ExitStatus, crashed: i32, output: &str) -> (String, String) {
    let line = |of: &str| output.lines().find(|line| line.contains(of)).map(str::to_owned);
    if let Some(said) = line("fatal error: stress: ") {
        let what = said.trim_start_matches("fatal error: stress: ").to_owned();
        return (what.split(' ').next().unwrap_or("?").into(), what);
    }
    if let Some(said) = line("oracle: ") {
        return ("oracle".into(), said);
    }
    if let Some(said) = line("fatal error: ") {
        let verifier = said.contains("verifier:");
        return (if verifier { "verifier" } else { "fatal error" }.into(), said);
    }
    if crashed != 0 {
        let said = line("stress: ").unwrap_or_default();
        return (crash::name(crashed), said);
    }
    let how = match status.signal() {
        Some(signal) => crash::name(signal),
        None => "exit".into(),
    };
    (how, format!("the process ended without a word: {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stress::plan::{Mode, Phase, Wanted};

    /// With a patience of so many looks.
    fn leg(looks: u32, quiet: bool) -> Leg {
        let wanted = Wanted {
            mode: Mode::Stw,
            seed: 7,
            seconds: 1.0,
            procs: Some(1),
            goroutines: 0,
            heap: 1 << 20,
            fault: None,
            plant: None,
            debug: None,
            patience: LOOK.as_secs_f64() * f64::from(looks),
        };
        let phase = Phase { name: "a test".into(), seconds: 1.0, quiet, signals: false, crew: Vec::new() };
        let (stress, oracle) = (String::new(), String::new());
        Leg {
            wanted,
            procs: 1,
            percent: 100,
            live: 1 << 20,
            storm: 0,
            stress,
            verify: false,
            oracle,
            phases: vec![phase],
        }
    }

    /// With two workers, the goroutines 16 and 17.
    fn page() -> Mapped {
        let page = Mapped::new().expect("memory");
        page.phases.store(1, Relaxed);
        page.used.store(2, Relaxed);
        for (slot, goroutine) in page.slots.iter().zip([16, 17]) {
            slot.state.store(WORKS, Relaxed);
            slot.goroutine.store(goroutine, Relaxed);
        }
        page
    }

    fn watch<'a>(leg: &'a Leg, page: &'a Page) -> Watch<'a> {
        Watch::new(leg, page)
    }

    #[test]
    fn who_does_not_move_for_as_long_as_patience_lasts_hangs() {
        let (leg, page) = (leg(10, false), page());
        let mut watch = watch(&leg, &page);
        let mut look = |moves: &[usize]| {
            moves.iter().for_each(|i| _ = page.slots[*i].ticks.fetch_add(1, Relaxed));
            watch.look(std::process::id()).map(|stuck| (stuck.check, stuck.what))
        };
        assert!((0..100).all(|_| look(&[0, 1]).is_none()), "both move");
        assert!((0..10).all(|_| look(&[0]).is_none()), "patience is not over");
        assert!(look(&[0, 1]).is_none(), "it has moved");
        assert!((0..10).all(|_| look(&[0]).is_none()), "it counts anew");
        let (check, what) = look(&[0]).expect("goroutine 17 hangs");
        assert!(check == "hang" && what.contains("goroutine 17, has made no progress for 1s"), "{check}: {what}");
        // Who has nothing to do may stand still.
        page.slots[1].state.store(super::super::page::FREE, Relaxed);
        assert!((0..100).all(|_| look(&[0]).is_none()));
    }

    #[test]
    fn who_talks_all_the_time_is_looked_at_all_the_same() {
        let (tx, lines) = mpsc::channel();
        let talker = thread::spawn(move || {
            // Until nobody listens.
            while tx.send(Line::Clean).is_ok() {
                thread::sleep(LOOK / 10);
            }
        });
        let (mut looks, mut said) = (0, 0);
        let end = attend(&lines, |event| {
            match event {
                Event::Look => looks += 1,
                Event::Said(_) => said += 1,
            }
            (looks == 3 || said == 1000).then_some((looks, said))
        });
        drop(lines);
        talker.join().expect("it does not panic");
        assert!(matches!(end, Some((3, 1..1000))), "{end:?}");
    }

    /// A process that sleeps, while `test` runs.
    fn beside_a_sleeper<T>(test: impl FnOnce(u32) -> T) -> T {
        let mut sleeper = Command::new("sleep").arg("1000").spawn().expect("a program that sleeps");
        while !threads(sleeper.id()).iter().all(|t| t.state == 'S') {
            thread::sleep(Duration::from_millis(1));
        }
        let result = test(sleeper.id());
        sleeper.kill().and_then(|()| sleeper.wait()).map(|_| result).expect("it was there")
    }

    #[test]
    fn a_look_at_a_process_that_is_not_let_run_does_not_count() {
        assert!(share(false, 0) == 1.0 && share(true, 20) == 1.0 && share(true, 5) == 1.0);
        assert!(share(true, 0) == 0.0 && share(true, 1) == 0.2);
        let (leg, page) = (leg(20, false), page());
        let mut watch = watch(&leg, &page);
        // This process runs, and gets next to nothing from one look to the next.
        let process = std::process::id();
        assert!((0..100).all(|_| watch.look(process).is_none()));
        assert!(beside_a_sleeper(|process| (0..100).any(|_| watch.look(process).is_some())));
        assert!(ticks(process) < 1 << 32 && ticks(1 << 30) == 0);
    }

    #[test]
    fn a_phase_that_does_not_end_hangs() {
        let (leg, page) = (leg(10, false), page());
        let mut watch = watch(&leg, &page);
        let mut look = |clock: u64, process: u32| {
            page.slots.iter().take(2).for_each(|slot| _ = slot.ticks.fetch_add(1, Relaxed));
            page.clock.store(clock, Relaxed);
            watch.look(process)
        };
        page.phase_ends.store(5_000, Relaxed);
        let stuck = beside_a_sleeper(|process| {
            assert!(look(7_000, process).is_none());
            look(7_001, process)
        });
        let stuck = stuck.expect("it is twice the patience late");
        assert!(stuck.check == "hang" && stuck.what.contains("ended 2001 ms ago"), "{}", stuck.what);
    }

    #[test]
    fn a_lost_wake_up_is_where_all_sleep_in_a_quiet_phase() {
        let page = page();
        let looks = |quiet: bool, process: u32, moves: bool| {
            let leg = leg(1_000, quiet);
            let mut watch = watch(&leg, &page);
            // The first one learns how far each has come.
            watch.look(process);
            (1..=3 * ASLEEP).find_map(|n| {
                page.slots[0].ticks.fetch_add(u64::from(moves), Relaxed);
                watch.look(process).map(|stuck| (n, stuck.check))
            })
        };
        let (found, others, nobody) = beside_a_sleeper(|process| {
            let found = looks(true, process, false);
            let others =
                [looks(true, process, true), looks(false, process, false), looks(true, std::process::id(), false)];
            page.slots[0].state.store(0, Relaxed);
            page.slots[1].state.store(0, Relaxed);
            (found, others, looks(true, process, false))
        });
        assert!(matches!(found, Some((n, "lost wake-up")) if n <= ASLEEP + 1), "{found:?}");
        assert_eq!(others, [None; 3], "one moves; not a quiet phase; one runs");
        assert_eq!(nobody, None, "nobody has anything to do");
    }

    #[test]
    fn a_process_is_clean_if_it_says_so_and_ends_well() {
        let (leg, page) = (leg(10, false), page());
        let mut watch = watch(&leg, &page);
        let judge = |watch: &Watch<'_>, status: i32, output: &str| {
            let failure = watch.judge(None, ExitStatus::from_raw(status), output, "", 1.0);
            failure.map(|failure| failure.check)
        };
        assert_eq!(judge(&watch, 0, "").as_deref(), Some("exit"), "it ended before its time");
        watch.take(Line::Clean);
        assert_eq!(judge(&watch, 0, ""), None);
        assert_eq!(judge(&watch, 1 << 8, "").as_deref(), Some("exit"));
        assert_eq!(judge(&watch, libc::SIGKILL, "").as_deref(), Some("SIGKILL"));
        for (output, check) in [
            ("fatal error: stress: timer 7 was early", "timer"),
            ("thread panicked\noracle: 3 objects are gone", "oracle"),
            ("fatal error: verifier: an edge", "verifier"),
            ("fatal error: anything else", "fatal error"),
        ] {
            assert_eq!(judge(&watch, 2 << 8, output).as_deref(), Some(check), "{output}");
        }
        page.crashed.store(libc::SIGSEGV as u32, Relaxed);
        assert_eq!(judge(&watch, libc::SIGSEGV, "").as_deref(), Some("SIGSEGV"));
        let failure =
            watch.judge(Some(Stuck { check: "hang", what: "all".into() }), ExitStatus::from_raw(0), "", "", 1.0);
        let failure = failure.expect("a hang is no success, however the process has ended");
        assert!(failure.check == "hang" && failure.phase == "0 (a test)" && failure.seed == 7, "{failure:?}");
    }
}
