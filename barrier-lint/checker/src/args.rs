//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

/// Walks a linked program from every function that promises "no write barrier", and prints the chain to any barrier.
///
/// Ends with status 0 if all roots are clean, 1 if one is BAD or UNKNOWN, 2 if the check cannot be made.
#[derive(Parser, Clone, Debug)]
#[command(name = "cargo barrier-lint", version)]
pub struct Options {
    /// A linked program, built with `--cfg barrier_lint`, line tables and symbols; instead of building one
    #[arg(value_name = "PATH", conflicts_with_all = ["bin", "example", "test"])]
    pub path: Option<PathBuf>,
    /// Build and check this binary (may be repeated, as the next two)
    #[arg(long, value_name = "NAME")]
    pub bin: Vec<String>,
    /// Build and check this example
    #[arg(long, value_name = "NAME")]
    pub example: Vec<String>,
    /// Build and check this integration test
    #[arg(long, value_name = "NAME")]
    pub test: Vec<String>,
    /// The package that it belongs to
    #[arg(long, short, value_name = "NAME")]
    pub package: Option<String>,
    /// Cargo features to build it with
    #[arg(long, value_name = "LIST")]
    pub features: Option<String>,
    /// Profile to build it with; the `lint` profile is `release` with line tables and symbols
    #[arg(long, value_name = "NAME", default_value = "lint")]
    pub profile: String,
    /// A forbidden function, by its symbol (may be repeated); for write barriers `gc_write_barrier`
    #[arg(long, value_name = "SYMBOL")]
    pub forbid: Vec<String>,
    /// The section with the records
    #[arg(long, value_name = "SECTION", default_value = BARRIERS)]
    pub records: String,
    /// A list of functions that the walk does not enter (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub stop: Vec<PathBuf>,
    /// A list of indirect calls and of taken addresses that are no danger (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub allow: Vec<PathBuf>,
    /// Check a program without canaries, too
    #[arg(long)]
    pub without_canaries: bool,
    /// Fail if a marked function is not in the program: a generic one without instances, or a method nobody calls
    #[arg(long, conflicts_with = "explain")]
    pub complete: bool,
    /// Instead, add up the stack frames along every path from each `#[nosplit]` function
    #[arg(long, conflicts_with_all = ["explain", "json", "ranges", "complete"])]
    pub stack: bool,
    /// Instead, compare the tables of unsafe-point ranges with the code
    #[arg(long, conflicts_with_all = ["explain", "json", "complete"])]
    pub ranges: bool,
    /// Show what the walk sees of one function, instead of checking
    #[arg(long, value_name = "FUNCTION")]
    pub explain: Option<String>,
    /// Print one JSON object per program
    #[arg(long, conflicts_with = "explain")]
    pub json: bool,
}

/// The section with the records of this crate's attributes.
const BARRIERS: &str = "barrier_lint";

impl Options {
    /// Reads a command line. As an installed subcommand of cargo's this program is called with its own name first.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, clap::Error> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        if arguments.get(1).is_some_and(|a| a == "barrier-lint") {
            arguments.remove(1);
        }
        let options = Options::try_parse_from(arguments)?;
        if options.path.is_none() && options.targets().is_empty() {
            return Err(<Options as clap::CommandFactory>::command().error(
                clap::error::ErrorKind::MissingRequiredArgument,
                "which program? Give --bin, --example or --test, or the PATH of a linked program",
            ));
        }
        Ok(options)
    }

    /// The forbidden functions, by their symbols.
    pub fn forbidden(&self) -> Vec<String> {
        match self.forbid.is_empty() && self.records == BARRIERS {
            true => vec!["gc_write_barrier".to_owned()],
            false => self.forbid.clone(),
        }
    }

    /// What to build: kind and name.
    pub fn targets(&self) -> Vec<(&'static str, &str)> {
        let kinds = [("bin", &self.bin), ("example", &self.example), ("test", &self.test)];
        kinds.into_iter().flat_map(|(kind, names)| names.iter().map(move |name| (kind, name.as_str()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, clap::Error> {
        Options::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn both_forms_of_the_command_mean_the_same() {
        for line in ["cargo-barrier-lint barrier-lint --example x", "cargo-barrier-lint --example x"] {
            assert_eq!(read(line).unwrap().targets(), [("example", "x")]);
        }
    }

    #[test]
    fn a_program_must_be_named_and_only_once() {
        for line in ["cargo-barrier-lint", "cargo-barrier-lint barrier-lint", "cargo-barrier-lint a --bin b"] {
            assert_eq!(read(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
