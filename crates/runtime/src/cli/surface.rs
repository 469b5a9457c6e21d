//! `tegmen surface`: every host call that the sentry may make.

use host::surface::SENTRY;
use lexopt::Parser;

use super::{only_flags, show};
use crate::failure::Failure;

const HELP: &str = "\
Prints every host call that the processes of a sandbox may make, with the allowed arguments and the reason.

usage: tegmen surface
";

/// Allowed calls that the issue of the second wall sets as the bound for the sentry.
#[cfg(test)]
const BOUND: usize = 70;

pub fn run(parser: Parser) -> Result<u8, Failure> {
    if only_flags(parser, HELP, &[])?.is_none() {
        return Ok(0);
    }
    let allowed = SENTRY.iter().filter(|row| row.is_allowed()).count();
    let mut text =
        format!("The sentry: {allowed} calls. Anything else, or other arguments, ends the sandbox.\n\n");
    for row in SENTRY {
        text.push_str(&format!(
            "  {:<20}{:<52}{}
",
            row.name,
            row.conditions(),
            row.reason
        ));
    }
    show(&text);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surface_does_not_grow_unseen() {
        let allowed = SENTRY.iter().filter(|row| row.is_allowed()).count();
        assert!(allowed <= BOUND, "{allowed} calls; the bound is {BOUND}");
    }
}
