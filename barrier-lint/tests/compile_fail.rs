//! What the attributes accept and refuse. `TRYBUILD=overwrite` writes the expected errors anew.

#[test]
fn pass_and_fail() {
    let t = trybuild::TestCases::new();
    t.pass("tests/pass/*.rs");
    // What nobody refuses; see the list there.
    t.pass("tests/escapes/*.rs");
    t.compile_fail("tests/fail/*.rs");
}
