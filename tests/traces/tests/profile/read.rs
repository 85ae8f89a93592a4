//! Reads profiles, with the messages of the crate `pprof`.

use pprof::protos::{Message, Profile};
use std::io::Read as _;
use std::process::Command;

pub struct Read(Profile);

impl Read {
    pub fn new(file: &[u8]) -> Read {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("gzip");
        let profile = Profile::decode(&bytes[..]).expect("a profile");
        assert_eq!(profile.string_table[0], "");
        for sample in &profile.sample {
            assert_eq!(sample.value.len(), profile.sample_type.len());
        }
        assert!(profile.location.iter().zip(1..).all(|(l, i)| l.id == i && !l.line.is_empty()));
        assert!(profile.time_nanos > 0 && profile.mapping.iter().any(|m| m.memory_start < m.memory_limit));
        Read(profile)
    }

    fn text(&self, at: i64) -> &str {
        &self.0.string_table[at as usize]
    }

    pub fn types(&self) -> Vec<&str> {
        self.0.sample_type.iter().map(|t| self.text(t.ty)).collect()
    }

    /// Names, files and lines of a location.
    fn lines(&self, location: u64) -> impl Iterator<Item = (&str, &str, i64)> {
        self.0.location[location as usize - 1].line.iter().map(|line| {
            let function = &self.0.function[line.function_id as usize - 1];
            (self.text(function.name), self.text(function.filename), line.line)
        })
    }

    fn on(&self, sample: &pprof::protos::Sample, function: &str) -> bool {
        let wanted =
            |name: &str| function.is_empty() || name.contains(&format!("::{function}")) || name.starts_with(function);
        function.is_empty() || sample.location_id.iter().any(|l| self.lines(*l).any(|(name, ..)| wanted(name)))
    }

    /// The sum of the values of this type over all samples with `function` on the stack; of all if it is empty.
    pub fn sum(&self, what: &str, function: &str) -> i64 {
        let at = self.types().iter().position(|t| *t == what).expect("a type of value");
        self.0.sample.iter().filter(|s| self.on(s, function)).map(|s| s.value[at]).sum()
    }

    /// As `sum` of the first type, of samples with a label.
    pub fn labelled(&self, function: &str, key: &str, value: &str) -> i64 {
        let has = |s: &&pprof::protos::Sample| {
            s.label.iter().any(|l| self.text(l.key) == key && self.text(l.str) == value) && self.on(s, function)
        };
        self.0.sample.iter().filter(has).map(|s| s.value[0]).sum()
    }

    /// File and line in a function.
    pub fn line_of(&self, function: &str) -> (String, i64) {
        let all = (1..=self.0.location.len() as u64).flat_map(|l| self.lines(l));
        let found = all.filter(|(name, ..)| name.contains(function)).max_by_key(|(.., line)| *line);
        let (_, file, line) = found.expect("a function of that name");
        (file.to_owned(), line)
    }

    /// Whether the innermost function of a stack of more than one begins so; inlined functions are no frames of their own.
    pub fn is_innermost(&self, prefix: &str) -> bool {
        self.0.sample.iter().filter(|s| s.location_id.len() > 1).any(|s| {
            self.lines(s.location_id[0])
                .last()
                .is_some_and(|(name, ..)| name.trim_start_matches('<').starts_with(prefix))
        })
    }
}

/// Runs `go tool pprof` on a profile and gives its output; `None`: there is no Go.
pub fn go_pprof() -> Option<impl Fn(&[u8], &[&str]) -> String> {
    let go = std::env::var("TRICOLOR_GO").unwrap_or_else(|_| "go".to_owned());
    if !Command::new(&go).args(["tool", "pprof", "-h"]).output().is_ok_and(|out| {
        // It says how it is used, with status 2.
        String::from_utf8_lossy(&out.stderr).contains("pprof") || out.status.success()
    }) {
        use std::io::Write;
        std::io::stderr().write_all(b"SKIPPED: go_opens_them: no `go tool pprof` (TRICOLOR_GO)\n").expect("stderr");
        return None;
    }
    Some(move |profile: &[u8], args: &[&str]| {
        let file = std::env::temp_dir().join(format!("tricolor-go-{}-{}", std::process::id(), profile.len()));
        std::fs::write(&file, profile).expect("room");
        let out = Command::new(&go).args(["tool", "pprof"]).args(args).arg(&file).output().expect("it runs");
        std::fs::remove_file(&file).expect("it was there");
        let (text, err) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{err}");
        text.into_owned()
    })
}
