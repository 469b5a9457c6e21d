//! Wrong use, versions and tables: one line on standard error, and the statuses of docker and shells.

use crate::harness::{LIMIT, Outcome, run, tegmen, tegmen_do};

fn told(outcome: &Outcome) -> &str {
    let text = outcome.stderr.trim_end();
    assert!(text.starts_with("tegmen: "), "{outcome:?}");
    assert_eq!(text.lines().count(), 1, "{outcome:?}");
    text
}

#[test]
fn wrong_use_is_status_125_and_one_line() {
    for args in [
        &[][..],
        &["--bogus"],
        &["fly"],
        &["do"],
        &["do", "--bogus", "true"],
        &["do", "--rootfs", "/no/such/root", "true"],
        &["do", "--rootfs", "/etc/passwd", "true"],
        &["do", "--volume", "/no/such/dir:/mnt", "true"],
        &["do", "--debug-log", "/no/such/dir/log", "true"],
        &["do", "--user", "surely-nobody", "true"],
        &["do", "--network", "none-such", "true"],
        &["check", "extra"],
    ] {
        let outcome = run(tegmen().args(args), LIMIT);
        assert_eq!(outcome.status, Some(125), "{args:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "");
        told(&outcome);
    }
}

#[test]
fn help_and_version_are_on_standard_output() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["do", "--help"],
        &["check", "--help"],
        &["surface", "--help"],
    ] {
        let outcome = run(tegmen().args(args), LIMIT);
        assert_eq!(outcome.status, Some(0), "{args:?}");
        assert!(
            !outcome.stdout.is_empty() && outcome.stderr.is_empty(),
            "{outcome:?}"
        );
    }
}

#[test]
fn no_such_command_is_127() {
    for command in ["surely-no-such-command", "/no/such/file", "./nope"] {
        let outcome = run(&mut tegmen_do(&[], &[command]), LIMIT);
        assert_eq!(outcome.status, Some(127), "{outcome:?}");
        assert!(told(&outcome).contains(command), "{outcome:?}");
    }
}

#[test]
fn not_executable_is_126() {
    for command in ["/etc/passwd", "/etc"] {
        let outcome = run(&mut tegmen_do(&[], &[command]), LIMIT);
        assert_eq!(outcome.status, Some(126), "{outcome:?}");
        assert!(told(&outcome).contains(command), "{outcome:?}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let outcome = run(&mut tegmen_do(&["--cwd", "/no/such/dir"], &["true"]), LIMIT);
    assert_eq!(outcome.status, Some(125), "{outcome:?}");
    assert!(told(&outcome).contains("/no/such/dir"), "{outcome:?}");
}

#[test]
fn the_host_check_passes_here() {
    let outcome = run(tegmen().arg("check"), LIMIT);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.stdout.contains("namespaces"));
}
