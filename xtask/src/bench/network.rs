//! The network rows: sockets inside, servers inside with their clients beside them or outside.
//!
//! Namespaces are made for each measurement and named after this process, so that nothing of the machine's network is touched.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::data::Data;
use super::runner::{Runner, finish};

/// Addresses of the two ends; the network exists in these namespaces only.
const CLIENT: &str = "10.77.0.1";
const SERVER: &str = "10.77.0.2";

/// Two network namespaces, joined by a pair of interfaces.
struct Wire {
    client: String,
    server: String,
}

impl Wire {
    fn make() -> Result<Wire> {
        let name = |end: &str| format!("tegmen-bench-{}-{end}", std::process::id());
        let wire = Wire {
            client: name("c"),
            server: name("s"),
        };
        let (client, server) = (&wire.client, &wire.server);
        ip(&["netns", "add", client])?;
        ip(&["netns", "add", server])?;
        ip(&[
            "-n", client, "link", "add", "veth", "type", "veth", "peer", "name", "veth", "netns", server,
        ])?;
        for (end, address) in [(client, CLIENT), (server, SERVER)] {
            ip(&["-n", end, "addr", "add", &format!("{address}/24"), "dev", "veth"])?;
            ip(&["-n", end, "link", "set", "lo", "up"])?;
            ip(&["-n", end, "link", "set", "veth", "up"])?;
        }
        Ok(wire)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for end in [&self.client, &self.server] {
            let _ = ip(&["netns", "del", end]);
        }
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output().context("ip")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ip {}: {}",
        args.join(" "),
        errors.trim()
    );
    Ok(())
}

fn script(data: &Data, step: &str, row: &str) -> Vec<String> {
    let path = |path: &std::path::Path| path.display().to_string();
    vec![
        "/bin/sh".into(),
        path(&data.service()),
        step.into(),
        row.into(),
        path(&data.dir),
    ]
}

fn number(text: &str) -> Result<f64> {
    text.trim()
        .parse()
        .with_context(|| format!("no number: {text:?}"))
}

impl Runner {
    /// Runs `net ROW` inside; the number it prints.
    pub fn sockets(&self, data: &Data, row: &str, limit: Duration) -> Result<f64> {
        let argv = [data.net().display().to_string(), row.to_string()];
        number(&finish(self.command(&argv, &[])?, limit)?)
    }

    /// A server and its client in one sandbox; what the client prints.
    pub fn service(&self, data: &Data, row: &str, limit: Duration) -> Result<f64> {
        let argv = script(data, "both", row);
        if !self.is_native() {
            return number(&finish(self.command(&argv, &[])?, limit)?);
        }
        let wire = Wire::make()?;
        number(&finish(self.connected(&argv, &wire.server)?, limit)?)
    }

    /// A server in a sandbox with an interface, its client outside; what the client prints.
    pub fn served(&self, data: &Data, row: &str, limit: Duration) -> Result<f64> {
        let wire = Wire::make()?;
        let mut server = self
            .connected(&script(data, "serve", row), &wire.server)?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut client = Command::new("ip");
        client
            .args(["netns", "exec", &wire.client])
            .args(script(data, "ask", row))
            .arg(SERVER);
        let result = finish(client, limit);
        self.stop(&mut server);
        number(&result?)
    }
}
