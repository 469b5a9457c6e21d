//! Medians and ranges, as Markdown for people and JSON for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::rows::{REASONS, Row, Target, Unit, Work};
use super::runner::Runner;

/// What one runner did in one row.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub samples: Vec<f64>,
    pub failure: Option<String>,
    /// One sample takes long: there will be no more.
    pub long: bool,
}

impl Cell {
    /// The sample below which `share` of them lie.
    fn quantile(&self, share: f64) -> Option<f64> {
        if self.failure.is_some() || self.samples.is_empty() {
            return None;
        }
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let index = ((sorted.len() - 1) as f64 * share).round() as usize;
        sorted.get(index).copied()
    }

    fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }
}

/// All rows measured so far.
pub struct Report {
    machine: Value,
    runners: Vec<(String, String)>,
    rounds: usize,
    lines: Vec<String>,
    rows: Vec<Value>,
}

impl Report {
    pub fn new(root: &Path, runners: &[Runner], rounds: usize) -> Report {
        Report {
            machine: machine(root),
            runners: runners
                .iter()
                .map(|runner| (runner.name().to_string(), runner.version()))
                .collect(),
            rounds,
            lines: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; `cells` are in the order of the runners.
    pub fn add(&mut self, row: &Row, cells: Vec<Cell>) {
        let of = |name: &str| {
            self.runners
                .iter()
                .position(|(runner, _)| runner == name)
                .and_then(|at| cells[at].median())
        };
        let (native, ours) = (of("native"), of("tegmen"));
        let mut line = format!("| {} |", row.name);
        for cell in &cells {
            let _ = write!(line, " {} |", shown(row, cell));
        }
        let ratio = match (native, ours) {
            (Some(native), Some(ours))
                if native > 0.0 && !matches!(row.work, Work::IdleMemory | Work::IdleProcessor) =>
            {
                format!("{:.2}", ours / native)
            }
            _ => "–".into(),
        };
        let _ = write!(line, " {ratio} | {} |", verdict(row, native, ours));
        eprintln!("{line}");
        self.lines.push(line);
        let measured: Vec<Value> = self
            .runners
            .iter()
            .zip(&cells)
            .map(|((name, _), cell)| {
                json!({
                    "runner": name, "median": cell.median(), "min": cell.quantile(0.0), "max": cell.quantile(1.0),
                    "p99": cell.quantile(0.99), "samples": cell.samples, "failure": cell.failure,
                })
            })
            .collect();
        let unit = row.unit.name();
        self.rows
            .push(json!({"row": row.name, "unit": unit, "results": measured}));
    }

    /// Writes `latest.md` and `latest.json`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let json = json!({"machine": self.machine, "runners": self.runners, "rounds": self.rounds, "rows": self.rows});
        fs::write(
            dir.join("latest.json"),
            serde_json::to_string_pretty(&json)? + "\n",
        )?;
        let mut text = String::from(
            "# Benchmark\n\nMade by `cargo xtask bench`; the numbers with all samples are in latest.json.\n\n",
        );
        for (key, value) in self.machine.as_object().into_iter().flatten() {
            writeln!(text, "* {key}: {}", value.as_str().unwrap_or_default())?;
        }
        for (name, version) in &self.runners {
            writeln!(text, "* {name}: {version}")?;
        }
        writeln!(
            text,
            "\nMedian of {} rounds, interleaved (lowest–highest). The ratio is Tegmen to native.\n",
            self.rounds
        )?;
        let names: Vec<&str> = self.runners.iter().map(|(name, _)| name.as_str()).collect();
        writeln!(text, "| row | {} | ratio | target |", names.join(" | "))?;
        writeln!(text, "|---|{}---:|---|", "---:|".repeat(names.len()))?;
        for line in &self.lines {
            writeln!(text, "{line}")?;
        }
        let missed = |row: &str| {
            self.lines
                .iter()
                .any(|line| line.starts_with(&format!("| {row} |")) && line.contains("**missed**"))
        };
        let reasons: Vec<_> = REASONS.iter().filter(|(row, _)| missed(row)).collect();
        if !reasons.is_empty() {
            writeln!(text, "\nWhy rows miss their targets:\n")?;
        }
        for (row, reason) in reasons {
            writeln!(text, "* {row}: {reason}.")?;
        }
        fs::write(dir.join("latest.md"), text)?;
        eprintln!("written to {}", dir.display());
        Ok(())
    }
}

fn shown(row: &Row, cell: &Cell) -> String {
    if let Some(failure) = &cell.failure {
        return format!("failed ({})", failure.replace(['|', '\n'], " "));
    }
    let (Some(median), Some(low), Some(high)) = (cell.median(), cell.quantile(0.0), cell.quantile(1.0))
    else {
        return "–".into();
    };
    if matches!(row.work, Work::Walls) {
        return format!("{} (least {})", number(row.unit, median), number(row.unit, low));
    }
    if matches!(row.work, Work::Start) {
        let p99 = cell.quantile(0.99).unwrap_or(high);
        return format!("{} (p99 {})", number(row.unit, median), number(row.unit, p99));
    }
    format!(
        "{} ({}–{})",
        number(row.unit, median),
        number(row.unit, low),
        number(row.unit, high)
    )
}

fn number(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Bytes => format!("{:.1} MiB", value / 1048576.0),
        Unit::Rate => format!("{value:.0} MB/s"),
        Unit::Requests => format!("{:.1} k/s", value / 1e3),
        Unit::Nanoseconds if value < 1e3 => format!("{value:.0} ns"),
        Unit::Nanoseconds if value < 1e6 => format!("{:.2} us", value / 1e3),
        Unit::Nanoseconds if value < 1e9 => format!("{:.2} ms", value / 1e6),
        Unit::Nanoseconds => format!("{:.2} s", value / 1e9),
    }
}

fn verdict(row: &Row, native: Option<f64>, ours: Option<f64>) -> String {
    let (bound, text) = match row.target {
        Target::None => return "–".into(),
        Target::Native(factor) => (native.map(|own| own * factor), format!("{factor}x native")),
        Target::Absolute(limit) => (Some(limit), number(row.unit, limit)),
        Target::NativeOr(limit) => (
            Some(native.map_or(limit, |own| own.max(limit))),
            format!("native or {}", number(row.unit, limit)),
        ),
        Target::AtLeast(factor) => (
            native.map(|own| own * factor),
            format!("at least {factor}x native"),
        ),
    };
    let upward = matches!(row.target, Target::AtLeast(_));
    match (bound, ours) {
        (Some(bound), Some(ours)) if ours == bound || (ours > bound) == upward => format!("{text}: met"),
        (Some(_), Some(_)) => format!("{text}: **missed**"),
        _ => text,
    }
}

fn machine(root: &Path) -> Value {
    let first = |file: &str, prefix: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(prefix))
            .unwrap_or_default();
        line.split(':').next_back().unwrap_or_default().trim().to_string()
    };
    let output = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(root).output();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string())
            .unwrap_or_default()
    };
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    json!({
        "processor": format!("{}, {processors} visible", first("/proc/cpuinfo", "model name")),
        "kernel": output("uname", &["-sr"]),
        // A loaded machine makes every number worse, and the hand-offs between threads most of all.
        "load at the start": output("cut", &["-d ", "-f1-3", "/proc/loadavg"]),
        "date": output("date", &["-u", "+%Y-%m-%d"]),
        "commit": output("git", &["rev-parse", "--short", "HEAD"]),
    })
}
