//! From paths to words: walks folders and reads each file on a goroutine of its own.
//!
//! Whatever may wait for the disk goes through [`blocking`]: the goroutine keeps its thread and lends its P to
//! others meanwhile. Two bounds hold: goroutines that exist (each may hold the text of a file), and files that are
//! open (`ulimit -n` may be small).

use crate::index::Index;
use crate::words::words;
use std::fs::{self, FileType};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tricolor::chan::{Receiver, Sender, bounded};
use tricolor::sync::Mutex;
use tricolor::{Gc, blocking, poll, spawn};

const IN_FLIGHT: usize = 64;
const OPEN: usize = 16;
/// Words that are sorted and inserted together. With more, a stop of the world would have to wait longer.
const BATCH: usize = 4096;

/// What became of the files.
#[derive(Clone, Copy, Default)]
pub struct Tally {
    /// Files in the index.
    pub files: u64,
    /// Files that are not UTF-8.
    pub binary: u64,
    /// What could not be read: files, folders, missing paths, broken links, devices and the like.
    pub unreadable: u64,
    /// Links that lead somewhere, and were not followed.
    pub links: u64,
}

impl Tally {
    /// Whether something was there to read, and none of it could be.
    pub fn nothing_could_be_read(&self) -> bool {
        self.unreadable > 0 && self.files + self.binary == 0
    }
}

/// What the goroutines of one round share. It lies in an `Arc`, so no `Gc` may be in it.
struct Shared {
    tally: Mutex<Tally>,
    in_flight: Tickets,
    open: Tickets,
    /// Whether to name on stderr what is left out.
    loud: bool,
}

/// Adds every file at and below `paths` to the index; without paths, those below `.` but for `target` and dot
/// entries. Returns when all are in it.
pub fn index_all(index: Gc<Index>, paths: &[PathBuf], loud: bool) -> Tally {
    let (in_flight, open) = (Tickets::new(IN_FLIGHT), Tickets::new(OPEN));
    let shared = Arc::new(Shared { tally: Mutex::new(Tally::default()), in_flight, open, loud });
    let choosy = paths.is_empty();
    let paths = if choosy { &[PathBuf::from(".")] } else { paths };
    // Follows links: one that is named on the command line counts as what it leads to, as for `grep -r`.
    let kind_of = |path: &PathBuf| blocking(path.clone(), |path| Ok(fs::metadata(path)?.file_type()));
    let mut todo: Vec<_> = paths.iter().rev().map(|path| (path.clone(), kind_of(path))).collect();
    while let Some((path, kind)) = todo.pop() {
        match kind {
            Ok(kind) if kind.is_dir() => match blocking((path.clone(), choosy), list) {
                Ok(entries) => todo.extend(entries),
                Err(error) => shared.unreadable(&path, &error),
            },
            Ok(kind) if kind.is_file() => {
                shared.in_flight.take();
                let shared = shared.clone();
                spawn(move || {
                    index_file(index, path, &shared);
                    shared.in_flight.give();
                });
            }
            Ok(kind) if kind.is_symlink() => match kind_of(&path) {
                Ok(_) => shared.tally.with(|t| t.links += 1),
                Err(error) => shared.unreadable(&path, &io::Error::new(error.kind(), format!("broken link: {error}"))),
            },
            Ok(_) => shared.unreadable(&path, &io::Error::other("neither a file nor a folder")),
            Err(error) => shared.unreadable(&path, &error),
        }
    }
    // Who has all tickets knows that no goroutine has one.
    (0..IN_FLIGHT).for_each(|_| shared.in_flight.take());
    shared.tally.with(|tally| *tally)
}

/// What is in a folder; `choosy`: but for `target` and dot entries.
fn list((folder, choosy): (PathBuf, bool)) -> io::Result<Vec<(PathBuf, io::Result<FileType>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)? {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                if !choosy || (name != "target" && !name.as_encoded_bytes().starts_with(b".")) {
                    found.push((entry.path(), entry.file_type()));
                }
            }
            Err(error) => found.push((folder.clone(), Err(error))),
        }
    }
    Ok(found)
}

/// Reads one file and adds its words.
fn index_file(index: Gc<Index>, path: PathBuf, shared: &Shared) {
    shared.open.take();
    let text: io::Result<String> = blocking(path.clone(), |path| {
        let mut text = fs::read_to_string(path)?;
        text.make_ascii_lowercase();
        Ok(text)
    });
    shared.open.give();
    match text {
        Ok(text) => {
            add_text(index, Gc::from_text(&path.to_string_lossy()), &text);
            shared.tally.with(|t| t.files += 1);
        }
        // What `read_to_string` says of bytes that are not UTF-8.
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            shared.tally.with(|t| t.binary += 1);
            shared.name(&path, "binary, skipped");
        }
        Err(error) => shared.unreadable(&path, &error),
    }
}

/// Adds the words of a text that is in lower case.
fn add_text(index: Gc<Index>, file: Gc<str>, text: &str) {
    let mut words = words(text);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        batch.extend(words.by_ref().take(BATCH));
        if batch.is_empty() {
            return;
        }
        index.add(file, &mut batch);
        batch.clear();
        poll();
    }
}

impl Shared {
    fn unreadable(&self, path: &Path, why: &io::Error) {
        self.tally.with(|t| t.unreadable += 1);
        self.name(path, &why.to_string());
    }

    fn name(&self, path: &Path, what: &str) {
        if self.loud {
            let line = format!("word_index: {}: {what}", path.display());
            blocking(line, |line| eprintln!("{line}"));
        }
    }
}

/// A number of tickets to take and give back: a channel, used as a semaphore.
struct Tickets(Sender<()>, Receiver<()>);

impl Tickets {
    fn new(number: usize) -> Tickets {
        let (sender, receiver) = bounded(number);
        Tickets(sender, receiver)
    }

    /// Waits until there is one.
    fn take(&self) {
        self.0.send(()).expect("the receiver is here");
    }

    fn give(&self) {
        self.1.recv().expect("the sender is here");
    }
}
