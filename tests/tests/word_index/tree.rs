//! Real files to index: the standard library's documentation as it comes with the toolchain.

use crate::program::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether all that was promised is to be shown, however long it takes.
pub fn long_tier() -> bool {
    std::env::var("TRICOLOR_TIER").is_ok_and(|tier| tier == "long")
}

/// A folder with at least `bytes` of text: the same files on every machine with this toolchain.
pub fn part(bytes: u64) -> Scratch {
    let scratch = Scratch::new("tree");
    match documentation() {
        Some(html) => copy_part(&html, &scratch, bytes),
        None => {
            eprintln!("no documentation in this toolchain: the tree is generated");
            generate(&scratch, bytes);
        }
    }
    scratch
}

/// The documentation of `std`, about 120 MB, if the toolchain has it.
pub fn documentation() -> Option<PathBuf> {
    let out = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let html = Path::new(String::from_utf8(out.stdout).ok()?.trim()).join("share/doc/rust/html/std");
    html.is_dir().then_some(html)
}

fn copy_part(from: &Path, to: &Scratch, bytes: u64) {
    let mut files = Vec::new();
    let mut folders = vec![from.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the documentation can be read") {
            let entry = entry.expect("the documentation can be read");
            if entry.file_type().expect("a type").is_dir() { &mut folders } else { &mut files }.push(entry.path());
        }
    }
    files.sort();
    let mut copied = 0;
    // Not the first ones: every part of the tree is to be there.
    let step = (files.len() / 200).max(1);
    for file in (0..step).flat_map(|i| files.iter().skip(i).step_by(step)) {
        if copied >= bytes {
            return;
        }
        let content = fs::read(file).expect("the documentation can be read");
        copied += content.len() as u64;
        to.file(file.strip_prefix(from).expect("below it").to_str().expect("a UTF-8 name"), content);
    }
}

/// Text with a few frequent and many rare words, the same in every run.
fn generate(to: &Scratch, bytes: u64) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut written = 0;
    for i in 0.. {
        if written >= bytes {
            return;
        }
        let mut text = String::new();
        for _ in 0..random(10_000) {
            let mut word = random(20).pow(1 + random(4) as u32);
            loop {
                text.push(char::from(b"aBcdefghijKlmnopqrstuvwxyz"[(word % 26) as usize]));
                word /= 26;
                if word == 0 {
                    break;
                }
            }
            text.push_str([" ", "-", "\n", " ünï ", "7"][random(5) as usize]);
        }
        written += text.len() as u64;
        to.file(&format!("{}/{i}.txt", i % 17), text);
    }
}
