//! Settings: the builder's, then the environment's, which win.
//!
//! | variable | value |
//! |---|---|
//! | `TRICOLOR_GC` | `off`, or 1 to 100000: percent by which the heap grows before a collection |
//! | `TRICOLOR_MEMLIMIT` | `off`, or a size: `512MiB`, `2GiB`, `8388608`, at least 1 MiB: what the heap should keep within |
//! | `TRICOLOR_HUGEPAGES` | `on` or `off`: huge pages under the heap |
//! | `TRICOLOR_PARTIAL` | `on` or `off`: collections that leave alone what was marked before, where that pays |
//! | `TRICOLOR_PROCS` | 1 to 256: how many goroutines run at once |
//! | `TRICOLOR_TRACE` | the file that a trace is written to |
//! | `TRICOLOR_DEBUG` | `key=value,…`: `gctrace=0\|1`, `verify=0\|1`, `gcevery=N`, `stwtimeout=MS`, `asyncpreemptoff=0\|1`, |
//! | | `schedtrace=MS`, `scheddetail=0\|1`, `trace=0\|1`, `preemptstorm=USEC`, `memprofilerate=BYTES`, |
//! | | `heapprofile=FILE`, |
//! | | and what [`Stress`] knows: `poison=0\|1`, `eagerbarrier=0\|1`, `smallbuf=0\|1`, `partial=0\|1`, |
//! | | `delay=WINDOW:USEC` |
//!
//! A value that does not parse ends the program before anything runs, with one line and status 2.

use crate::sched::MAX_PS;
use core::time::Duration;
use gc_core::Stress;
use std::ffi::OsString;
use std::path::PathBuf;

/// What a runtime is made with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) procs: usize,
    pub(crate) gc_percent: Option<u32>,
    pub(crate) gctrace: bool,
    pub(crate) verify: bool,
    pub(crate) gc_every: u32,
    pub(crate) stress: Stress,
    pub(crate) stw_timeout: Duration,
    pub(crate) async_preempt: bool,
    /// Every goroutine stays on its first M.
    pub(crate) pinned: bool,
    /// How often sysmon prints a line; zero: never.
    pub(crate) sched_trace: Duration,
    pub(crate) sched_detail: bool,
    /// The flight recorder is on.
    pub(crate) trace: bool,
    /// The file of a trace.
    pub(crate) trace_file: Option<PathBuf>,
    /// Mean distance in bytes of the allocations that the heap profile samples; 0: none.
    pub(crate) profile_rate: usize,
    /// Where the heap profile goes when the main goroutine has ended.
    #[cfg_attr(not(feature = "profile"), allow(dead_code))]
    pub(crate) heap_profile: Option<String>,
    /// Goroutines' stacks can be read along the frame pointers.
    pub(crate) frame_pointers: bool,
    /// Signals without reason, so often.
    pub(crate) preempt_storm: Option<Duration>,
    pub(crate) stack: usize,
    pub(crate) main_stack: usize,
    pub(crate) max_stack: usize,
    pub(crate) min_heap: Option<usize>,
    pub(crate) memory_limit: Option<usize>,
    pub(crate) huge_pages: bool,
    pub(crate) partial: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            // Reads affinity and the cgroup's quota.
            procs: std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_PS),
            gc_percent: Some(100),
            gctrace: false,
            verify: false,
            gc_every: 0,
            stress: Stress::default(),
            stw_timeout: Duration::from_secs(1),
            async_preempt: cfg!(all(target_os = "linux", target_arch = "x86_64")),
            pinned: false,
            sched_trace: Duration::ZERO,
            sched_detail: false,
            trace: false,
            trace_file: None,
            profile_rate: DEFAULT_PROFILE_RATE,
            heap_profile: None,
            frame_pointers: false,
            preempt_storm: None,
            stack: crate::stack::DEFAULT_STACK,
            main_stack: crate::stack::DEFAULT_MAIN_STACK,
            max_stack: crate::stack::DEFAULT_MAX_STACK,
            min_heap: None,
            memory_limit: None,
            huge_pages: false,
            partial: true,
        }
    }
}

/// Why a variable was refused: its name, its value, what is allowed.
#[derive(Debug, PartialEq)]
pub(crate) struct Refused {
    variable: &'static str,
    value: String,
    allowed: String,
}

impl Refused {
    /// Says so and ends the program.
    #[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "before the runtime has a thread")]
    pub(crate) fn end(&self) -> ! {
        eprintln!("{self}");
        std::process::exit(2)
    }
}

impl core::fmt::Display for Refused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "tricolor: {}={:?} is not understood: allowed is {}", self.variable, self.value, self.allowed)
    }
}

fn number(text: &str, lo: u64, hi: u64) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<u64>().ok().filter(|n| plain && (lo..=hi).contains(n))
}

/// As Go's `MemProfileRate`.
const DEFAULT_PROFILE_RATE: usize = if cfg!(any(modelled, not(feature = "profile"))) { 0 } else { 512 << 10 };

/// The smallest memory limit.
pub(crate) const LEAST_LIMIT: usize = 1 << 20;

/// A size in bytes: a number, with one of the units B, KiB, MiB, GiB, TiB or without.
fn size(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let shift = match &text[digits..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    let bytes = number(&text[..digits], 0, u64::MAX)?.checked_mul(1 << shift)?;
    usize::try_from(bytes).ok().filter(|b| *b <= isize::MAX as usize)
}

impl Settings {
    /// Overrides what the environment says.
    #[expect(clippy::disallowed_methods, reason = "before the runtime has a thread")]
    pub(crate) fn read_env(&mut self) -> Result<(), Refused> {
        self.read(|name| std::env::var_os(name))
    }

    fn read(&mut self, get: impl Fn(&str) -> Option<OsString>) -> Result<(), Refused> {
        let refuse = |variable, value: &OsString, allowed: &str| Refused {
            variable,
            value: value.to_string_lossy().into_owned(),
            allowed: allowed.to_owned(),
        };
        if let Some(v) = get("TRICOLOR_GC") {
            self.gc_percent = match v.to_str() {
                Some("off") => None,
                text => match text.and_then(|t| number(t, 1, 100_000)) {
                    Some(n) => Some(n as u32),
                    None => return Err(refuse("TRICOLOR_GC", &v, "off, or a percentage from 1 to 100000")),
                },
            };
        }
        if let Some(v) = get("TRICOLOR_MEMLIMIT") {
            self.memory_limit = match v.to_str() {
                Some("off") => None,
                text => match text.and_then(size).filter(|b| *b >= LEAST_LIMIT) {
                    Some(bytes) => Some(bytes),
                    None => {
                        let allowed = "off, or a size from 1MiB up: a number of bytes, or one with KiB, MiB, GiB, TiB";
                        return Err(refuse("TRICOLOR_MEMLIMIT", &v, allowed));
                    }
                },
            };
        }
        for (name, switch) in [("TRICOLOR_HUGEPAGES", &mut self.huge_pages), ("TRICOLOR_PARTIAL", &mut self.partial)] {
            if let Some(v) = get(name) {
                *switch = match v.to_str() {
                    Some("on") => true,
                    Some("off") => false,
                    _ => return Err(refuse(name, &v, "on or off")),
                };
            }
        }
        if let Some(v) = get("TRICOLOR_PROCS") {
            match v.to_str().and_then(|t| number(t, 1, MAX_PS as u64)) {
                Some(n) => self.procs = n as usize,
                None => return Err(refuse("TRICOLOR_PROCS", &v, "a number from 1 to 256")),
            }
        }
        if let Some(v) = get("TRICOLOR_TRACE") {
            if v.is_empty() {
                return Err(refuse("TRICOLOR_TRACE", &v, "the path of a file"));
            }
            self.trace_file = Some(v.into());
        }
        if let Some(v) = get("TRICOLOR_DEBUG") {
            const NAME: &str = "TRICOLOR_DEBUG";
            let Some(text) = v.to_str() else {
                return Err(refuse(NAME, &v, "key=value pairs separated by commas"));
            };
            for pair in text.split(',').filter(|p| !p.is_empty()) {
                self.debug(pair).map_err(|allowed| refuse(NAME, &OsString::from(pair), &allowed))?;
            }
        }
        Ok(())
    }

    /// One pair of `TRICOLOR_DEBUG`; the error says what is allowed.
    fn debug(&mut self, pair: &str) -> Result<(), String> {
        let keys = || {
            let stress = Stress::NAMES.join(", ");
            format!(
                "key=value with one of the keys gctrace, verify, gcevery, stwtimeout, asyncpreemptoff, schedtrace, \
                 scheddetail, trace, preemptstorm, memprofilerate, heapprofile, {stress}"
            )
        };
        let (key, value) = pair.split_once('=').ok_or_else(keys)?;
        let flag = || number(value, 0, 1).map(|n| n == 1);
        match key {
            "gctrace" => self.gctrace = flag().ok_or("gctrace=0 or gctrace=1")?,
            "verify" => self.verify = flag().ok_or("verify=0 or verify=1")?,
            "gcevery" => {
                self.gc_every =
                    number(value, 0, u64::from(u32::MAX)).ok_or("gcevery=N, a number of allocations")? as u32;
            }
            "stwtimeout" => {
                let ms = number(value, 1, 3_600_000).ok_or("stwtimeout=MS, milliseconds from 1 to 3600000")?;
                self.stw_timeout = Duration::from_millis(ms);
            }
            "asyncpreemptoff" => {
                let off = flag().ok_or("asyncpreemptoff=0 or asyncpreemptoff=1")?;
                self.async_preempt = !off && Settings::default().async_preempt;
            }
            "schedtrace" => {
                let ms =
                    number(value, 0, 3_600_000).ok_or("schedtrace=MS, milliseconds up to 3600000, or 0 for never")?;
                self.sched_trace = Duration::from_millis(ms);
            }
            "scheddetail" => self.sched_detail = flag().ok_or("scheddetail=0 or scheddetail=1")?,
            "trace" => self.trace = flag().ok_or("trace=0 or trace=1")?,
            "preemptstorm" => {
                let us = number(value, 10, 1_000_000).ok_or("preemptstorm=USEC, microseconds from 10 to 1000000")?;
                self.preempt_storm = Some(Duration::from_micros(us));
            }
            "memprofilerate" => {
                let most = isize::MAX as u64;
                let allowed = "memprofilerate=BYTES, a number of bytes between samples, 1 for all objects, 0 for none";
                self.profile_rate = number(value, 0, most).ok_or(allowed)? as usize;
            }
            "heapprofile" if !cfg!(feature = "profile") => {
                return Err(
                    "no heapprofile: this program is built without the feature `profile` of tricolor".to_owned()
                );
            }
            "heapprofile" => {
                // Not truncated before there is something to write.
                let file = std::fs::OpenOptions::new().create(true).append(true).open(value);
                file.map_err(|e| format!("heapprofile=FILE, where FILE can be written: {e}"))?;
                self.heap_profile = Some(value.to_owned());
            }
            key if Stress::NAMES.contains(&key) => self.stress.set(key, value)?,
            _ => return Err(keys()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Refused> {
        let mut s = Settings::default();
        s.read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v)))?;
        Ok(s)
    }

    #[test]
    fn what_is_allowed_is_taken() {
        let s = read(&[
            ("TRICOLOR_GC", "5"),
            ("TRICOLOR_PROCS", "8"),
            ("TRICOLOR_DEBUG", "gctrace=1,verify=1,gcevery=3,stwtimeout=20,asyncpreemptoff=1"),
        ])
        .expect("all valid");
        assert_eq!((s.gc_percent, s.procs, s.gctrace, s.verify, s.gc_every), (Some(5), 8, true, true, 3));
        assert_eq!(s.stw_timeout, Duration::from_millis(20));
        assert!(!s.async_preempt);
        let s = read(&[("TRICOLOR_DEBUG", "schedtrace=250,scheddetail=1")]).expect("all valid");
        assert_eq!((s.sched_trace, s.sched_detail), (Duration::from_millis(250), true));
        assert_eq!(read(&[("TRICOLOR_TRACE", "a b")]).expect("valid").trace_file, Some("a b".into()));
        assert!(read(&[("TRICOLOR_DEBUG", "trace=1")]).expect("valid").trace);
        assert!(!read(&[("TRICOLOR_DEBUG", "trace=1,trace=0")]).expect("valid").trace);
        let s = read(&[("TRICOLOR_DEBUG", "preemptstorm=20")]).expect("valid");
        assert_eq!(s.preempt_storm, Some(Duration::from_micros(20)));
        assert_eq!(read(&[("TRICOLOR_DEBUG", "memprofilerate=0")]).expect("valid").profile_rate, 0);
        let s = read(&[("TRICOLOR_DEBUG", "memprofilerate=4096,heapprofile=/dev/null")]);
        if cfg!(feature = "profile") {
            let s = s.expect("valid");
            assert_eq!((s.profile_rate, s.heap_profile.as_deref()), (4096, Some("/dev/null")));
        } else {
            let refused = s.map(|_| ()).expect_err("nobody would write it").to_string();
            assert!(refused.contains("heapprofile=/dev/null") && refused.contains("feature `profile`"), "{refused}");
        }
        let s = read(&[("TRICOLOR_DEBUG", "poison=1,smallbuf=1,delay=phase-flips:20")]).expect("all valid");
        assert!(s.stress.poison && s.stress.small_buffers && !s.stress.eager_barrier);
        assert_eq!(read(&[("TRICOLOR_GC", "off")]).expect("valid").gc_percent, None);
        for (text, bytes) in [
            ("512MiB", Some(512 << 20)),
            ("2GiB", Some(2 << 30)),
            ("1024KiB", Some(1 << 20)),
            ("8388608", Some(8 << 20)),
            ("8388608B", Some(8 << 20)),
            ("off", None),
        ] {
            assert_eq!(read(&[("TRICOLOR_MEMLIMIT", text)]).expect(text).memory_limit, bytes, "{text}");
        }
        for (text, on) in [("on", true), ("off", false)] {
            assert_eq!(read(&[("TRICOLOR_HUGEPAGES", text)]).expect(text).huge_pages, on);
            assert_eq!(read(&[("TRICOLOR_PARTIAL", text)]).expect(text).partial, on);
        }
    }

    #[test]
    fn what_is_not_is_refused_by_name() {
        for (name, value) in [
            ("TRICOLOR_GC", "0"),
            ("TRICOLOR_GC", ""),
            ("TRICOLOR_GC", "100001"),
            ("TRICOLOR_GC", "+5"),
            ("TRICOLOR_GC", "OFF"),
            ("TRICOLOR_MEMLIMIT", ""),
            ("TRICOLOR_MEMLIMIT", "MiB"),
            ("TRICOLOR_MEMLIMIT", "512MB"),
            ("TRICOLOR_MEMLIMIT", "512 MiB"),
            ("TRICOLOR_MEMLIMIT", "1.5GiB"),
            ("TRICOLOR_MEMLIMIT", "-1"),
            ("TRICOLOR_MEMLIMIT", "1023KiB"),
            ("TRICOLOR_MEMLIMIT", "99999999TiB"),
            ("TRICOLOR_HUGEPAGES", "1"),
            ("TRICOLOR_HUGEPAGES", ""),
            ("TRICOLOR_PARTIAL", "0"),
            ("TRICOLOR_PROCS", "0"),
            ("TRICOLOR_PROCS", "257"),
            ("TRICOLOR_PROCS", "two"),
            ("TRICOLOR_TRACE", ""),
            ("TRICOLOR_DEBUG", "gctrace"),
            ("TRICOLOR_DEBUG", "gctrace=2"),
            ("TRICOLOR_DEBUG", "gctrace=1,nosuch=1"),
            ("TRICOLOR_DEBUG", "stwtimeout=0"),
            ("TRICOLOR_DEBUG", "asyncpreemptoff=2"),
            ("TRICOLOR_DEBUG", "schedtrace=1s"),
            ("TRICOLOR_DEBUG", "scheddetail=2"),
            ("TRICOLOR_DEBUG", "trace=on"),
            ("TRICOLOR_DEBUG", "memprofilerate=512KiB"),
            ("TRICOLOR_DEBUG", "memprofilerate=-1"),
            ("TRICOLOR_DEBUG", "heapprofile="),
            ("TRICOLOR_DEBUG", "heapprofile=/no/such/folder/file"),
            ("TRICOLOR_DEBUG", "preemptstorm=9"),
            ("TRICOLOR_DEBUG", "preemptstorm=1000001"),
            ("TRICOLOR_DEBUG", "preemptstorm=often"),
            ("TRICOLOR_DEBUG", "poison=yes"),
            ("TRICOLOR_DEBUG", "delay=phase-flops:20"),
        ] {
            let refused = read(&[(name, value)]).expect_err(value).to_string();
            assert!(refused.contains(name) && refused.contains("allowed"), "{refused}");
        }
        let refused = read(&[("TRICOLOR_DEBUG", "delay=phase-flops:20")]).expect_err("no such window").to_string();
        assert!(refused.contains("\"delay=phase-flops:20\"") && refused.contains("phase-flips"), "{refused}");
    }
}
