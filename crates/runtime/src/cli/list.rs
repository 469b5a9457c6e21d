//! `tegmen list`: list containers.

use lexopt::{Arg, Parser};

use super::{Globals, show, usage, value};
use crate::container::lifecycle::Known;
use crate::container::state::StateDir;
use crate::failure::Failure;

const HELP: &str = "\
Lists the containers of the state directory.

usage: tegmen list [OPTION...]

  -f, --format table|json     in this form (default: table)
  -q, --quiet                 ids only
  -h, --help                  print this
";

pub fn run(globals: &Globals, mut parser: Parser) -> Result<u8, Failure> {
    let (mut json, mut quiet) = (false, false);
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("format") | Arg::Short('f') => json = is_json(&value(&mut parser)?)?,
            Arg::Long("quiet") | Arg::Short('q') => quiet = true,
            Arg::Long("help") | Arg::Short('h') => {
                show(HELP);
                return Ok(0);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    let ids = StateDir::ids(&globals.root)?;
    // One that is just being removed is none.
    let known: Vec<Known> = ids
        .iter()
        .filter_map(|id| Known::find(globals, id).ok())
        .collect();
    if quiet {
        show(
            &known
                .iter()
                .map(|known| known.saved.id.clone() + "\n")
                .collect::<String>(),
        );
    } else if json {
        let reports: Vec<_> = known
            .iter()
            .map(|known| known.saved.report(known.status))
            .collect();
        let text = if reports.is_empty() {
            "null".to_string()
        } else {
            serde_json::to_string(&reports).map_err(|error| Failure::own(error.to_string()))?
        };
        show(&(text + "\n"));
    } else {
        show(&table(&known));
    }
    Ok(0)
}

/// Whether a format is `json`; else it must be `table`.
pub fn is_json(format: &str) -> Result<bool, Failure> {
    match format {
        "json" => Ok(true),
        "table" => Ok(false),
        other => Err(Failure::own(format!("invalid format option: {other:?}"))),
    }
}

fn table(known: &[Known]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_string);
    let rows = known.iter().map(|Known { saved, status, .. }| {
        [
            saved.id.clone(),
            saved.pid(*status).to_string(),
            status.name().to_string(),
            saved.bundle.display().to_string(),
            saved.created.clone(),
            saved.owner_name(),
        ]
    });
    let rows: Vec<[String; 6]> = [head].into_iter().chain(rows).collect();
    // As other runtimes lay it out: columns of at least 12, three apart.
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(9) + 3;
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}
