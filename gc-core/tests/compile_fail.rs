//! What must not compile, with the message that a user gets, and what must.

#[test]
fn misuse_does_not_compile() {
    // Nobody debugs these, nor what they are linked with.
    // SAFETY: the only test of this program, and no thread of its own yet.
    unsafe { std::env::set_var("CARGO_PROFILE_DEV_DEBUG", "0") };
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/fail/*.rs");
    cases.pass("tests/pass/*.rs");
}
