//! As `compile_fail.rs`, with twins: what the compiler implies is refused, and what must pass still does.

#[test]
fn pass_and_fail_with_twins() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../target"), Into::into);
    // SAFETY: the only test of this program, and no thread of its own yet.
    unsafe {
        // Nobody debugs these, nor what they are linked with.
        std::env::set_var("CARGO_PROFILE_DEV_DEBUG", "0");
        std::env::set_var("RUSTC_WRAPPER", here.join("tests/with_twins.sh"));
        std::env::set_var("CARGO_TARGET_DIR", target.join("twin"));
    }
    let t = trybuild::TestCases::new();
    t.pass("tests/pass/*.rs");
    t.pass("tests/escapes/*.rs");
    t.compile_fail("tests/implied/*.rs");
}
