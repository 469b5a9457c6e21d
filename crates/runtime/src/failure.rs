//! What is told to the user when the command cannot do its work: one line and an exit status.

/// Exit status for errors of tegmen itself, as docker and env(1) use it.
pub const OWN_ERROR: u8 = 125;

/// An error for the user.
#[derive(Debug)]
pub struct Failure {
    /// Exit status: 125 for our own errors, 126 not executable, 127 not found.
    pub status: u8,
    /// One line, without the program's name; empty when it has been told already.
    pub message: String,
}

impl Failure {
    /// An error of tegmen itself.
    pub fn own(message: impl Into<String>) -> Failure {
        Failure {
            status: OWN_ERROR,
            message: message.into(),
        }
    }
}

impl Failure {
    /// The message as a terminal may have it: parts of it may come from a sandbox, or from its files.
    pub fn shown(&self) -> String {
        self.message
            .chars()
            .filter(|c| *c == '\n' || !sandbox::words::is_order(*c))
            .collect()
    }
}

/// Adds what was being done to an error of the host.
pub trait While<T> {
    /// Turns the error into a [`Failure`] that reads "`doing`: error".
    fn while_doing(self, doing: &str) -> Result<T, Failure>;
}

impl<T> While<T> for Result<T, abi::Errno> {
    fn while_doing(self, doing: &str) -> Result<T, Failure> {
        self.map_err(|errno| Failure::own(format!("{doing}: {}", describe(errno))))
    }
}

impl<T> While<T> for std::io::Result<T> {
    fn while_doing(self, doing: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::own(format!("{doing}: {}", plain(&error))))
    }
}

/// The text of an error of the standard library without "(os error N)", which says nothing to a user.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// The text of an errno as strerror(3) has it.
pub fn describe(errno: abi::Errno) -> String {
    plain(&std::io::Error::from_raw_os_error(errno.raw()))
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn a_message_cannot_command_the_terminal() {
        let message = "no such\u{1b}]0;owned\u{7} \u{9b}31mthing\nusage\r";
        assert_eq!(Failure::own(message).shown(), "no such]0;owned 31mthing\nusage");
    }
}
