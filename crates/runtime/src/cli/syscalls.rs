//! `tegmen syscalls`: every system call that guests may make, and how far it is supported.

use lexopt::Parser;

use super::{Globals, only_flags, show};
use crate::failure::Failure;

const HELP: &str = "\
Prints the system calls that guests may make, and how far each is supported.

usage: tegmen syscalls [--markdown]
";

pub fn run(_: &Globals, parser: Parser) -> Result<u8, Failure> {
    let Some(flags) = only_flags(parser, HELP, &["markdown"])? else {
        return Ok(0);
    };
    let text = if flags.is_empty() {
        sandbox::listing::plain()
    } else {
        sandbox::listing::markdown()
    };
    show(&text);
    Ok(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_current() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/syscalls.md");
        let kept = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            kept == sandbox::listing::markdown(),
            "docs/syscalls.md is old: cargo run -- syscalls --markdown > docs/syscalls.md"
        );
    }
}
