//! `cargo stress`: provokes what a runtime can get wrong, says what broke and how to see it again.
//!
//! Two processes. The *watcher* ([`watch`]) is the program that the user starts; it draws what is to be done from the seed
//! ([`plan`]), and starts itself again as the *watched* process ([`child`]), which runs the runtime. They share a page of
//! counts ([`page`]), and the watched one tells what it sees in lines of JSON ([`samples`]). Workers ([`workers`]) each do
//! one thing and compare the outcome with what it must be: a wrong answer ends the watched process at once, a crash or a
//! hang is seen from outside. [`report`] is what the watcher makes of it.

mod charts;
mod child;
mod cli;
mod crash;
pub mod faults;
mod html;
mod kind;
mod outside;
pub mod page;
pub mod plan;
mod progress;
pub mod report;
pub mod samples;
pub mod watch;
mod workers;

pub use cli::main;
pub use kind::Kind;
