//! What Tricolor costs, next to what others cost, in one run.
