//! A forwarded connection on a stream of its own: the sandbox's answer, then bytes in pieces both ways.
//!
//! Each is a length (four bytes, little-endian) and as many bytes. An empty answer says that the connection is there, another why it
//! is not. An empty piece ends its direction. Neither side trusts the other with more than a piece of bounded length.

use abi::Errno;

/// Longest piece.
pub const MAX_PIECE: usize = 64 << 10;
/// In place of a length: the connection was reset.
const RESET: u32 = u32::MAX;
const HEAD: usize = 4;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Nothing until more bytes are there.
    More,
    /// Some bytes of a piece, to be [`taken`](Incoming::take).
    Bytes(&'a [u8]),
    /// No more will come.
    End,
    /// The connection was reset.
    Reset,
}

/// Takes pieces out of a stream's bytes, however these are cut.
#[derive(Debug)]
pub struct Incoming {
    buf: Vec<u8>,
    begin: usize,
    end: usize,
    /// Bytes of the piece that have not been taken.
    left: usize,
}

impl Default for Incoming {
    fn default() -> Incoming {
        Incoming {
            buf: vec![0; HEAD + MAX_PIECE],
            begin: 0,
            end: 0,
            left: 0,
        }
    }
}

impl Incoming {
    /// Where the stream's next bytes go: never empty after [`Item::More`].
    pub fn room(&mut self) -> &mut [u8] {
        self.buf.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were put there.
    pub fn filled(&mut self, len: usize) {
        self.end = self.end.saturating_add(len).min(self.buf.len());
    }

    /// What comes next. `EMSGSIZE`: a piece that is too long.
    pub fn item(&mut self) -> Result<Item<'_>, Errno> {
        if self.left == 0 {
            let Some((head, _)) = self.unread().split_first_chunk::<HEAD>() else {
                self.make_room();
                return Ok(Item::More);
            };
            let len = u32::from_le_bytes(*head);
            let left = len as usize;
            if len != RESET && left > MAX_PIECE {
                return Err(Errno::EMSGSIZE);
            }
            self.begin += HEAD;
            match len {
                RESET => return Ok(Item::Reset),
                0 => return Ok(Item::End),
                _ => self.left = left,
            }
        }
        if self.begin == self.end {
            self.make_room();
            return Ok(Item::More);
        }
        let left = self.left;
        let unread = self.unread();
        Ok(Item::Bytes(unread.get(..left).unwrap_or(unread)))
    }

    /// So many of the bytes that were shown are done with. True: they were the piece's last.
    pub fn take(&mut self, len: usize) -> bool {
        let len = len.min(self.left).min(self.end - self.begin);
        self.begin += len;
        self.left -= len;
        self.left == 0
    }

    fn unread(&self) -> &[u8] {
        self.buf.get(self.begin..self.end).unwrap_or_default()
    }

    /// Less than a head is left: it goes to the front.
    fn make_room(&mut self) {
        self.buf.copy_within(self.begin..self.end, 0);
        self.end -= self.begin;
        self.begin = 0;
    }
}

/// One piece on its way into a stream.
#[derive(Debug)]
pub struct Outgoing {
    buf: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Default for Outgoing {
    fn default() -> Outgoing {
        Outgoing {
            buf: vec![0; HEAD + MAX_PIECE],
            begin: 0,
            end: 0,
        }
    }
}

impl Outgoing {
    /// Where the bytes of the next piece go, when [`rest`](Outgoing::rest) is empty.
    pub fn room(&mut self) -> &mut [u8] {
        self.buf.get_mut(HEAD..).unwrap_or_default()
    }

    /// So many bytes were put there; none: the end.
    pub fn filled(&mut self, len: usize) {
        let len = len.min(MAX_PIECE);
        self.head(u32::try_from(len).unwrap_or_default());
        self.end = HEAD + len;
    }

    /// Says that the connection was reset.
    pub fn reset(&mut self) {
        self.head(RESET);
        self.end = HEAD;
    }

    fn head(&mut self, value: u32) {
        if let Some(head) = self.buf.first_chunk_mut::<HEAD>() {
            *head = value.to_le_bytes();
        }
        self.begin = 0;
    }

    /// What the stream has not taken.
    pub fn rest(&self) -> &[u8] {
        self.buf.get(self.begin..self.end).unwrap_or_default()
    }

    /// It took so many bytes.
    pub fn sent(&mut self, len: usize) {
        self.begin = self.begin.saturating_add(len).min(self.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: &[u8]) -> Vec<u8> {
        let mut out = Outgoing::default();
        out.room()[..bytes.len()].copy_from_slice(bytes);
        out.filled(bytes.len());
        out.rest().to_vec()
    }

    /// What comes of a stream that arrives `cut` bytes at a time; the end of it as 'E', a reset as 'R', the end of a piece as '|'.
    fn read(stream: &[u8], cut: usize) -> Result<Vec<u8>, Errno> {
        let (mut incoming, mut rest, mut got) = (Incoming::default(), stream, Vec::new());
        loop {
            match incoming.item()? {
                Item::More if rest.is_empty() => return Ok(got),
                Item::More => {
                    let room = incoming.room();
                    let len = cut.min(rest.len()).min(room.len());
                    assert!(len > 0);
                    room[..len].copy_from_slice(&rest[..len]);
                    rest = &rest[len..];
                    incoming.filled(len);
                }
                Item::Bytes(bytes) => {
                    // Not all at once.
                    let len = bytes.len().div_ceil(2);
                    got.extend(&bytes[..len]);
                    if incoming.take(len) {
                        got.push(b'|');
                    }
                }
                Item::End => got.push(b'E'),
                Item::Reset => got.push(b'R'),
            }
        }
    }

    #[test]
    fn pieces_survive_the_way_however_they_are_cut() {
        let long = vec![b'x'; MAX_PIECE];
        let mut reset = Outgoing::default();
        reset.reset();
        let stream = [
            piece(b"one"),
            piece(&long),
            piece(b""),
            piece(b"t"),
            reset.rest().to_vec(),
        ]
        .concat();
        let want = [b"one|", &long[..], b"|Et|R"].concat();
        for cut in [1, 3, 4, 5, 1000, usize::MAX] {
            assert!(read(&stream, cut) == Ok(want.clone()), "{cut}");
        }
    }

    #[test]
    fn a_piece_that_is_too_long_is_refused() {
        let longest = u32::try_from(MAX_PIECE).unwrap();
        assert_eq!(read(&longest.to_le_bytes(), 4), Ok(Vec::new()));
        for len in [longest + 1, 1 << 31, RESET - 1] {
            assert_eq!(read(&len.to_le_bytes(), 4), Err(Errno::EMSGSIZE));
        }
    }

    #[test]
    fn a_stream_that_takes_little_gets_all() {
        let mut out = Outgoing::default();
        out.room()[..2].copy_from_slice(b"ab");
        out.filled(2);
        let mut got = Vec::new();
        while let Some(byte) = out.rest().first() {
            got.push(*byte);
            out.sent(1);
        }
        assert_eq!(got, [2, 0, 0, 0, b'a', b'b']);
        out.sent(usize::MAX);
        assert!(out.rest().is_empty());
    }
}
