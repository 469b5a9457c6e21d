//! `cargo xtask bench`: the same work natively, under Tegmen and under its peers, interleaved in one run.

mod data;
mod network;
mod report;
mod rows;
mod runner;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use data::Data;
use report::{Cell, Report};
use rows::{ROWS, Row, Work};
use runner::Runner;

/// Longest time for one measurement; a peer that hangs is shown as failed.
const LIMIT: Duration = Duration::from_secs(60);
/// A measurement that takes so long is made once.
const LONG: Duration = Duration::from_secs(12);

/// Starts measured in each round of the start-up row.
const STARTS: usize = 12;
/// Pairs of processes in each round of the row of the walls.
const PAIRS: usize = 40;

/// What was asked for on the command line.
struct Options {
    rounds: usize,
    only: Option<String>,
    runners: Option<String>,
    out: Option<PathBuf>,
}

/// Measures and writes docs/benchmark/latest.md and latest.json.
pub fn run(args: &[String]) -> Result<()> {
    let options = parse(args)?;
    let root = crate::workspace_root()?;
    let data = Data::prepare(&root)?;
    let runners = Runner::all(&root, &data, options.runners.as_deref())?;
    ensure!(!runners.is_empty(), "no runner is left");
    let names: Vec<String> = runners.iter().map(|runner| runner.name().to_string()).collect();
    let mut report = Report::new(&root, &runners, options.rounds);
    for row in ROWS.iter().filter(|row| {
        options
            .only
            .as_ref()
            .is_none_or(|only| row.name.contains(only.as_str()))
    }) {
        eprintln!("{} …", row.name);
        let mut cells: Vec<Cell> = names.iter().map(|_| Cell::default()).collect();
        for _ in 0..options.rounds {
            for (runner, cell) in runners.iter().zip(&mut cells) {
                if cell.failure.is_none() && !cell.long {
                    let begin = Instant::now();
                    measure(row, runner, &data, cell);
                    cell.long = begin.elapsed() > LONG;
                }
            }
        }
        report.add(row, cells);
    }
    let out = options.out.unwrap_or_else(|| root.join("docs/benchmark"));
    report.write(&out)
}

fn measure(row: &Row, runner: &Runner, data: &Data, cell: &mut Cell) {
    let result = match row.work {
        Work::Micro {
            name,
            argument,
            batches,
        } => runner
            .micro(data, name, argument, batches, LIMIT)
            .map(|ns| cell.samples.push(ns)),
        Work::Sockets(name) => runner
            .sockets(data, name, LIMIT)
            .map(|value| cell.samples.push(value)),
        Work::Service(name) => runner
            .service(data, name, LIMIT)
            .map(|value| cell.samples.push(value)),
        Work::Served(name) => runner
            .served(data, name, LIMIT)
            .map(|value| cell.samples.push(value)),
        Work::Start => (0..STARTS).try_for_each(|_| runner.start(LIMIT).map(|ns| cell.samples.push(ns))),
        Work::Walls => runner
            .walls(PAIRS, LIMIT)
            .map(|samples| cell.samples.extend(samples)),
        Work::IdleMemory => runner.idle().map(|idle| cell.samples.push(idle.memory_bytes)),
        Work::IdleProcessor => runner.idle().map(|idle| cell.samples.push(idle.processor_ns)),
    };
    if let Err(error) = result {
        cell.failure = Some(format!("{error:#}"));
    }
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options {
        rounds: 3,
        only: None,
        runners: None,
        out: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .cloned()
                .ok_or_else(|| anyhow::anyhow!("{arg} needs a value"))
        };
        match arg.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--only" => options.only = Some(value()?),
            "--runners" => options.runners = Some(value()?),
            "--out" => options.out = Some(PathBuf::from(value()?)),
            _ => bail!("unknown option {arg}; there are --rounds N, --only ROW, --runners A,B, --out DIR"),
        }
    }
    ensure!(options.rounds > 0, "at least one round");
    Ok(options)
}
