//! The same index by other means: one thread, a `BTreeMap`, no code of the program.

use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Per word, per path: where the word begins.
#[derive(Default)]
pub struct Reference {
    words: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
    files: u64,
    binary: u64,
}

impl Reference {
    /// Of all files at and below `path`, by the paths that one gets from there. Links are not followed.
    pub fn of(path: &Path) -> Reference {
        let mut reference = Reference::default();
        reference.visit(path);
        reference
    }

    fn visit(&mut self, path: &Path) {
        let kind = fs::symlink_metadata(path).expect("the tree can be read").file_type();
        if kind.is_dir() {
            for entry in fs::read_dir(path).expect("the tree can be read") {
                self.visit(&entry.expect("the tree can be read").path());
            }
        } else if kind.is_file() {
            match String::from_utf8(fs::read(path).expect("the tree can be read")) {
                Ok(text) => self.add(&path.to_string_lossy(), &text),
                Err(_) => self.binary += 1,
            }
        }
    }

    fn add(&mut self, path: &str, text: &str) {
        self.files += 1;
        let mut word = String::new();
        // A blank at the end, so that the last word ends too.
        for (i, c) in text.char_indices().chain([(text.len(), ' ')]) {
            if c.is_ascii_alphabetic() {
                word.push(c.to_ascii_lowercase());
            } else if !word.is_empty() {
                let start = i - word.len();
                match self.words.get_mut(&word) {
                    Some(files) => files,
                    None => self.words.entry(word.clone()).or_default(),
                }
                .entry(path.to_owned())
                .or_default()
                .push(start);
                word.clear();
            }
        }
    }

    /// What `--json` must say of the index.
    pub fn json(&self) -> Value {
        let count = |files: &BTreeMap<String, Vec<usize>>| files.values().map(|p| p.len() as u64).sum::<u64>();
        let mut all: Vec<(&String, u64)> = self.words.iter().map(|(word, files)| (word, count(files))).collect();
        let occurrences: u64 = all.iter().map(|(_, n)| n).sum();
        // Stable, and in alphabetical order so far.
        all.sort_by_key(|(_, n)| Reverse(*n));
        all.truncate(20);
        json!({
            "files": self.files,
            "binary": self.binary,
            "unreadable": 0,
            "words": occurrences,
            "distinct": self.words.len(),
            "top": all,
        })
    }

    /// Compares with what `--dump` wrote; the error names the first line that differs.
    pub fn compare(&self, dump: &str) -> Result<(), String> {
        let mut theirs = dump.lines();
        let mut ours = String::new();
        for (word, files) in &self.words {
            ours.clear();
            write!(ours, "{word}\t").expect("to a string");
            for (i, (path, positions)) in files.iter().enumerate() {
                write!(ours, "{}{path}:", if i == 0 { "" } else { ";" }).expect("to a string");
                for (i, at) in positions.iter().enumerate() {
                    write!(ours, "{}{at}", if i == 0 { "" } else { "," }).expect("to a string");
                }
            }
            let theirs = theirs.next().unwrap_or("");
            if theirs != ours {
                let short = |line: &str| line.chars().take(300).collect::<String>();
                return Err(format!("the word {word:?}:\n  expected {}\n  found    {}", short(&ours), short(theirs)));
            }
        }
        theirs.next().map_or(Ok(()), |line| Err(format!("one more word: {}", &line[..line.len().min(300)])))
    }
}
