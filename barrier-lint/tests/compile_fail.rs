//! What the attributes accept and refuse. `TRYBUILD=overwrite` writes the expected errors anew.

#[test]
fn pass_and_fail() {
    // Nobody debugs these, nor what they are linked with.
    // SAFETY: the only test of this program, and no thread of its own yet.
    unsafe { std::env::set_var("CARGO_PROFILE_DEV_DEBUG", "0") };
    let t = trybuild::TestCases::new();
    t.pass("tests/pass/*.rs");
    // What nobody refuses; see the list there.
    t.pass("tests/escapes/*.rs");
    t.compile_fail("tests/fail/*.rs");
}
