//! One turn: a program runs, and says what its metrics came to.

use crate::contestants::Contestant;
use crate::load;
use crate::workloads::Workload;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tricolor_bench_program::{LATENCIES, quantile};

/// What a program told.
#[derive(Default, Debug, PartialEq)]
pub struct Told {
    pub metrics: BTreeMap<String, f64>,
    /// What must be the same for all contestants.
    pub result: Option<String>,
}

/// What came of a turn.
pub enum Turn {
    Told(Told),
    /// The contestant has no such thing, and says why.
    None(String),
}

/// A program that has ended.
struct Ended {
    status: ExitStatus,
    text: String,
    cpu_seconds: f64,
    peak_mib: f64,
}

/// A turn takes some seconds; a program that takes so long will not end.
const LIMIT: Duration = Duration::from_secs(600);

/// Waits for a program, which must have its output piped, and ends it at the limit. What it still says is in `text`.
fn wait(mut child: Child, limit: Duration) -> io::Result<Ended> {
    let mut output = child.stdout.take().expect("a pipe");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let begin = Instant::now();
    let (mut status, mut late) = (0, false);
    let mut usage = core::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: our child, which nobody else waits for; both pointers are to memory of our own.
        match unsafe { libc::wait4(child.id() as i32, &mut status, libc::WNOHANG, usage.as_mut_ptr()) } {
            0 if !late && begin.elapsed() > limit => {
                late = true;
                child.kill()?;
            }
            0 => thread::sleep(Duration::from_millis(10)),
            ..0 => return Err(io::Error::last_os_error()),
            _ => break,
        }
    }
    if late {
        return Err(io::Error::other(format!("has not ended after {limit:?}")));
    }
    let text = reader.join().expect("a thread that only reads")?;
    // SAFETY: written by the kernel; all zeros would do as well.
    let usage = unsafe { usage.assume_init() };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    Ok(Ended {
        status: ExitStatus::from_raw(status),
        text,
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_mib: usage.ru_maxrss as f64 / 1024.0,
    })
}

/// What a row asks of all contestants.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Sizes are divided by this.
    pub scale: u32,
    /// The folder that programs run in, whose texts `word-index` reads.
    pub texts: &'a Path,
}

fn command(contestant: &Contestant, workload: &Workload, Setting { scale, texts }: Setting) -> Command {
    let mut command = contestant.command(workload.procs, workload.heap);
    command.current_dir(texts);
    command.arg(workload.program_name());
    command.args(["--scale", &scale.to_string(), "--procs", &workload.procs.to_string()]);
    command.stdout(Stdio::piped());
    command
}

/// Runs `workload` once.
///
/// # Errors
/// What the program said or did, if it did not tell all metrics.
pub fn turn(contestant: &Contestant, workload: &Workload, setting: Setting) -> Result<Turn, String> {
    let mut command = command(contestant, workload, setting);
    if workload.is_server() {
        return serve(command, setting.scale).map(|metrics| Turn::Told(Told { metrics, result: None }));
    }
    let ended = command
        .stdin(Stdio::null())
        .spawn()
        .and_then(|child| wait(child, LIMIT))
        .map_err(|e| format!("{command:?}: {e}"))?;
    if !ended.status.success() {
        return Err(format!("{command:?}: {}", ended.status));
    }
    let told = told(&ended.text, workload).map_err(|e| format!("{command:?} {e}"))?;
    let Turn::Told(mut told) = told else { return Ok(told) };
    // What the program says itself is of the part that counts.
    told.metrics.entry("cpu".to_owned()).or_insert(ended.cpu_seconds * 1e3);
    told.metrics.entry("peak".to_owned()).or_insert(ended.peak_mib);
    match workload.metrics.iter().find(|m| !told.metrics.contains_key(m.name)) {
        Some(lacking) => Err(format!("{command:?} does not tell {}", lacking.name)),
        None => Ok(Turn::Told(told)),
    }
}

/// What a program told.
fn told(text: &str, workload: &Workload) -> Result<Turn, String> {
    let mut told = Told::default();
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("none", why)) => return Ok(Turn::None(why.to_owned())),
            Some(("result", result)) => told.result = Some(result.to_owned()),
            Some((metric, value)) if workload.metrics.iter().any(|m| m.name == metric) => {
                let value: f64 = value.parse().map_err(|e| format!("says `{line}`: {e}"))?;
                if !value.is_finite() || value < 0.0 {
                    return Err(format!("says `{line}`, which is no figure"));
                }
                told.metrics.insert(metric.to_owned(), value);
            }
            _ => return Err(format!("says `{line}`, which is no metric of {}", workload.name)),
        }
    }
    Ok(Turn::Told(told))
}

/// Starts a server, sends it requests, and ends it.
fn serve(mut command: Command, scale: u32) -> Result<BTreeMap<String, f64>, String> {
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(|e| format!("{command:?}: {e}"))?;
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let loaded = output.read_line(&mut line).map_err(|e| e.to_string()).and_then(|_| {
        let address = line.trim().strip_prefix("address ").ok_or_else(|| format!("says `{}`", line.trim()))?;
        let address = address.parse().map_err(|e| format!("says `{line}`: {e}"))?;
        load::run(address, load::CONNECTIONS, scale).map_err(|e| format!("under load: {e}"))
    });
    // Now it ends, whatever came of the load.
    drop(child.stdin.take());
    child.stdout = Some(output.into_inner());
    let ended = wait(child, LIMIT).map_err(|e| format!("{command:?}: {e}"))?;
    let load = loaded.map_err(|e| format!("{command:?}: {e} ({})", ended.status))?;
    if !ended.status.success() {
        return Err(format!("{command:?}: {}", ended.status));
    }
    let mut metrics = BTreeMap::from([
        ("requests".to_owned(), load.per_second),
        ("cpu".to_owned(), ended.cpu_seconds * 1e6 / load.all as f64),
    ]);
    for (name, share) in LATENCIES {
        metrics.insert(name.to_owned(), quantile(&load.latencies, share).as_nanos() as f64 / 1e3);
    }
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::WORKLOADS;

    #[test]
    fn what_programs_tell_is_taken_or_refused() {
        let parked = WORKLOADS.iter().find(|w| w.name == "parked").unwrap();
        let Ok(Turn::Told(all)) = told("memory 5000\nresult 5 words\ntime 1.5\n", parked) else { panic!("metrics") };
        let metrics = BTreeMap::from([("memory".to_owned(), 5000.0), ("time".to_owned(), 1.5)]);
        assert_eq!(all, Told { metrics, result: Some("5 words".to_owned()) });
        assert!(matches!(told("none it has no stacks", parked), Ok(Turn::None(why)) if why == "it has no stacks"));
        for wrong in ["memory", "memory much", "memory NaN", "memory -1", "rate 5", "panicked at"] {
            assert!(told(wrong, parked).is_err_and(|e| e.contains(wrong)), "{wrong}");
        }
    }
    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let run = |program: &str, limit| {
            let child = Command::new("sh").args(["-c", program]).stdout(Stdio::piped()).spawn().unwrap();
            wait(child, limit)
        };
        let ended = run("echo time 5; exit 3", LIMIT).unwrap();
        assert_eq!((ended.text.as_str(), ended.status.code()), ("time 5\n", Some(3)));
        assert!(ended.peak_mib > 0.0);
        let late = run("exec sleep 1000", Duration::from_millis(50));
        assert!(late.is_err_and(|e| e.to_string().contains("has not ended after 50ms")));
    }
}
