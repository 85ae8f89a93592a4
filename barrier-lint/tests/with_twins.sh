#!/bin/sh
# A wrapper of rustc: of `implied.rs`, as trybuild passes no flags on, and of the workspace's own crates.
exec "$@" --cfg barrier_lint_twin
