//! What a user reads who makes a mistake: at the user's line, and with what to do.

#[test]
fn mistakes_are_told_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
