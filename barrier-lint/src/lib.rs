//! Types and attributes that forbid write barriers (placeholder; see barrier-lint's own work).
