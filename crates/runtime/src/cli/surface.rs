//! `tegmen surface`: every host call that the sentry may make.

use host::surface::{Needs, RELAY, SENTRY, Scope};
use lexopt::Parser;

use super::{Globals, only_flags, show};
use crate::failure::Failure;

const HELP: &str = "\
Prints every host call that the processes of a sandbox may make, with the allowed arguments and the reason.

usage: tegmen surface
";

/// The processes outside of the jail.
const MONITORS: &str = "
The monitor of a container and the command itself are outside of the jail and have no filter: they read packets of bounded length from
the sentry. The monitor has no capability and no descriptor but its sockets.
";

pub fn run(_: &Globals, parser: Parser) -> Result<u8, Failure> {
    if only_flags(parser, HELP, &[])?.is_none() {
        return Ok(0);
    }
    let (least, most) = (
        count(Needs::default()),
        count(Needs {
            volume: true,
            writable_volume: true,
            ..Needs::default()
        }),
    );
    let control = count(Needs {
        control: true,
        ..Needs::default()
    }) - least;
    let mut text = format!(
        "The sentry: {least} calls, with a writable volume {most}, {control} more in containers. Anything else, or other arguments, ends the sandbox.\n\n"
    );
    for row in SENTRY {
        let scope = match row.scope {
            Scope::Always => "",
            Scope::Volume => "volumes",
            Scope::WritableVolume => "writable",
            Scope::ReadOnly => "read-only",
            Scope::Controlled => "containers",
        };
        text.push_str(&format!(
            "  {:<18}{scope:<12}{:<58}{}\n",
            row.name,
            row.conditions(),
            row.reason
        ));
    }
    let helper = sandbox::surface::helper_calls();
    for (whose, calls) in [
        (
            "The memory helper of a guest process, on the sentry's order",
            &helper[..],
        ),
        ("Guest threads", &sandbox::surface::GUEST_CALLS[..]),
    ] {
        text.push_str(&format!(
            "\n{whose}: {} calls. Anything else is trapped.\n\n",
            calls.len()
        ));
        for call in calls {
            text.push_str(&format!(
                "  {:<30}{:<58}{}\n",
                call.name, call.conditions, call.reason
            ));
        }
    }
    text.push_str(&format!(
        "\nThe relay of a sandbox's network ('tegmen do --network=sandbox'), a process in the host's network with nothing else of the host: \
         {} calls. Anything else ends it.\n\n",
        RELAY.len()
    ));
    for row in RELAY {
        text.push_str(&format!(
            "  {:<30}{:<58}{}\n",
            row.name,
            row.conditions(),
            row.reason
        ));
    }
    text.push_str(MONITORS);
    show(&text);
    Ok(0)
}

/// Calls that the host carries out for such a sandbox.
fn count(needs: Needs) -> usize {
    needs.rows().filter(|row| row.is_allowed()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surface_does_not_grow_unseen() {
        assert_eq!(
            (
                sandbox::surface::helper_calls().len(),
                sandbox::surface::GUEST_CALLS.len()
            ),
            (18, 3)
        );
        let volume = Needs {
            volume: true,
            writable_volume: true,
            control: false,
        };
        let container = Needs {
            control: true,
            ..volume
        };
        let counts = [Needs::default(), volume, container].map(count);
        assert_eq!(counts, [57, 70, 72]);
        assert_eq!(RELAY.len(), 24);
    }
}
