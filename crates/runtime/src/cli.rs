//! The command line: a table of verbs, each with its own file.

mod check;
mod r#do;
mod surface;
mod syscalls;

use std::ffi::OsString;
use std::io::Write;

use lexopt::{Arg, Parser};

use crate::failure::Failure;

/// A verb of the command line.
struct Verb {
    name: &'static str,
    about: &'static str,
    run: fn(Parser) -> Result<u8, Failure>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "do",
        about: "run a command in a fresh sandbox",
        run: r#do::run,
    },
    Verb {
        name: "check",
        about: "test what this host can give to a sandbox",
        run: check::run,
    },
    Verb {
        name: "surface",
        about: "list every host call that the sentry may make",
        run: surface::run,
    },
    Verb {
        name: "syscalls",
        about: "list every system call that guests may make",
        run: syscalls::run,
    },
];

/// Parses the arguments (the program's name first) and runs the verb. Returns the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<u8, Failure> {
    let mut parser = Parser::from_iter(args);
    match parser.next().map_err(usage)? {
        None => Err(Failure::own("a verb is needed; try 'tegmen --help'")),
        Some(Arg::Long("help") | Arg::Short('h')) => {
            show(&help());
            Ok(0)
        }
        Some(Arg::Long("version") | Arg::Short('V')) => {
            println!("tegmen {}", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
        Some(Arg::Value(name)) => {
            let name = name.to_string_lossy();
            let verb = VERBS.iter().find(|verb| verb.name == name);
            let verb =
                verb.ok_or_else(|| Failure::own(format!("unknown verb '{name}'; try 'tegmen --help'")))?;
            (verb.run)(parser)
        }
        Some(other) => Err(usage(other.unexpected())),
    }
}

/// Prints to standard output. A reader that has gone away (`| head`) is no error.
fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// A wrong use of the command line as a failure.
fn usage(error: lexopt::Error) -> Failure {
    Failure::own(format!("{error}; try 'tegmen --help'"))
}

fn help() -> String {
    let mut text = String::from(
        "Runs untrusted programs on a kernel of their own.\n\nusage: tegmen VERB [OPTION...]\n\n",
    );
    for verb in VERBS {
        text.push_str(&format!("  {:<10}{}\n", verb.name, verb.about));
    }
    text.push_str("\n'tegmen VERB --help' tells the options of a verb. '--version' prints the version.\n");
    text
}

/// For verbs without operands: whether one of `flags` was given, after dealing with `--help`.
/// Returns `None` when the help was printed.
fn only_flags(mut parser: Parser, help: &str, flags: &[&str]) -> Result<Option<Vec<String>>, Failure> {
    let mut given = Vec::new();
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => {
                show(help);
                return Ok(None);
            }
            Arg::Long(name) if flags.contains(&name) => given.push(name.to_string()),
            other => return Err(usage(other.unexpected())),
        }
    }
    Ok(Some(given))
}
