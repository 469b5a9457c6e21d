//! SipHash-2-4: a keyed hash for tables that a peer fills, initial sequence numbers (RFC 6528) and random numbers.

use std::hash::{BuildHasher, Hasher};

/// A secret key. Who does not know it cannot choose inputs that collide, nor guess outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key(pub u64, pub u64);

impl Key {
    pub(crate) fn from_bytes(bytes: &[u8; 32], half: usize) -> Key {
        let word = |i: usize| {
            let mut w = [0u8; 8];
            w.copy_from_slice(&bytes[i * 8..i * 8 + 8]);
            u64::from_le_bytes(w)
        };
        Key(word(half * 2), word(half * 2 + 1))
    }

    /// The hash of `words`.
    pub(crate) fn hash(self, words: &[u64]) -> u64 {
        let mut state = State::new(self);
        for &w in words {
            state.absorb(w);
        }
        state.finish((words.len() as u64) << 59)
    }
}

impl BuildHasher for Key {
    type Hasher = KeyedHasher;
    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher {
            state: State::new(*self),
            words: 0,
        }
    }
}

struct State([u64; 4]);

impl State {
    fn new(key: Key) -> State {
        State([
            key.0 ^ 0x736f_6d65_7073_6575,
            key.1 ^ 0x646f_7261_6e64_6f6d,
            key.0 ^ 0x6c79_6765_6e65_7261,
            key.1 ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline]
    fn round(&mut self) {
        let [v0, v1, v2, v3] = &mut self.0;
        *v0 = v0.wrapping_add(*v1);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v3);
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.wrapping_add(*v3);
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.wrapping_add(*v1);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v2 = v2.rotate_left(32);
    }

    #[inline]
    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    /// One round instead of two: SipHash-1-3, which is enough for tables.
    #[inline]
    fn absorb_lightly(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    fn finish(mut self, last: u64) -> u64 {
        self.absorb(last);
        self.0[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

/// The hasher of hash tables: SipHash-1-3 over whole words. Keys of one table have one shape, so that the words alone
/// tell them apart.
pub(crate) struct KeyedHasher {
    state: State,
    words: u64,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }

    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.state.absorb_lightly(n);
        self.words += 1;
    }

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    #[inline]
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        let mut state = State(self.state.0);
        state.absorb_lightly(self.words << 56);
        state.0[2] ^= 0xff;
        for _ in 0..3 {
            state.round();
        }
        state.0[0] ^ state.0[1] ^ state.0[2] ^ state.0[3]
    }
}

/// Numbers that a peer cannot guess: the keyed hash of a counter.
#[derive(Debug)]
pub(crate) struct Random {
    key: Key,
    counter: u64,
}

impl Random {
    pub(crate) fn new(key: Key) -> Random {
        Random { key, counter: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        self.key.hash(&[self.counter, 0x7261_6e64])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_vector() {
        // The vector of the SipHash paper, appendix A: key 00..0f, input 00..0e.
        let mut state = State::new(Key(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908));
        state.absorb(0x0706_0504_0302_0100);
        assert_eq!(state.finish(0x0f0e_0d0c_0b0a_0908), 0xa129_ca61_49be_45e5);
    }
}
