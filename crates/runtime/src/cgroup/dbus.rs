//! Calls to systemd over D-Bus: what a scope needs, not a client for everything (D-Bus specification 0.42).
//!
//! systemd's private socket is for root of its host; the system bus, or a user's own manager, is the other way.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, While};

/// Longest wait for systemd.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest message that is read; answers here are a few hundred bytes.
const MESSAGE_MAX: usize = 1 << 20;
/// Messages (signals of others) passed over while an answer is waited for.
const PASSED_OVER: usize = 1000;

/// A value of a unit's property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Signature `s`.
    Text(String),
    /// `b`.
    Bool(bool),
    /// `t`.
    Number(u64),
    /// `as`.
    Texts(Vec<String>),
    /// `au`.
    Numbers(Vec<u32>),
    /// `ay`.
    Bytes(Vec<u8>),
}

/// Bytes of a message, aligned from its start.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        while !self.0.len().is_multiple_of(to) {
            self.0.push(0);
        }
    }

    fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.bytes());
        self.0.push(0);
    }

    /// An array whose elements are aligned to `to`: its length goes before it, without the padding.
    fn array(&mut self, to: usize, fill: impl FnOnce(&mut Writer)) {
        self.number(0);
        let at = self.0.len() - 4;
        self.align(to);
        let start = self.0.len();
        fill(self);
        let len = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Bool(value) => {
                self.signature("b");
                self.number(u32::from(*value));
            }
            Value::Number(value) => {
                self.signature("t");
                self.align(8);
                self.0.extend(value.to_le_bytes());
            }
            Value::Texts(texts) => {
                self.signature("as");
                self.array(4, |out| texts.iter().for_each(|text| out.text(text)));
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.array(4, |out| numbers.iter().for_each(|number| out.number(*number)));
            }
            Value::Bytes(bytes) => {
                self.signature("ay");
                self.array(1, |out| out.0.extend(bytes));
            }
        }
    }
}

/// Arguments of a call of systemd's manager.
pub enum Arguments<'a> {
    /// `ssa(sv)a(sa(sv))`: StartTransientUnit.
    Start(&'a str, &'a str, &'a [(&'a str, Value)]),
    /// `sba(sv)`: SetUnitProperties.
    Set(&'a str, &'a [(&'a str, Value)]),
    /// `ss`: StopUnit.
    Stop(&'a str, &'a str),
    /// `s`: ResetFailedUnit.
    Reset(&'a str),
    /// None: Hello.
    None,
}

impl Arguments<'_> {
    fn write(&self) -> (&'static str, Vec<u8>) {
        let mut out = Writer::default();
        let properties = |out: &mut Writer, properties: &[(&str, Value)]| {
            out.array(8, |out| {
                for (name, value) in properties {
                    out.align(8);
                    out.text(name);
                    out.variant(value);
                }
            });
        };
        let signature = match self {
            Arguments::Start(unit, mode, list) => {
                out.text(unit);
                out.text(mode);
                properties(&mut out, list);
                out.array(8, |_| {});
                "ssa(sv)a(sa(sv))"
            }
            Arguments::Set(unit, list) => {
                out.text(unit);
                // Until the next start of the host only.
                out.number(1);
                properties(&mut out, list);
                "sba(sv)"
            }
            Arguments::Stop(unit, mode) => {
                out.text(unit);
                out.text(mode);
                "ss"
            }
            Arguments::Reset(unit) => {
                out.text(unit);
                "s"
            }
            Arguments::None => "",
        };
        (signature, out.0)
    }
}

/// Whom a call is for.
struct Target {
    path: &'static str,
    interface: &'static str,
    destination: &'static str,
}

const MANAGER: Target = Target {
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    destination: "org.freedesktop.systemd1",
};
const BUS: Target = Target {
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    destination: "org.freedesktop.DBus",
};

fn message(serial: u32, target: &Target, member: &str, arguments: &Arguments<'_>) -> Vec<u8> {
    let (signature, body) = arguments.write();
    let mut out = Writer(vec![b'l', 1, 0, 1]);
    out.number(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.number(serial);
    let fields = [
        (1, "o", target.path),
        (2, "s", target.interface),
        (3, "s", member),
        (6, "s", target.destination),
    ];
    out.array(8, |out| {
        for (code, kind, text) in fields {
            out.align(8);
            out.0.push(code);
            out.signature(kind);
            out.text(text);
        }
        if !signature.is_empty() {
            out.align(8);
            out.0.push(8);
            out.signature("g");
            out.signature(signature);
        }
    });
    out.align(8);
    out.0.extend(body);
    out.0
}

/// A connection to systemd.
pub struct Manager {
    stream: UnixStream,
    serial: u32,
}

impl Manager {
    /// Connects; `user`: to the manager of the calling user.
    pub fn connect(user: bool) -> Result<Manager, Failure> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
        let (private, bus) = match user {
            true => (
                Path::new(&runtime).join("systemd/private"),
                Path::new(&runtime).join("bus"),
            ),
            false => (
                "/run/systemd/private".into(),
                "/run/dbus/system_bus_socket".into(),
            ),
        };
        if let Ok(stream) = UnixStream::connect(&private) {
            return Manager::over(stream, false);
        }
        let stream = UnixStream::connect(&bus).map_err(|error| {
            Failure::own(format!(
                "systemd is not reachable for a control group ({}): {error}",
                bus.display()
            ))
        })?;
        Manager::over(stream, true)
    }

    fn over(stream: UnixStream, bus: bool) -> Result<Manager, Failure> {
        let doing = "connecting to systemd";
        stream.set_read_timeout(Some(ANSWER)).while_doing(doing)?;
        stream.set_write_timeout(Some(ANSWER)).while_doing(doing)?;
        let mut manager = Manager { stream, serial: 0 };
        // Without a name: the other side knows who is there, and knows better than root of a user namespace does.
        manager
            .stream
            .write_all(b"\0AUTH EXTERNAL\r\n")
            .while_doing(doing)?;
        let mut line = manager.line()?;
        if line == "DATA" {
            manager.stream.write_all(b"DATA\r\n").while_doing(doing)?;
            line = manager.line()?;
        }
        if !line.starts_with("OK ") {
            return Err(Failure::own(format!("{doing}: it refuses ({line})")));
        }
        manager.stream.write_all(b"BEGIN\r\n").while_doing(doing)?;
        if bus {
            manager.ask(&BUS, "Hello", &Arguments::None)?;
        }
        Ok(manager)
    }

    /// A line of the authentication, byte by byte: what comes after it is not to be taken.
    fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        while line.len() < 512 && !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream
                .read_exact(&mut byte)
                .while_doing("connecting to systemd")?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_string())
    }

    /// Calls a method of the manager, and waits for its answer.
    pub fn call(&mut self, member: &str, arguments: &Arguments<'_>) -> Result<(), Failure> {
        self.ask(&MANAGER, member, arguments)
    }

    fn ask(&mut self, target: &Target, member: &str, arguments: &Arguments<'_>) -> Result<(), Failure> {
        let doing = format!("systemd: {member}");
        self.serial += 1;
        let message = message(self.serial, target, member, arguments);
        self.stream.write_all(&message).while_doing(&doing)?;
        for _ in 0..PASSED_OVER {
            let answer = self.answer(&doing)?;
            match answer {
                Answer { kind: 2, to, .. } if to == self.serial => return Ok(()),
                Answer { kind: 3, to, text } if to == self.serial => {
                    return Err(Failure::own(format!("{doing}: {text}")));
                }
                _ => {}
            }
        }
        Err(Failure::own(format!("{doing}: no answer")))
    }

    fn answer(&mut self, doing: &str) -> Result<Answer, Failure> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).while_doing(doing)?;
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            if head[0] == b'B' {
                u32::from_be_bytes(bytes)
            } else {
                u32::from_le_bytes(bytes)
            }
        };
        let (body, fields) = (number(4) as usize, number(12) as usize);
        if body > MESSAGE_MAX || fields > MESSAGE_MAX || head[0] != b'l' {
            return Err(Failure::own(format!("{doing}: an answer that is no message")));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        self.stream.read_exact(&mut rest).while_doing(doing)?;
        let (fields, body) = rest.split_at(fields.next_multiple_of(8));
        Ok(Answer {
            kind: head[1],
            to: reply_serial(fields).unwrap_or(0),
            text: first_text(body).unwrap_or_default(),
        })
    }
}

/// An answer: 2 is a result, 3 an error.
struct Answer {
    kind: u8,
    to: u32,
    text: String,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Field 5 of a header.
fn reply_serial(fields: &[u8]) -> Option<u32> {
    let mut at = 0;
    loop {
        let code = *fields.get(at)?;
        match (fields.get(at + 1)?, fields.get(at + 2)?) {
            (1, b'u') => {
                let value = word(fields, at + 4)?;
                if code == 5 {
                    return Some(value);
                }
                at += 8;
            }
            (1, b's' | b'o') => {
                let len = word(fields, at + 4)? as usize;
                at = at.checked_add(8)?.checked_add(len)?.checked_add(1)?;
            }
            (1, b'g') => at += 4 + usize::from(*fields.get(at + 4)?) + 2,
            _ => return None,
        }
        at = at.next_multiple_of(8);
    }
}

fn first_text(body: &[u8]) -> Option<String> {
    let len = word(body, 0)? as usize;
    let text = body.get(4..len.checked_add(4)?)?;
    let text = String::from_utf8_lossy(text);
    // It may come from anybody who owns the socket's name: no more than a line.
    Some(text.chars().filter(|c| !c.is_control()).take(300).collect())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// An answer to the call `serial`: a result, or an error with a text.
    fn answer(serial: u32, error: Option<&str>) -> Vec<u8> {
        let mut body = Writer::default();
        error.inspect(|text| body.text(text));
        let mut out = Writer(vec![b'l', if error.is_some() { 3 } else { 2 }, 0, 1]);
        out.number(body.0.len() as u32);
        out.number(77);
        out.array(8, |out| {
            out.0.push(6);
            out.signature("s");
            out.text(":1.5");
            out.align(8);
            out.0.push(5);
            out.signature("u");
            out.number(serial);
        });
        out.align(8);
        out.0.extend(body.0);
        out.0
    }

    #[test]
    fn a_call_is_made_and_its_answer_taken() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut auth = [0; 16];
            theirs.read_exact(&mut auth).unwrap();
            assert_eq!(&auth, b"\0AUTH EXTERNAL\r\n");
            theirs.write_all(b"DATA\r\n").unwrap();
            let mut buf = [0; 6];
            theirs.read_exact(&mut buf).unwrap();
            assert_eq!(&buf, b"DATA\r\n");
            theirs.write_all(b"OK 0123\r\n").unwrap();
            let expected = message(1, &MANAGER, "StopUnit", &Arguments::Stop("a.scope", "replace"));
            let mut buf = vec![0; 7 + expected.len()];
            theirs.read_exact(&mut buf).unwrap();
            assert_eq!(&buf[7..], expected);
            // First one that is not for us.
            theirs.write_all(&answer(9, Some("other"))).unwrap();
            theirs.write_all(&answer(1, None)).unwrap();
            let next = message(2, &MANAGER, "ResetFailedUnit", &Arguments::Reset("a.scope"));
            let mut buf = vec![0; next.len()];
            theirs.read_exact(&mut buf).unwrap();
            theirs.write_all(&answer(2, Some("Unit not\nloaded"))).unwrap();
        });
        let mut manager = Manager::over(ours, false).unwrap();
        manager
            .call("StopUnit", &Arguments::Stop("a.scope", "replace"))
            .unwrap();
        let error = manager
            .call("ResetFailedUnit", &Arguments::Reset("a.scope"))
            .unwrap_err();
        assert_eq!(error.message, "systemd: ResetFailedUnit: Unit notloaded");
        server.join().unwrap();
    }

    #[test]
    fn properties_are_aligned_structures() {
        let list = [
            ("Slice", Value::Text("a.slice".into())),
            ("PIDs", Value::Numbers(vec![7])),
        ];
        let (signature, body) = Arguments::Set("u", &list).write();
        assert_eq!(signature, "sba(sv)");
        let mut expected = vec![1, 0, 0, 0, b'u', 0, 0, 0, 1, 0, 0, 0];
        // The array's length, and its first structure at a multiple of 8.
        expected.extend([56, 0, 0, 0]);
        expected.extend([5, 0, 0, 0]);
        expected.extend(b"Slice\0\x01s\0");
        expected.extend([0; 3]);
        expected.extend([7, 0, 0, 0]);
        expected.extend(b"a.slice\0");
        expected.extend([0; 4]);
        assert_eq!(&body[..expected.len()], expected);
    }
}
