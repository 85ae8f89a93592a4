//! What must not compile, with the message that a user gets.

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/fail/*.rs");
}
