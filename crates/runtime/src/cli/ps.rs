//! `tegmen ps`: list the processes of a container.

use lexopt::{Arg, Parser};
use sandbox::request::{Reply, Request};

use super::list::is_json;
use super::{Globals, show, text, usage, value};
use crate::container::lifecycle::Known;
use crate::container::state::Status;
use crate::failure::Failure;

const HELP: &str = "\
Lists the processes of a container: as a table those inside, as JSON the ids of the host's processes.

usage: tegmen ps [OPTION...] ID

  -f, --format table|json     in this form (default: table)
  -h, --help                  print this
";

pub fn run(globals: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let (mut json, mut id) = (false, None);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("format") | Arg::Short('f') => json = is_json(&value(&mut parser)?)?,
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            Arg::Value(value) if id.is_none() => id = Some(text(value)?),
            // Options of ps(1), which other runtimes pass on.
            Arg::Value(_) => {}
            other => return Err(usage(other.unexpected())),
        }
    }
    let id = id.ok_or_else(|| Failure::own("a container ID is needed"))?;
    let known = Known::find(globals, &id)?;
    if json {
        let pids = known.host_processes();
        show(&format!("{}\n", serde_json::json!(pids)));
        return Ok(0);
    }
    let processes = match known.status {
        Status::Stopped => Vec::new(),
        _ => match known.ask(&Request::List { container: id })? {
            Reply::Processes(processes) => processes,
            _ => return Err(Failure::own("the sandbox gave no list")),
        },
    };
    let mut table = format!("{:>7}{:>8}{:>8} S {:>4} NAME\n", "UID", "PID", "PPID", "NLWP");
    for process in processes {
        table.push_str(&format!(
            "{:>7}{:>8}{:>8} {} {:>4} {}\n",
            process.uid, process.pid, process.parent, process.state, process.threads, process.name
        ));
    }
    show(&table);
    Ok(0)
}
