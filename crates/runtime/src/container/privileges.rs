//! What config.json lets a process do: capabilities, system call filter, no_new_privs and the like.

use oci_spec::runtime::{
    Capabilities as Names, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall, Process as SpecProcess,
};
use sandbox::container::{Capabilities, Privileges};
use sandbox::seccomp::{self, Action, Condition, Profile, RawInstruction, Rule, Test};

use crate::failure::Failure;

/// Names by number, capabilities(7).
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// All that this runtime knows, as config.json has them.
pub fn capability_names() -> Vec<String> {
    let mut names: Vec<String> = CAPABILITIES.iter().map(|name| format!("CAP_{name}")).collect();
    names.sort();
    names
}

/// The number of a capability, by its name with or without CAP_, in any case.
pub fn capability_number(name: &str) -> Option<u32> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    CAPABILITIES
        .iter()
        .position(|known| *known == name)
        .and_then(|at| u32::try_from(at).ok())
}

fn set(names: Option<&Names>) -> u64 {
    let numbers = names
        .into_iter()
        .flatten()
        .filter_map(|name| capability_number(&name.to_string()));
    numbers.fold(0, |set, number| set | 1 << number)
}

/// What a process may do. The filter comes from the container.
pub fn of_process(process: &SpecProcess, seccomp: Option<&LinuxSeccomp>) -> Result<Privileges, Failure> {
    let sets = process.capabilities().as_ref().map(|caps| Capabilities {
        bounding: set(caps.bounding().as_ref()),
        effective: set(caps.effective().as_ref()),
        inheritable: set(caps.inheritable().as_ref()),
        permitted: set(caps.permitted().as_ref()),
        ambient: set(caps.ambient().as_ref()),
    });
    let (seccomp, seccomp_log) = match seccomp {
        Some(profile) => (program(profile)?, wants_log(profile)),
        None => (None, false),
    };
    Ok(Privileges {
        // Without a word on capabilities a process has none, as with runc.
        capabilities: Some(sets.unwrap_or_default()),
        no_new_privs: process.no_new_privileges().unwrap_or(false),
        seccomp,
        seccomp_log,
        oom_score_adj: process.oom_score_adj(),
        ..Privileges::default()
    })
}

fn wants_log(profile: &LinuxSeccomp) -> bool {
    let flags = profile.flags().as_deref().unwrap_or_default();
    flags.contains(&LinuxSeccompFilterFlag::SeccompFilterFlagLog)
}

fn program(profile: &LinuxSeccomp) -> Result<Option<Vec<RawInstruction>>, Failure> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let rules = profile
        .syscalls()
        .iter()
        .flatten()
        .map(rule)
        .collect::<Result<Vec<_>, _>>()?;
    if default == Action::Allow && rules.iter().all(|rule| rule.action == Action::Allow) {
        return Ok(None);
    }
    // A rule that says what the default says anyway is left out, as runc does it: conditions on it would not matter.
    let rules = rules
        .into_iter()
        .filter(|rule| rule.action != default || default == Action::Allow);
    let profile = Profile {
        default,
        rules: rules.collect(),
    };
    match seccomp::compile(&profile) {
        Ok(program) => Ok(Some(program)),
        Err(error) => Err(Failure::own(error.to_string())),
    }
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action, Failure> {
    /// EPERM, where the configuration names none.
    const USUAL: u16 = 1;
    let errno = errno.map_or(USUAL, |errno| u16::try_from(errno).unwrap_or(u16::MAX));
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Action::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => Action::KillProcess,
        LinuxSeccompAction::ScmpActTrap => Action::Trap,
        LinuxSeccompAction::ScmpActErrno => Action::Errno(errno),
        LinuxSeccompAction::ScmpActTrace => Action::Trace(errno),
        LinuxSeccompAction::ScmpActLog => Action::Log,
        LinuxSeccompAction::ScmpActAllow => Action::Allow,
        LinuxSeccompAction::ScmpActNotify => {
            // The agent would look at memory, files and descriptors of a process of the host, and a call that it lets continue
            // would be the host's. Without an agent the calls would be allowed or denied by nobody's decision.
            return Err(Failure::own(
                "seccomp: SCMP_ACT_NOTIFY is not supported: an agent on the host can act on processes of the host only, \
                 and no system call of a sandbox reaches the host",
            ));
        }
    })
}

fn rule(syscall: &LinuxSyscall) -> Result<Rule, Failure> {
    Ok(Rule {
        names: syscall.names().clone(),
        action: action(syscall.action(), syscall.errno_ret())?,
        conditions: syscall
            .args()
            .iter()
            .flatten()
            .map(condition)
            .collect::<Result<_, _>>()?,
    })
}

fn condition(arg: &LinuxSeccompArg) -> Result<Condition, Failure> {
    let value = arg.value();
    let test = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => Test::NotEqual(value),
        LinuxSeccompOperator::ScmpCmpLt => Test::Less(value),
        LinuxSeccompOperator::ScmpCmpLe => Test::LessOrEqual(value),
        LinuxSeccompOperator::ScmpCmpEq => Test::Equal(value),
        LinuxSeccompOperator::ScmpCmpGe => Test::GreaterOrEqual(value),
        LinuxSeccompOperator::ScmpCmpGt => Test::Greater(value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => Test::Masked(value, arg.value_two().unwrap_or(0)),
    };
    let argument = u32::try_from(arg.index()).map_err(|_| Failure::own("seccomp: no such argument"))?;
    Ok(Condition { argument, test })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_their_numbers() {
        assert_eq!(capability_number("CAP_CHOWN"), Some(0));
        assert_eq!(capability_number("sys_admin"), Some(21));
        assert_eq!(capability_number("CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(capability_number("CAP_EVERYTHING"), None);
    }

    #[test]
    fn profiles_are_understood() {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86_64"],
            "syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
            {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}]}"#;
        let profile: LinuxSeccomp = serde_json::from_str(text).unwrap();
        assert!(program(&profile).unwrap().is_some());
        let notify = text.replace("SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY");
        let profile: LinuxSeccomp = serde_json::from_str(&notify).unwrap();
        assert!(program(&profile).is_err());
    }
}
