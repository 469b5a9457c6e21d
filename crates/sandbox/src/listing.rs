//! The system call table as text: for `tegmen syscalls` and docs/syscalls.md.

use std::fmt::Write;

use kernel::syscall::{Row, Support, rows};

/// A line per call: number, name, support.
pub fn plain() -> String {
    let mut text = String::new();
    for row in rows() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>3}  {:<24} {}", row.nr, row.name, words(row));
    }
    let _ = writeln!(text, "\n{}", totals());
    text
}

/// The page docs/syscalls.md.
pub fn markdown() -> String {
    let mut text = String::from(
        "# System calls of guests\n\n\
         Made from the kernel's own table by `tegmen syscalls --markdown`; a test keeps this page current.\n\
         *full*: what the man page documents; *partial*: works, but for what the text says; otherwise the error that the call answers.\n\n",
    );
    let _ = writeln!(text, "{}\n\n| nr | call | support |\n|---:|---|---|", totals());
    for row in rows() {
        let _ = writeln!(text, "| {} | `{}` | {} |", row.nr, row.name, words(row));
    }
    text
}

fn words(row: &Row) -> String {
    match row.support {
        Support::Full => "full".into(),
        Support::Partial(missing) => format!("partial: {missing}"),
        Support::Missing(errno) => format!("missing: {errno}"),
    }
}

fn totals() -> String {
    let (mut full, mut partial, mut missing) = (0, 0, 0);
    for row in rows() {
        match row.support {
            Support::Full => full += 1,
            Support::Partial(_) => partial += 1,
            Support::Missing(_) => missing += 1,
        }
    }
    format!(
        "{} calls: {full} full, {partial} partial, {missing} missing.",
        full + partial + missing
    )
}
