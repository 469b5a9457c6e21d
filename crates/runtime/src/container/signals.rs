//! Names of signals, as `kill` takes them.

const NAMES: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// First and last real-time signal as the C library counts them.
const REAL_TIME: (u32, u32) = (34, 64);

/// The number of a signal given by number or by name, with or without `SIG`. 0 asks whether there is a process.
pub fn number(text: &str) -> Option<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return (0..=REAL_TIME.1).contains(&number).then_some(number);
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return u32::try_from(at + 1).ok();
    }
    let (first, last) = REAL_TIME;
    match name {
        "IOT" => return Some(6),
        "CLD" => return Some(17),
        "POLL" => return Some(29),
        "RTMIN" => return Some(first),
        "RTMAX" => return Some(last),
        _ => {}
    }
    let offset = |rest: &str| rest.parse::<u32>().ok().filter(|offset| *offset <= last - first);
    if let Some(rest) = name.strip_prefix("RTMIN+") {
        return offset(rest).map(|offset| first + offset);
    }
    name.strip_prefix("RTMAX-")
        .and_then(offset)
        .map(|offset| last - offset)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers() {
        for (text, wanted) in [
            ("9", Some(9)),
            ("KILL", Some(9)),
            ("SIGTERM", Some(15)),
            ("sigusr1", Some(10)),
            ("SYS", Some(31)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("0", Some(0)),
            ("65", None),
            ("NOSUCH", None),
            ("RTMIN+99", None),
        ] {
            assert_eq!(number(text), wanted, "{text}");
        }
    }
}
