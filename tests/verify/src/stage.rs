//! What a stage is made of.

use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::verdict::Expect;
use crate::workspace::Workspace;

/// How much is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Before every commit.
    Commit,
    /// Everything, before an issue is called resolved.
    Long,
}

impl Tier {
    /// As in `TRICOLOR_TIER`, by which tests choose their durations.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Commit => "commit",
            Tier::Long => "long",
        }
    }

    /// After this time a stage counts as hanging.
    pub fn stage_limit(self) -> Duration {
        match self {
            Tier::Commit => crate::COMMIT_BUDGET,
            Tier::Long => Duration::from_secs(3 * 60 * 60),
        }
    }
}

/// One stage of the verification: a row of the table in `stages.rs`.
pub struct Stage {
    pub name: &'static str,
    pub about: &'static str,
    /// The smallest tier that it belongs to.
    pub tier: Tier,
    /// It runs beside the others, with what they leave of the processors: it builds and searches, and how long that takes is
    /// no part of its result.
    pub beside: bool,
    /// Its steps; they are independent, all of them run.
    pub plan: fn(&Workspace) -> Plan,
}

/// The steps of a stage, or why there are none.
pub type Plan = Result<Vec<Step>, Obstacle>;

/// Why a stage cannot run.
#[derive(Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// This machine lacks something: the stage is skipped.
    Machine(String),
    /// The project lacks something: the stage has failed.
    Project(String),
}

/// One command of a stage, and what it must show.
pub struct Step {
    pub command: Command,
    pub expect: Expect,
}

impl Step {
    pub fn new(command: Command, expect: Expect) -> Step {
        Step { command, expect }
    }

    /// The step with one more environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Step {
        self.command.env(name, value);
        self
    }
}
