//! Control groups that systemd makes: a transient scope for each container (systemd.scope(5), systemd.resource-control(5)).

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::dbus::{Arguments, Manager, Value};
use super::limits::{Limits, weight_of_shares};
use crate::failure::Failure;

/// Longest wait until a process is in the scope that it was named for.
const JOIN: Duration = Duration::from_secs(10);

/// A scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    name: String,
    /// The slice that it is in.
    slice: String,
    /// Of the calling user's manager.
    user: bool,
}

impl Unit {
    /// From a cgroupsPath "SLICE:PREFIX:NAME"; without one: the container's id.
    pub fn parse(path: Option<&Path>, id: &str, user: bool) -> Result<Unit, Failure> {
        let text = path
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default();
        let usual = if user { "user.slice" } else { "system.slice" };
        let (slice, prefix, name) = if text.is_empty() {
            (usual, "tegmen", id)
        } else {
            let mut parts = text.split(':');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(slice), Some(prefix), Some(name), None) => {
                    (if slice.is_empty() { usual } else { slice }, prefix, name)
                }
                _ => {
                    return Err(Failure::own(format!(
                        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {text:?} instead"
                    )));
                }
            }
        };
        let name = match prefix {
            _ if name.ends_with(".slice") => {
                return Err(Failure::own(format!(
                    "cgroupsPath: '{name}' is a slice, not a container's name"
                )));
            }
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        let plain = |text: &str| !text.contains('/') && !text.contains("..");
        if !slice.ends_with(".slice") || !plain(slice) || !plain(&name) {
            return Err(Failure::own(format!(
                "cgroupsPath: invalid slice or name in {text:?}"
            )));
        }
        Ok(Unit {
            name,
            slice: slice.to_string(),
            user,
        })
    }

    /// The group's path: "a-b.slice" is inside of "a.slice".
    pub fn path(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        let stem = self.slice.trim_end_matches(".slice");
        if stem != "-" {
            for (at, _) in stem.match_indices('-') {
                path.push(format!("{}.slice", stem.get(..at).unwrap_or_default()));
            }
            path.push(&self.slice);
        }
        path.join(&self.name)
    }

    /// The group's path in the whole tree: units of a user's manager are below the manager's own group, which the caller, whose
    /// group is `own`, may be in, too; else it is where systemd puts the one of `uid`.
    pub fn place(&self, own: &Path, uid: u32) -> PathBuf {
        let path = self.path();
        if !self.user {
            return path;
        }
        let is_manager = |path: &&Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("user@") && name.ends_with(".service")
        };
        let manager = match own.ancestors().find(is_manager) {
            Some(manager) => manager.to_path_buf(),
            None => format!("/user.slice/user-{uid}.slice/user@{uid}.service").into(),
        };
        manager.join(path.strip_prefix("/").unwrap_or(&path))
    }

    /// Starts the scope with a process in it, and waits until `arrived`.
    pub fn start(
        &self,
        pid: i32,
        limits: &Limits,
        version_2: bool,
        arrived: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let on = Value::Bool(true);
        let mut properties = vec![
            (
                "Description",
                Value::Text(format!("tegmen container {}", self.name)),
            ),
            ("Slice", Value::Text(self.slice.clone())),
            ("Delegate", on.clone()),
            ("PIDs", Value::Numbers(vec![u32::try_from(pid).unwrap_or(0)])),
            ("MemoryAccounting", on.clone()),
            ("CPUAccounting", on.clone()),
            (
                if version_2 {
                    "IOAccounting"
                } else {
                    "BlockIOAccounting"
                },
                on.clone(),
            ),
            ("TasksAccounting", on),
            ("DefaultDependencies", Value::Bool(false)),
        ];
        properties.extend(of_limits(limits, version_2));
        let mut manager = Manager::connect(self.user)?;
        // One that is left over from a container of the same name, failed, is in the way.
        let _ = manager.call("ResetFailedUnit", &Arguments::Reset(&self.name));
        manager.call(
            "StartTransientUnit",
            &Arguments::Start(&self.name, "replace", &properties),
        )?;
        let limit = Instant::now() + JOIN;
        while !arrived() {
            if Instant::now() > limit {
                return Err(Failure::own(format!("systemd does not start {}", self.name)));
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Tells systemd of changed limits, so that it does not write the old ones again.
    pub fn set(&self, limits: &Limits, version_2: bool) -> Result<(), Failure> {
        let properties = of_limits(limits, version_2);
        if properties.is_empty() {
            return Ok(());
        }
        Manager::connect(self.user)?.call("SetUnitProperties", &Arguments::Set(&self.name, &properties))
    }

    /// Ends the scope; one that has ended already is no error.
    pub fn stop(&self) {
        if let Ok(mut manager) = Manager::connect(self.user) {
            let _ = manager.call("StopUnit", &Arguments::Stop(&self.name, "replace"));
            let _ = manager.call("ResetFailedUnit", &Arguments::Reset(&self.name));
        }
    }
}

/// The limits that systemd has properties for. The rest is written to the group's files, as these are, too.
fn of_limits(limits: &Limits, version_2: bool) -> Vec<(&'static str, Value)> {
    let mut properties = Vec::new();
    let bytes = |value: i64| Value::Number(u64::try_from(value).unwrap_or(u64::MAX));
    if let Some(memory) = limits.memory {
        properties.push((if version_2 { "MemoryMax" } else { "MemoryLimit" }, bytes(memory)));
    }
    if let Some(reservation) = limits.reservation.filter(|_| version_2) {
        properties.push(("MemoryLow", bytes(reservation)));
    }
    if let Some(shares) = limits.shares {
        properties.push(match version_2 {
            true => ("CPUWeight", Value::Number(weight_of_shares(shares))),
            false => ("CPUShares", Value::Number(shares)),
        });
    }
    if let Some(quota) = limits.quota {
        let period = limits.period.unwrap_or(100_000).max(1);
        let second = match u64::try_from(quota) {
            // systemd rounds to a hundredth of a processor.
            Ok(quota) => (quota.saturating_mul(1_000_000) / period).next_multiple_of(10_000),
            Err(_) => u64::MAX,
        };
        properties.push(("CPUQuotaPerSecUSec", Value::Number(second)));
    }
    if let Some(tasks) = limits.host_tasks() {
        properties.push(("TasksMax", bytes(tasks)));
    }
    if version_2 {
        for (name, list) in [
            ("AllowedCPUs", &limits.cpus),
            ("AllowedMemoryNodes", &limits.mems),
        ] {
            if let Some(list) = list {
                properties.push((name, Value::Bytes(bits(list))));
            }
        }
    }
    properties
}

/// What a user id is outside of the user namespace that has this map (user_namespaces(7)).
pub fn mapped(map: &str, id: u32) -> u32 {
    let lines = map.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(|field| field.parse::<u32>().ok());
        Some((fields.next()??, fields.next()??, fields.next()??))
    });
    let mut found = lines.filter_map(|(inside, outside, count)| {
        let offset = id.checked_sub(inside).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    });
    found.next().unwrap_or(id)
}

/// A list of numbers as bytes of a mask, the lowest first.
fn bits(list: &str) -> Vec<u8> {
    let mut mask = Vec::new();
    for number in super::number_list(list) {
        let byte = usize::try_from(number / 8).unwrap_or(usize::MAX).min(1024);
        if mask.len() <= byte {
            mask.resize(byte + 1, 0);
        }
        mask[byte] |= 1 << (number % 8);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_slices_and_scopes() {
        let unit = Unit::parse(Some(Path::new("system.slice:docker:abc")), "x", false).unwrap();
        assert_eq!(unit.path(), Path::new("/system.slice/docker-abc.scope"));
        let unit = Unit::parse(Some(Path::new("a-b-c.slice::abc")), "x", false).unwrap();
        assert_eq!(unit.path(), Path::new("/a.slice/a-b.slice/a-b-c.slice/abc.scope"));
        let unit = Unit::parse(None, "x", true).unwrap();
        assert_eq!(unit.path(), Path::new("/user.slice/tegmen-x.scope"));
        for bad in [
            "/docker/abc",
            "a:b",
            "a.slice:b:../../c",
            "a:b:c:d",
            "a/b.slice:c:d",
        ] {
            assert!(Unit::parse(Some(Path::new(bad)), "x", false).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_of_a_users_manager_are_below_it() {
        let unit = Unit::parse(Some(Path::new("user.slice:libpod:abc")), "x", true).unwrap();
        let below = "/user.slice/user-7.slice/user@7.service/user.slice/libpod-abc.scope";
        for own in [
            "/user.slice/user-7.slice/session-3.scope",
            "/user.slice/user-7.slice/user@7.service/user.slice/podman-1.scope",
        ] {
            assert_eq!(unit.place(Path::new(own), 7), Path::new(below), "{own}");
        }
        let unit = Unit::parse(Some(Path::new("system.slice::abc")), "x", false).unwrap();
        assert_eq!(
            unit.place(Path::new("/a"), 7),
            Path::new("/system.slice/abc.scope")
        );
        let map = "         0       1001          1\n         1     100000      65536\n";
        assert_eq!(
            [mapped(map, 0), mapped(map, 5), mapped("", 3)],
            [1001, 100_004, 3]
        );
    }

    #[test]
    fn limits_become_properties() {
        let limits = Limits {
            memory: Some(5),
            quota: Some(50_000),
            period: Some(100_000),
            cpus: Some("0-1,9".into()),
            pids: Some(-1),
            ..Limits::default()
        };
        assert_eq!(
            of_limits(&limits, true),
            [
                ("MemoryMax", Value::Number(5)),
                ("CPUQuotaPerSecUSec", Value::Number(500_000)),
                ("TasksMax", Value::Number(u64::MAX)),
                ("AllowedCPUs", Value::Bytes(vec![3, 2])),
            ]
        );
    }
}
