//! `tegmen surface`: every host call that the sentry may make.

use host::surface::{FORWARD, Needs, RELAY, Row, SENTRY, Scope, WAITING, Waits};
use lexopt::Parser;

use super::{Globals, only_flags, show};
use crate::failure::Failure;

const HELP: &str = "\
Prints every host call that the processes of a sandbox may make, with the allowed arguments and the reason.

usage: tegmen surface
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
    let of_host = |row: &&Row| row.scope == Scope::HostNetwork;
    for row in SENTRY.iter().filter(|row| !of_host(row)) {
        text.push_str(&line(row));
    }
    text.push_str(&format!(
        "\nThe sentry with '--network=host', in the host's network namespace (never without that option): {} calls more.\n\n",
        SENTRY.iter().filter(of_host).count() + 1
    ));
    for row in SENTRY.iter().filter(of_host) {
        text.push_str(&line(row));
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
        text.push_str(&line(row));
    }
    text.push_str(&format!(
        "\n'tegmen port-forward', a process in the host's network with its listeners and one connection to the sandbox: {} calls. \
         Anything else ends it.\n\n",
        FORWARD.len()
    ));
    for row in FORWARD {
        text.push_str(&line(row));
    }
    text.push_str(&format!(
        "\nOutside of the jail, without capabilities: the monitor of a container {} calls, 'do' and 'exec' while they wait {}. Anything \
         else ends them, and with them the container or process.\n\n",
        Waits::Monitor.rows().count(),
        Waits::Command.rows().count()
    ));
    for row in WAITING {
        text.push_str(&line(row));
    }
    show(&text);
    Ok(0)
}

/// A row as it is printed.
fn line(row: &Row) -> String {
    let scope = match row.scope {
        Scope::Always => "",
        Scope::Volume => "volumes",
        Scope::WritableVolume => "writable",
        Scope::ReadOnly => "read-only",
        Scope::Controlled => "containers",
        Scope::HostNetwork => "host network",
        Scope::Accepting => "containers",
        Scope::Command => "commands",
        Scope::Monitor => "monitors",
    };
    format!(
        "  {:<18}{scope:<12}{:<58}{}\n",
        row.name,
        row.conditions(),
        row.reason
    )
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
            (19, 4)
        );
        let volume = Needs {
            volume: true,
            writable_volume: true,
            ..Needs::default()
        };
        let container = Needs {
            control: true,
            ..volume
        };
        let shared = Needs {
            host_network: true,
            ..Needs::default()
        };
        let counts = [Needs::default(), volume, container, shared].map(count);
        assert_eq!(counts, [51, 64, 66, 64]);
        assert_eq!(RELAY.len(), 24);
        assert_eq!(FORWARD.len(), 20);
        assert_eq!(
            [Waits::Monitor, Waits::Command].map(|who| who.rows().count()),
            [25, 34]
        );
    }
}
