//! `tegmen install` and `tegmen uninstall`: the runtime's entry in Docker's daemon.json.
//!
//! Everything else in the file stays as it is, to the letter and in its order: values are carried as text.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lexopt::{Arg, Parser};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{Globals, show, usage};
use crate::container::write_whole;
use crate::failure::{Failure, While};

const INSTALL: &str = "\
Enters this program into Docker's configuration as a runtime. The file as it was is kept beside it (.before-tegmen).

usage: tegmen install [OPTION...]

      --config FILE           Docker's configuration (default /etc/docker/daemon.json)
      --name NAME             the runtime's name (default tegmen)
      --path PATH             the program (default: this one)
      --runtime-arg ARG       an argument that Docker is to give it; may be repeated
      --default               containers use it when nothing else is asked for
";

const UNINSTALL: &str = "\
Takes the runtime out of Docker's configuration.

usage: tegmen uninstall [OPTION...]

      --config FILE           Docker's configuration (default /etc/docker/daemon.json)
      --name NAME             the runtime's name (default tegmen)
";

/// What is asked for.
struct Wanted {
    config: PathBuf,
    name: String,
    path: Option<PathBuf>,
    args: Vec<String>,
    default: bool,
}

pub fn run(_: &Globals, parser: Parser) -> Result<u8, Failure> {
    let Some(wanted) = parse(parser, INSTALL)? else {
        return Ok(0);
    };
    let own = std::env::current_exe().while_doing("finding this program");
    let path = wanted.path.clone().map_or_else(|| own, Ok)?;
    change(&wanted, |text| install(text, &wanted, &path))
}

pub fn uninstall(_: &Globals, parser: Parser) -> Result<u8, Failure> {
    let Some(wanted) = parse(parser, UNINSTALL)? else {
        return Ok(0);
    };
    change(&wanted, |text| take_out(text, &wanted.name))
}

fn parse(mut parser: Parser, help: &str) -> Result<Option<Wanted>, Failure> {
    let mut wanted = Wanted {
        config: "/etc/docker/daemon.json".into(),
        name: "tegmen".into(),
        path: None,
        args: Vec::new(),
        default: false,
    };
    let full = help == INSTALL;
    let text = |value: OsString| {
        value
            .into_string()
            .map_err(|_| Failure::own("options must be UTF-8"))
    };
    while let Some(arg) = parser.next().map_err(usage)? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => {
                show(help);
                return Ok(None);
            }
            Arg::Long("config") => wanted.config = parser.value().map_err(usage)?.into(),
            Arg::Long("name") => wanted.name = text(parser.value().map_err(usage)?)?,
            Arg::Long("path") if full => wanted.path = Some(parser.value().map_err(usage)?.into()),
            Arg::Long("runtime-arg") if full => wanted.args.push(text(parser.value().map_err(usage)?)?),
            Arg::Long("default") if full => wanted.default = true,
            other => return Err(usage(other.unexpected())),
        }
    }
    if wanted.name == "runc" || wanted.name.is_empty() {
        return Err(Failure::own("the name 'runc' is Docker's own"));
    }
    Ok(Some(wanted))
}

/// Replaces the file by what `edit` makes of it, if that is something else.
fn change(wanted: &Wanted, edit: impl FnOnce(&str) -> Result<String, Failure>) -> Result<u8, Failure> {
    // The file itself, not a link to it.
    let file = wanted
        .config
        .canonicalize()
        .unwrap_or_else(|_| wanted.config.clone());
    let doing = format!("'{}'", file.display());
    let before = match fs::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        read => Some(read.while_doing(&doing)?),
    };
    let after = edit(before.as_deref().unwrap_or(""))
        .map_err(|failure| Failure::own(format!("{doing}: {}", failure.message)))?;
    if before.as_ref() == Some(&after) || before.is_none() && after == EMPTY {
        show(&format!("{} needs no change\n", file.display()));
        return Ok(0);
    }
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).while_doing(&doing)?;
    }
    if let Some(before) = &before {
        let backup = with_suffix(&file, ".before-tegmen");
        write_whole(&backup, before.as_bytes()).while_doing(&format!("'{}'", backup.display()))?;
        show(&format!("the file as it was is in {}\n", backup.display()));
    }
    let mode = before
        .is_some()
        .then(|| fs::metadata(&file).map(|meta| meta.permissions()));
    write_whole(&file, after.as_bytes()).while_doing(&doing)?;
    if let Some(Ok(mode)) = mode {
        fs::set_permissions(&file, mode).while_doing(&doing)?;
    }
    show(&format!(
        "{} is changed; Docker reads it again with 'systemctl reload docker' (or SIGHUP to dockerd)\n",
        file.display()
    ));
    Ok(0)
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// The text of a configuration without settings.
const EMPTY: &str = "{}\n";

/// An object whose values stay text, in the order of the file.
#[derive(Default)]
struct Object(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Object {
    fn parse(text: &str) -> Result<Object, Failure> {
        if text.trim().is_empty() {
            return Ok(Object::default());
        }
        serde_json::from_str(text).map_err(|error| Failure::own(error.to_string()))
    }

    fn get(&self, name: &str) -> Option<&RawValue> {
        self.0
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, value)| &**value)
    }

    /// Replaces a member where it is, or adds it at the end.
    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(member, _)| member == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_string(), value)),
        }
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|(member, _)| member != name);
    }

    /// As text, with `indent` before each member.
    fn write(&self, indent: usize) -> String {
        if self.0.is_empty() {
            return "{}".to_string();
        }
        let pad = " ".repeat(indent);
        let members: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{pad}    {}: {}", serde_json::json!(name), value.get()))
            .collect();
        format!("{{\n{}\n{pad}}}", members.join(",\n"))
    }

    fn raw(&self, indent: usize) -> Result<Box<RawValue>, Failure> {
        RawValue::from_string(self.write(indent)).map_err(|error| Failure::own(error.to_string()))
    }
}

fn raw(value: &impl serde::Serialize) -> Result<Box<RawValue>, Failure> {
    to_raw_value(value).map_err(|error| Failure::own(error.to_string()))
}

fn runtimes(config: &Object) -> Result<Object, Failure> {
    config
        .get("runtimes")
        .map_or_else(|| Ok(Object::default()), |value| Object::parse(value.get()))
}

fn install(text: &str, wanted: &Wanted, path: &Path) -> Result<String, Failure> {
    let mut config = Object::parse(text)?;
    let mut runtimes = runtimes(&config)?;
    let mut entry = serde_json::json!({ "path": path });
    if !wanted.args.is_empty() {
        entry["runtimeArgs"] = serde_json::json!(wanted.args);
    }
    let value = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get()).ok();
    let there = runtimes.get(&wanted.name).and_then(value) == Some(entry.clone());
    let default = config.get("default-runtime").and_then(value);
    let is_default = default == Some(wanted.name.clone().into());
    if there && (is_default || !wanted.default) {
        return Ok(text.to_string());
    }
    runtimes.set(&wanted.name, raw(&entry)?);
    config.set("runtimes", runtimes.raw(4)?);
    if wanted.default {
        config.set("default-runtime", raw(&wanted.name)?);
    }
    Ok(config.write(0) + "\n")
}

fn take_out(text: &str, name: &str) -> Result<String, Failure> {
    let mut config = Object::parse(text)?;
    let mut runtimes = runtimes(&config)?;
    let default = config
        .get("default-runtime")
        .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let is_default = default.as_deref() == Some(name);
    if runtimes.get(name).is_none() && !is_default {
        return Ok(if text.is_empty() {
            EMPTY.to_string()
        } else {
            text.to_string()
        });
    }
    runtimes.remove(name);
    if runtimes.0.is_empty() {
        config.remove("runtimes");
    } else {
        config.set("runtimes", runtimes.raw(4)?);
    }
    if is_default {
        config.remove("default-runtime");
    }
    Ok(config.write(0) + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(default: bool) -> Wanted {
        Wanted {
            config: PathBuf::new(),
            name: "tegmen".into(),
            path: None,
            args: Vec::new(),
            default,
        }
    }

    fn with(text: &str, default: bool) -> String {
        install(text, &wanted(default), Path::new("/usr/bin/tegmen")).unwrap()
    }

    #[test]
    fn other_settings_stay_to_the_letter() {
        let before = "{\n  \"zebra\": [1,   2],\n  \"runtimes\": {\"other\": {\"path\":\"/x\"}},\n  \"apple\": 1.50\n}\n";
        let after = with(before, true);
        let order: Vec<usize> = ["zebra", "runtimes", "other", "tegmen", "apple", "default-runtime"]
            .iter()
            .map(|name| after.find(name).unwrap())
            .collect();
        assert!(order.is_sorted(), "{after}");
        assert!(after.contains("[1,   2]") && after.contains("1.50"));
        let parsed: serde_json::Value = serde_json::from_str(&after).unwrap();
        assert_eq!(parsed["runtimes"]["tegmen"]["path"], "/usr/bin/tegmen");
        let without: serde_json::Value = serde_json::from_str(&take_out(&after, "tegmen").unwrap()).unwrap();
        assert_eq!(
            without,
            serde_json::from_str::<serde_json::Value>(before).unwrap()
        );
    }

    #[test]
    fn doing_it_twice_changes_nothing() {
        let once = with("", false);
        assert_eq!(with(&once, false), once);
        assert_eq!(take_out(&once, "tegmen").unwrap(), EMPTY);
        assert_eq!(take_out("", "tegmen").unwrap(), EMPTY);
        assert_eq!(take_out("{\"a\":1}", "tegmen").unwrap(), "{\"a\":1}");
    }

    #[test]
    fn a_file_that_is_no_object_is_left_alone() {
        assert!(install("[]", &wanted(false), Path::new("/x")).is_err());
        assert!(take_out("{", "tegmen").is_err());
    }
}
