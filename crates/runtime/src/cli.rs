//! The command line: a table of verbs, each with its own file.

mod check;
mod create;
mod delete;
mod r#do;
mod events;
mod exec;
mod features;
mod globals;
mod install;
mod kill;
mod list;
mod pause;
mod port_forward;
mod ps;
mod run;
mod spec;
mod start;
mod state;
mod surface;
mod syscalls;
mod update;
mod wait;

use std::ffi::OsString;
use std::io::Write;

use lexopt::{Arg, Parser};

use crate::failure::Failure;
pub use globals::Globals;

/// A verb of the command line.
struct Verb {
    name: &'static str,
    about: &'static str,
    run: fn(&Globals, Parser) -> Result<u8, Failure>,
    /// Of an OCI runtime's: the exit status of its own errors, which go to the engine's log, too. `None`: not one of those.
    oci: Option<u8>,
}

macro_rules! verbs {
    ($($kind:ident $name:literal $about:literal $run:path;)*) => {
        &[$(Verb { name: $name, about: $about, run: $run, oci: verbs!($kind) }),*]
    };
    (own) => { None };
    (oci) => { Some(1) };
    // What runc exits with, so that it cannot be taken for the command's.
    (oci_command) => { Some(255) };
}

const VERBS: &[Verb] = verbs! {
    own "do" "run a command in a fresh sandbox" r#do::run;
    own "check" "test what this host can give to a sandbox" check::run;
    own "surface" "list every host call that the sentry may make" surface::run;
    own "syscalls" "list every system call that guests may make" syscalls::run;
    own "install" "enter tegmen into Docker's configuration" install::run;
    own "uninstall" "take it out again" install::uninstall;
    oci "create" "make a container from a bundle" create::run;
    oci "start" "start a container that was created" start::run;
    oci "run" "make and start a container" run::run;
    oci_command "exec" "run another process in a container" exec::run;
    oci "state" "print the state of a container" state::run;
    oci "kill" "send a signal to a container" kill::run;
    oci "delete" "remove a container" delete::run;
    oci "list" "list containers" list::run;
    oci "port-forward" "reach TCP ports of a container from the host" port_forward::run;
    oci "ps" "list the processes of a container" ps::run;
    oci "pause" "stop every process of a container" pause::run;
    oci "resume" "let the processes of a container go on" pause::resume;
    oci "update" "change the limits of a container" update::run;
    oci "events" "print figures of a container" events::run;
    oci "wait" "wait for the end of a container" wait::run;
    oci "spec" "write a config.json to start from" spec::run;
    oci "features" "print what this runtime supports" features::run;
};

/// Parses the arguments (the program's name first) and runs the verb. Returns the exit status.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Result<u8, Failure> {
    let mut parser = Parser::from_iter(args);
    let mut globals = Globals::default();
    loop {
        match parser.next().map_err(usage)? {
            None => return Err(Failure::own("a verb is needed; try 'tegmen --help'")),
            Some(Arg::Long("help") | Arg::Short('h')) => {
                show(&help());
                return Ok(0);
            }
            Some(Arg::Long("version") | Arg::Short('V' | 'v')) => {
                show(&version());
                return Ok(0);
            }
            Some(Arg::Value(name)) => return run_verb(&globals, &name.to_string_lossy(), parser),
            Some(option) => {
                let Some(option) = globals::Named::of(&option) else {
                    return Err(usage(option.unexpected()));
                };
                globals.set(option, &mut parser)?;
            }
        }
    }
}

fn run_verb(globals: &Globals, name: &str, parser: Parser) -> Result<u8, Failure> {
    let verb = VERBS.iter().find(|verb| verb.name == name);
    let verb = verb.ok_or_else(|| Failure::own(format!("unknown verb '{name}'; try 'tegmen --help'")))?;
    (verb.run)(globals, parser).map_err(|failure| {
        let Some(status) = verb.oci else {
            return failure;
        };
        globals.error(&failure.message);
        Failure { status, ..failure }
    })
}

/// As container engines read it from runtimes: name, commit, version of the specification.
fn version() -> String {
    format!(
        "tegmen version {}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        features::SPEC_VERSION
    )
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
        "Runs untrusted programs on a kernel of their own.\n\nusage: tegmen [GLOBAL OPTION...] VERB [OPTION...]\n\n",
    );
    for verb in VERBS {
        text.push_str(&format!("  {:<13}{}\n", verb.name, verb.about));
    }
    text.push_str(globals::HELP);
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

/// The only operand of a verb that has no options of its own: a container's id. `None` when the help was printed.
fn only_id(mut parser: Parser, help: &str) -> Result<Option<String>, Failure> {
    let mut id = None;
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => {
                show(help);
                return Ok(None);
            }
            Arg::Value(value) if id.is_none() => id = Some(text(value)?),
            other => return Err(usage(other.unexpected())),
        }
    }
    id.map(Some)
        .ok_or_else(|| Failure::own("a container ID is needed"))
}

/// An argument that must be text.
fn text(value: OsString) -> Result<String, Failure> {
    value
        .into_string()
        .map_err(|value| Failure::own(format!("'{}' is not UTF-8", value.to_string_lossy())))
}

/// An option's value that must be text.
fn value(parser: &mut Parser) -> Result<String, Failure> {
    text(parser.value().map_err(usage)?)
}

/// An option's value that must be a number.
fn number(parser: &mut Parser) -> Result<u32, Failure> {
    let value = value(parser)?;
    value
        .parse()
        .map_err(|_| Failure::own(format!("'{value}' is not a number")))
}
