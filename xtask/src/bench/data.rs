//! What the rows work on: programs and files under target/bench, made once.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::rows::Argument;

/// C files of the build row.
const C_FILES: usize = 50;
/// Files of the git row, by directory.
const GIT_DIRS: usize = 100;
const GIT_FILES_IN_DIR: usize = 100;

/// The prepared data.
pub struct Data {
    /// Holds everything.
    pub dir: PathBuf,
}

impl Data {
    /// Compiles the programs and makes the files that are not there yet.
    pub fn prepare(root: &Path) -> Result<Data> {
        let dir = root.join("target/bench");
        fs::create_dir_all(&dir)?;
        let data = Data { dir };
        let sources = root.join("bench");
        data.compile(
            &sources.join("micro.c"),
            "micro",
            &["-O2", "-pthread", "-D_GNU_SOURCE"],
        )?;
        data.compile(&sources.join("exit.c"), "exit-dynamic", &["-O2"])?;
        data.compile(&sources.join("exit.c"), "exit-static", &["-O2", "-static"])?;
        data.compile(&sources.join("net.c"), "net", &["-O2", "-D_GNU_SOURCE"])?;
        fs::copy(sources.join("service.sh"), data.service())?;
        data.database()?;
        fs::write(data.dir.join("file"), vec![7; 1 << 20])?;
        let deep = data.dir.join("a/b/c/d/e");
        fs::create_dir_all(&deep)?;
        fs::write(deep.join("f"), "deep")?;
        data.c_project()?;
        data.repository()?;
        Ok(data)
    }

    /// The micro program.
    pub fn micro(&self) -> PathBuf {
        self.dir.join("micro")
    }

    /// The program of the socket rows.
    pub fn net(&self) -> PathBuf {
        self.dir.join("net")
    }

    /// The script of the rows with servers.
    pub fn service(&self) -> PathBuf {
        self.dir.join("service.sh")
    }

    /// A row's arguments for the micro program.
    pub fn arguments(&self, argument: Argument) -> Vec<String> {
        let path = |name: &str| vec![self.dir.join(name).display().to_string()];
        match argument {
            Argument::None => Vec::new(),
            Argument::File => path("file"),
            Argument::Deep => path("a/b/c/d/e/f"),
            Argument::StaticProgram => path("exit-static"),
            Argument::DynamicProgram => path("exit-dynamic"),
            Argument::Shell(command) => {
                let command = command.replace('@', &self.dir.display().to_string());
                vec!["sh".into(), "-c".into(), command]
            }
        }
    }

    fn compile(&self, source: &Path, name: &str, flags: &[&str]) -> Result<()> {
        let status = Command::new("cc")
            .args(flags)
            .arg("-o")
            .arg(self.dir.join(name))
            .arg(source)
            .status();
        ensure!(status.context("cc")?.success(), "cc {}", source.display());
        Ok(())
    }

    /// Files like those of a small C program: some system headers, some functions.
    fn c_project(&self) -> Result<()> {
        let dir = self.dir.join("c");
        if dir.exists() {
            return Ok(());
        }
        fs::create_dir_all(&dir)?;
        for file in 0..C_FILES {
            let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n");
            for function in 0..20 {
                writeln!(
                    text,
                    "int f{file}_{function}(int x) {{ char b[64]; snprintf(b, sizeof b, \"%d\", x); return atoi(b) * {function} + (int)strlen(b); }}"
                )?;
            }
            if file == 0 {
                text.push_str("int main(void) { return f0_1(0) != 1; }\n");
            }
            fs::write(dir.join(format!("f{file}.c")), text)?;
        }
        let makefile = "OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))\n\
                        prog: $(OBJECTS)\n\tcc -o $@ $^\n\
                        %.o: %.c\n\tcc -O1 -c -o $@ $<\n";
        fs::write(dir.join("Makefile"), makefile)?;
        Ok(())
    }

    /// A database for pgbench, where there is a PostgreSQL; its server does not run as root.
    fn database(&self) -> Result<()> {
        const MAKE: &str = r#"set -eu
            tmp=$(mktemp -d /tmp/tegmen-bench-db.XXXXXX); trap 'rm -rf "$tmp"' EXIT; chown postgres "$tmp"; cd "$tmp"
            as() { setpriv --reuid postgres --clear-groups "$@"; }
            as initdb -D "$tmp/db" -A trust -U postgres
            as pg_ctl -D "$tmp/db" -o "-p 5498 -k $tmp -c listen_addresses=" -w start
            createdb -h "$tmp" -p 5498 -U postgres bench && pgbench -i -q -h "$tmp" -p 5498 -U postgres bench
            as pg_ctl -D "$tmp/db" -w stop
            cp -r "$tmp/db" "$1""#;
        let dir = self.dir.join("postgres");
        if dir.join("PG_VERSION").exists() {
            return Ok(());
        }
        let output = Command::new("sh")
            .args(["-c", MAKE, "sh"])
            .arg(&dir)
            .output()
            .context("sh")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            eprintln!(
                "no database for pgbench: {}",
                text.lines().last().unwrap_or_default()
            );
        }
        Ok(())
    }

    fn repository(&self) -> Result<()> {
        let dir = self.dir.join("repo");
        if dir.join(".git/index").exists() {
            return Ok(());
        }
        for sub in 0..GIT_DIRS {
            let sub = dir.join(format!("d{sub}"));
            fs::create_dir_all(&sub)?;
            for file in 0..GIT_FILES_IN_DIR {
                fs::write(sub.join(format!("f{file}")), format!("{file}\n"))?;
            }
        }
        let identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"];
        for args in [&["init", "-q"][..], &["add", "."], &["commit", "-q", "-m", "all"]] {
            let status = Command::new("git")
                .args(identity)
                .arg("-C")
                .arg(&dir)
                .args(args)
                .status();
            ensure!(status.context("git")?.success(), "git {args:?}");
        }
        Ok(())
    }
}
