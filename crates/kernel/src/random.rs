//! Random bytes for guests: getrandom(2), /dev/urandom, AT_RANDOM, identifiers.
//!
//! ChaCha20 (RFC 8439) with fast key erasure: each refill replaces the key by the first bytes of its own output, so what
//! was given out cannot be recomputed from later state. The first key comes from the host through [`seed`].

use sync::{Mutex, rank};

/// Blocks made per refill; the first half block becomes the next key.
const BLOCKS: usize = 16;
const BLOCK_BYTES: usize = 64;
const KEY_WORDS: usize = 8;

struct Generator {
    key: [u32; KEY_WORDS],
    seeded: bool,
    buffer: [u8; BLOCKS * BLOCK_BYTES],
    /// First byte of `buffer` not given out; all are at `buffer.len()`.
    next: usize,
}

static GENERATOR: Mutex<Generator> = Mutex::new(
    rank::LEAF,
    Generator {
        key: [0; KEY_WORDS],
        seeded: false,
        buffer: [0; BLOCKS * BLOCK_BYTES],
        next: BLOCKS * BLOCK_BYTES,
    },
);

fn quarter(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(12);
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(7);
}

/// One ChaCha20 block (RFC 8439 section 2.3).
fn block(key: &[u32; KEY_WORDS], counter: u32, nonce: [u32; 3]) -> [u8; BLOCK_BYTES] {
    let mut state = [0u32; 16];
    state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    state[4..12].copy_from_slice(key);
    state[12] = counter;
    state[13..].copy_from_slice(&nonce);
    let start = state;
    for _ in 0..10 {
        quarter(&mut state, 0, 4, 8, 12);
        quarter(&mut state, 1, 5, 9, 13);
        quarter(&mut state, 2, 6, 10, 14);
        quarter(&mut state, 3, 7, 11, 15);
        quarter(&mut state, 0, 5, 10, 15);
        quarter(&mut state, 1, 6, 11, 12);
        quarter(&mut state, 2, 7, 8, 13);
        quarter(&mut state, 3, 4, 9, 14);
    }
    let mut out = [0; BLOCK_BYTES];
    for (chunk, (word, first)) in out.chunks_exact_mut(4).zip(state.iter().zip(start)) {
        chunk.copy_from_slice(&word.wrapping_add(first).to_le_bytes());
    }
    out
}

impl Generator {
    fn mix(&mut self, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            self.key[index % KEY_WORDS] ^= u32::from_le_bytes(word);
        }
        self.next = self.buffer.len();
    }

    fn refill(&mut self) {
        if !self.seeded {
            // The standard library takes the keys of its hash maps from the host's generator.
            use std::hash::{BuildHasher, RandomState};
            for part in 0..KEY_WORDS / 2 {
                let word = RandomState::new().hash_one(part).to_le_bytes();
                for (index, half) in word.chunks_exact(4).enumerate() {
                    let mut bytes = [0; 4];
                    bytes.copy_from_slice(half);
                    self.key[part * 2 + index] ^= u32::from_le_bytes(bytes);
                }
            }
            self.seeded = true;
        }
        for (index, chunk) in self.buffer.chunks_exact_mut(BLOCK_BYTES).enumerate() {
            chunk.copy_from_slice(&block(&self.key, index as u32, [0; 3]));
        }
        for (word, chunk) in self.key.iter_mut().zip(self.buffer.chunks_exact(4)) {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(chunk);
            *word = u32::from_le_bytes(bytes);
        }
        let used = KEY_WORDS * 4;
        self.buffer[..used].fill(0);
        self.next = used;
    }
}

/// Adds entropy: at the start 32 bytes from the host's generator; later what a guest writes to /dev/random.
pub fn seed(bytes: &[u8]) {
    let mut generator = GENERATOR.lock();
    if !generator.seeded {
        generator.refill();
    }
    generator.mix(bytes);
    generator.refill();
}

/// Fills `out` with random bytes.
pub fn fill(out: &mut [u8]) {
    let mut generator = GENERATOR.lock();
    let mut done = 0;
    while done < out.len() {
        if generator.next == generator.buffer.len() {
            generator.refill();
        }
        let start = generator.next;
        let take = (generator.buffer.len() - start).min(out.len() - done);
        out[done..done + take].copy_from_slice(&generator.buffer[start..start + take]);
        generator.buffer[start..start + take].fill(0);
        generator.next = start + take;
        done += take;
    }
}

/// A random number.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_function_gives_the_rfc_8439_test_vector() {
        let mut key = [0; KEY_WORDS];
        for (index, word) in key.iter_mut().enumerate() {
            let first = index as u8 * 4;
            *word = u32::from_le_bytes([first, first + 1, first + 2, first + 3]);
        }
        let out = block(&key, 1, [0x0900_0000, 0x4a00_0000, 0]);
        assert_eq!(out[..8], [0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15]);
        assert_eq!(out[56..], [0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e]);
    }

    #[test]
    fn two_requests_differ() {
        assert_ne!((number(), number()), (number(), number()));
    }
}
