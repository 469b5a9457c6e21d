//! `#!` scripts, by the rules that Linux has had since 5.1 (execve(2), "Interpreter scripts").

use abi::Errno;

/// What the first line of a script names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The interpreter's path.
    pub interpreter: Vec<u8>,
    /// The rest of the line, when there is one.
    pub argument: Option<Vec<u8>>,
}

fn blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Whether the bytes begin like a script.
pub fn is_script(head: &[u8]) -> bool {
    head.starts_with(b"#!")
}

/// Reads the first line. `head` is the beginning of the file, padded with zeroes to [`super::HEAD`] bytes.
pub fn parse(head: &[u8; super::HEAD]) -> Result<Script, Errno> {
    let body = head.get(2..).unwrap_or_default();
    let mut line = match body.iter().position(|byte| *byte == b'\n') {
        Some(end) => &body[..end],
        None => {
            // The last byte never counts: without a terminator before it the name may have been cut off.
            let body = &body[..body.len() - 1];
            let start = body.iter().position(|byte| !blank(*byte)).ok_or(Errno::ENOEXEC)?;
            if !body[start..].iter().any(|byte| blank(*byte) || *byte == 0) {
                return Err(Errno::ENOEXEC);
            }
            body
        }
    };
    while let [rest @ .., last] = line
        && blank(*last)
    {
        line = rest;
    }
    let start = line.iter().position(|byte| !blank(*byte)).ok_or(Errno::ENOEXEC)?;
    let line = &line[start..];
    let end = line.iter().position(|byte| blank(*byte) || *byte == 0);
    let (name, rest) = line.split_at(end.unwrap_or(line.len()));
    if name.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    // A zero byte ends the line as well as the name.
    let rest = match rest.first() {
        Some(byte) if blank(*byte) => rest,
        _ => &[],
    };
    let argument = rest.iter().position(|byte| !blank(*byte)).map(|from| {
        let text = &rest[from..];
        text.iter()
            .position(|byte| *byte == 0)
            .map_or(text, |end| &text[..end])
            .to_vec()
    });
    Ok(Script {
        interpreter: name.to_vec(),
        argument: argument.filter(|text| !text.is_empty()),
    })
}
