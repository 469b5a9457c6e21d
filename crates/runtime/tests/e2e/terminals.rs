//! A shell in a terminal: job control, window size, raw mode, the end. Driven by tests/terminal/drive.py.

use std::process::Command;

use crate::harness::{LIMIT, have, run, tegmen_do};

#[test]
fn an_interactive_shell_behaves_as_outside() {
    if !have("python3") || !have("bash") {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/terminal/drive.py");
    let native = run(Command::new("python3").arg(script), LIMIT);
    assert_eq!(native.status, Some(0), "natively: {native:?}");
    let inside = tegmen_do(&[], &[]);
    let inside = run(
        Command::new("python3")
            .arg(script)
            .arg(inside.get_program())
            .args(inside.get_args()),
        LIMIT,
    );
    assert_eq!(inside.stdout, native.stdout, "{}", inside.stderr);
    assert_eq!(inside.status, Some(0), "{inside:?}");
}
