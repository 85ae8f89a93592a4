//! The generated files: where they lie, what they should hold, whether they do.

use crate::asm::Fault;
use crate::table::{AARCH64, Arch, I686, X86_64};
use crate::{aarch64, rust, x86};
use std::fs;
use std::path::{Path, PathBuf};

/// A file with the text that belongs in it.
pub struct Output {
    pub name: String,
    pub text: String,
}

/// The folder of the generated files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/arch/async_preempt")
}

/// The assembly of an architecture.
pub fn assembly(arch: &Arch, fault: Fault) -> String {
    match arch.name {
        "x86_64" => x86::X86_64.assembly(fault),
        "i686" => x86::I686.assembly(fault),
        "aarch64" => aarch64::assembly(fault),
        other => unreachable!("no generator for {other}"),
    }
}

/// All files.
pub fn outputs() -> Vec<Output> {
    let file = |name: &str, text| Output { name: name.to_owned(), text };
    let asm = |arch: &Arch| file(&format!("{}.s", arch.name), assembly(arch, Fault::None));
    vec![
        asm(&X86_64),
        asm(&I686),
        asm(&AARCH64),
        file("x86_64.rs", rust::x86(&X86_64, &x86::X86_64)),
        file("i686.rs", rust::x86(&I686, &x86::I686)),
        file("aarch64.rs", rust::aarch64()),
        file("other.rs", rust::other()),
    ]
}

/// Writes all files; the error names the one that could not be written.
pub fn write(folder: &Path) -> Result<(), String> {
    let told = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| format!("{path}: {error}")
    };
    fs::create_dir_all(folder).map_err(told(folder))?;
    for output in outputs() {
        let path = folder.join(&output.name);
        fs::write(&path, output.text).map_err(told(&path))?;
    }
    Ok(())
}

/// Whether the folder holds these files as they should be, and no others; the error says what is wrong and what to do.
pub fn check(folder: &Path) -> Result<(), String> {
    let mut problems = Vec::new();
    let outputs = outputs();
    for output in &outputs {
        match fs::read_to_string(folder.join(&output.name)) {
            Ok(text) if text == output.text => {}
            Ok(text) => {
                let line = text.lines().zip(output.text.lines()).take_while(|(a, b)| a == b).count() + 1;
                problems.push(format!("{}: line {line} is not what the table says", output.name));
            }
            Err(error) => problems.push(format!("{}: {error}", output.name)),
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let generated = outputs.iter().any(|output| output.name == name);
        // The folder may hold hand-written Rust; assembly is all generated.
        if name.ends_with(".s") && !generated {
            problems.push(format!("{name}: not generated"));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(format!("{}\nrun `cargo run -p mkpreempt` and look at the difference", problems.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_files_are_current() {
        check(&folder()).unwrap();
    }

    #[test]
    fn a_changed_a_missing_and_a_foreign_file_are_noticed() {
        let folder = std::env::temp_dir().join(format!("mkpreempt-{}", std::process::id()));
        write(&folder).unwrap();
        assert_eq!(check(&folder), Ok(()));
        let text = fs::read_to_string(folder.join("x86_64.s")).unwrap();
        fs::write(folder.join("x86_64.s"), text.replacen("push r15", "push r14", 1)).unwrap();
        fs::remove_file(folder.join("aarch64.s")).unwrap();
        fs::write(folder.join("sparc.s"), "").unwrap();
        let problems = check(&folder).unwrap_err();
        fs::remove_dir_all(&folder).unwrap();
        assert!(problems.contains("x86_64.s: line "), "{problems}");
        assert!(problems.contains("aarch64.s: "), "{problems}");
        assert!(problems.contains("sparc.s: not generated"), "{problems}");
        assert!(!problems.contains("i686.s"), "{problems}");
    }
}
