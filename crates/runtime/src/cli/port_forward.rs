//! `tegmen port-forward`: reach TCP ports of a running container from the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use lexopt::{Arg, Parser};
use sandbox::request::{Reply, Request};

use super::{Globals, show, text, usage};
use crate::container::lifecycle::Known;
use crate::failure::{Failure, While};
use crate::forward::{self, Port};

const HELP: &str = "\
Listens on ports of the host and passes each connection on to a port of a running container, as if its client were inside: the port is
that of a loopback address there. Runs until it is interrupted or the container ends.

usage: tegmen port-forward [OPTION...] ID [HOST:]PORT...

  HOST is the port on the host (default: the same; 0: any free one), PORT the one inside.

      --address ADDRESS       listen on this address of the host (default: 127.0.0.1)
  -h, --help                  print this
";

pub fn run(globals: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let mut address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (mut id, mut ports) = (None, Vec::new());
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("address") => {
                let given = text(parser.value().map_err(usage)?)?;
                let wrong = |_| Failure::own(format!("address '{given}': not an IP address"));
                address = given.parse().map_err(wrong)?;
            }
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            Arg::Value(value) if id.is_none() => id = Some(text(value)?),
            Arg::Value(value) => ports.push(pair(&text(value)?)?),
            other => return Err(usage(other.unexpected())),
        }
    }
    let id = id.ok_or_else(|| Failure::own("a container ID is needed"))?;
    if ports.is_empty() {
        return Err(Failure::own(
            "a port is needed: tegmen port-forward ID [HOST:]PORT...",
        ));
    }
    forward(Known::find(globals, &id)?, id, address, &ports)
}

/// `[HOST:]PORT`.
fn pair(spec: &str) -> Result<(u16, u16), Failure> {
    let wrong = || {
        Failure::own(format!(
            "port '{spec}': not of the form [HOST:]PORT with numbers up to 65535"
        ))
    };
    let number = |part: &str| part.parse::<u16>().map_err(|_| wrong());
    let (host, inside) = match spec.split_once(':') {
        Some((host, inside)) => (number(host)?, number(inside)?),
        None => (number(spec)?, number(spec)?),
    };
    if inside == 0 {
        Err(wrong())
    } else {
        Ok((host, inside))
    }
}

fn forward(known: Known, id: String, address: IpAddr, ports: &[(u16, u16)]) -> Result<u8, Failure> {
    let request = Request::List {
        container: id.clone(),
    };
    if !matches!(known.ask(&request)?, Reply::Processes(_)) {
        return Err(Failure::own("the sandbox gave no list"));
    }
    // Open for as long as the sandbox lives.
    let control = known.connect()?;
    let mut bound = Vec::new();
    for (host, inside) in ports {
        let listener = TcpListener::bind(SocketAddr::new(address, *host))
            .while_doing(&format!("listening on port {host} of {address}"))?;
        bound.push(Port {
            listener,
            inside: *inside,
        });
    }
    for Port { listener, inside } in &bound {
        let own = listener.local_addr().while_doing("own address")?;
        show(&format!("{own} -> port {inside} of {id}\n"));
    }
    // Nothing of it may be open later on.
    drop(known);
    forward::run(control, id, bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_pairs_or_the_same_twice() {
        assert_eq!(pair("8080:80").unwrap(), (8080, 80));
        assert_eq!(pair("80").unwrap(), (80, 80));
        assert_eq!(pair("0:80").unwrap(), (0, 80));
        for wrong in ["", ":", "80:", ":80", "1:2:3", "65536", "8080:0", "0", "http"] {
            assert!(pair(wrong).is_err(), "{wrong}");
        }
    }
}
