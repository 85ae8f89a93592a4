#!/bin/sh
# RUSTC_WRAPPER of `implied.rs`: trybuild passes no flags on.
exec "$@" --cfg barrier_lint_twin
