//! Packets between the command and the sentry.
//!
//! The command trusts nothing it receives: a sentry that was taken over can send any bytes, which at worst become a
//! wrong exit status or a line of text.

use host::tty::WindowSize;

use crate::words::one_line;

/// Longest packet.
pub const MAX_PACKET: usize = 512;

/// From the command to the sentry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSentry {
    /// A signal that the command received, for the guest.
    Signal(i32),
    /// The caller's terminal has another size.
    WindowSize(WindowSize),
}

/// From the sentry to the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromSentry {
    /// Everything is there and the first process waits for its start.
    Ready,
    /// The guest's command exited.
    Exited(u8),
    /// The guest's command was killed by a signal.
    Killed(i32),
    /// The sandbox could not be started or had to end: exit status and one line.
    Failed(u8, String),
}

impl ToSentry {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            ToSentry::Signal(signal) => vec![1, *signal as u8],
            ToSentry::WindowSize(size) => {
                let mut bytes = vec![2];
                for field in [size.rows, size.columns, size.x_pixels, size.y_pixels] {
                    bytes.extend(field.to_le_bytes());
                }
                bytes
            }
        }
    }

    /// From bytes; `None` if they are no such packet.
    pub fn decode(bytes: &[u8]) -> Option<ToSentry> {
        match bytes {
            [1, signal @ 1..=64] => Some(ToSentry::Signal(i32::from(*signal))),
            [2, a, b, c, d, e, f, g, h] => Some(ToSentry::WindowSize(WindowSize {
                rows: u16::from_le_bytes([*a, *b]),
                columns: u16::from_le_bytes([*c, *d]),
                x_pixels: u16::from_le_bytes([*e, *f]),
                y_pixels: u16::from_le_bytes([*g, *h]),
            })),
            _ => None,
        }
    }
}

impl FromSentry {
    /// As bytes, at most [`MAX_PACKET`]; a longer message is cut.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            FromSentry::Ready => vec![4],
            FromSentry::Exited(status) => vec![1, *status],
            FromSentry::Killed(signal) => vec![2, *signal as u8],
            FromSentry::Failed(status, message) => {
                let mut bytes = vec![3, *status];
                bytes.extend(message.bytes().take(MAX_PACKET - 2));
                bytes
            }
        }
    }

    /// From bytes; `None` if they are no such packet.
    pub fn decode(bytes: &[u8]) -> Option<FromSentry> {
        match bytes {
            [4] => Some(FromSentry::Ready),
            [1, status] => Some(FromSentry::Exited(*status)),
            [2, signal @ 1..=64] => Some(FromSentry::Killed(i32::from(*signal))),
            [3, status, message @ ..] => Some(FromSentry::Failed(
                *status,
                one_line(&String::from_utf8_lossy(message), MAX_PACKET),
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_survive_the_way() {
        let size = WindowSize {
            rows: 24,
            columns: 300,
            x_pixels: 1,
            y_pixels: 2,
        };
        for packet in [ToSentry::Signal(15), ToSentry::WindowSize(size)] {
            assert_eq!(ToSentry::decode(&packet.encode()), Some(packet));
        }
        for packet in [
            FromSentry::Ready,
            FromSentry::Exited(255),
            FromSentry::Killed(9),
            FromSentry::Failed(127, "no such".into()),
        ] {
            assert_eq!(FromSentry::decode(&packet.encode()), Some(packet));
        }
    }

    #[test]
    fn odd_bytes_are_refused_and_text_is_tamed() {
        for bytes in [&[][..], &[1, 0], &[1, 65], &[2, 1], &[9, 9]] {
            assert_eq!(ToSentry::decode(bytes), None);
        }
        assert_eq!(FromSentry::decode(&[2, 0]), None);
        assert_eq!(
            FromSentry::decode(b"\x03\x01a\x1b[2J\nb"),
            Some(FromSentry::Failed(1, "a[2Jb".into()))
        );
        assert_eq!(FromSentry::Failed(1, "x".repeat(9999)).encode().len(), MAX_PACKET);
    }
}
