//! `tegmen events`: figures of a container's control group, once or again and again.

use std::thread::sleep;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser};
use serde_json::json;

use super::{Globals, show, usage};
use crate::container::lifecycle::Known;
use crate::container::state::Status;
use crate::failure::Failure;

const HELP: &str = "\
Prints figures of a container as JSON, a line each, and a line when the host killed one of its processes for want of memory.

usage: tegmen events [OPTION...] ID

      --stats                 print the figures of now and end
      --interval TIME         between two lines (default 5s)
";

/// How often the end of the container and kills for want of memory are looked for.
const LOOK: Duration = Duration::from_millis(200);

pub fn run(globals: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let (mut once, mut interval, mut id) = (false, Duration::from_secs(5), None);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            Arg::Long("stats") => once = true,
            Arg::Long("interval") => {
                let text = parser.value().map_err(usage)?.to_string_lossy().into_owned();
                interval =
                    time(&text).ok_or_else(|| Failure::own("duration interval must be greater than 0"))?;
            }
            Arg::Value(value) if id.is_none() => id = Some(value.to_string_lossy().into_owned()),
            other => return Err(usage(other.unexpected())),
        }
    }
    let id = id.ok_or_else(|| Failure::own("a container's id is needed; try 'tegmen events --help'"))?;
    let known = Known::find(globals, &id)?;
    if known.status == Status::Stopped {
        return Err(Failure::own(format!("container with id {id} is not running")));
    }
    if once {
        stats(&id, &known);
        return Ok(0);
    }
    follow(globals, &id, &known, interval)
}

fn stats(id: &str, known: &Known) {
    if let Some(cgroup) = &known.saved.cgroup {
        show(&format!(
            "{}\n",
            json!({ "type": "stats", "id": id, "data": cgroup.stats() })
        ));
    }
}

fn follow(globals: &Globals, id: &str, known: &Known, interval: Duration) -> Result<u8, Failure> {
    let kills = |known: &Known| {
        known
            .saved
            .cgroup
            .as_ref()
            .map_or(0, |cgroup| cgroup.out_of_memory_kills())
    };
    let mut seen = kills(known);
    let mut next = Instant::now() + interval;
    loop {
        sleep(LOOK.min(interval));
        let now = kills(known);
        if now > seen {
            seen = now;
            show(&format!("{}\n", json!({ "type": "oom", "id": id })));
        }
        match Known::find(globals, id) {
            Ok(known) if known.status != Status::Stopped => {}
            _ => return Ok(0),
        }
        if Instant::now() >= next {
            stats(id, known);
            next += interval;
        }
    }
}

/// "5s", "500ms", "1m", "2h".
fn time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    let unit = match text.get(digits.len()..)? {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(unit)?)).filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_units() {
        assert_eq!(
            (time("5s"), time("250ms")),
            (Some(Duration::from_secs(5)), Some(Duration::from_millis(250)))
        );
        assert_eq!((time("5"), time("0s"), time("x")), (None, None, None));
    }
}
