//! A line that moves, on standard error; none if that is no terminal.

use super::page::{Count, Page};
use super::plan::Wanted;
use super::report::time;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

pub struct Progress {
    bar: ProgressBar,
    began: Instant,
    /// Counts and time at the last look.
    last: (Instant, [u64; 4]),
    worst: u64,
}

const SHOWN: [Count; 4] = [Count::Stops, Count::Messages, Count::Objects, Count::Syscalls];

impl Progress {
    pub fn new(wanted: &Wanted) -> Progress {
        let bar = ProgressBar::new((wanted.seconds * 10.0) as u64);
        let style = ProgressStyle::with_template("{elapsed:>4} {bar:20} {msg}").expect("a good template");
        bar.set_style(style);
        Progress { bar, began: Instant::now(), last: (Instant::now(), [0; 4]), worst: 0 }
    }

    /// The rates since the last look, if that is some time ago. `begun`: when the leg began, in seconds.
    pub fn show(&mut self, begun: f64, page: &Page) {
        let (then, before) = self.last;
        if then.elapsed().as_millis() < 500 {
            return;
        }
        let now = SHOWN.map(|what| page.counted(what));
        let rate = |i: usize| now[i].saturating_sub(before[i]) as f64 / then.elapsed().as_secs_f64();
        self.last = (Instant::now(), now);
        self.worst = self.worst.max(page.worst_stop.load(Relaxed));
        let (cycles, procs) = (page.cycles.load(Relaxed), page.procs.load(Relaxed));
        self.bar.set_position((self.began.elapsed().as_secs_f64().max(begun) * 10.0) as u64);
        self.bar.set_message(format!(
            "{procs} Ps, {cycles} cycles; per second {:.0} stops, {:.0} messages, {:.0} objects, {:.0} calls; worst stop {}",
            rate(0),
            rate(1),
            rate(2),
            rate(3),
            time(self.worst)
        ));
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
