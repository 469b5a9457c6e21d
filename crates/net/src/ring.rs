//! A ring of bytes that grows with what is in it: what a TCP socket has sent, and what came out of order.
//!
//! An empty ring owns no memory, so an idle connection costs none.

/// First allocation of a ring.
const SMALLEST: usize = 2048;

/// A queue of bytes; at most two slices cover any range of it.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    storage: Vec<u8>,
    head: usize,
    len: usize,
}

impl Ring {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that the ring holds.
    pub(crate) fn allocated(&self) -> usize {
        self.storage.len()
    }

    /// The `max` bytes from `offset` on, or fewer when the queue ends before.
    pub(crate) fn slices(&self, offset: usize, max: usize) -> (&[u8], &[u8]) {
        let offset = offset.min(self.len);
        let n = max.min(self.len - offset);
        if n == 0 {
            return (&[], &[]);
        }
        let start = self.wrap(self.head + offset);
        let first = n.min(self.storage.len() - start);
        (&self.storage[start..start + first], &self.storage[..n - first])
    }

    /// Drops `n` bytes from the front. Bytes behind the end stay where they are.
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.len);
        self.len -= n;
        self.head = self.wrap(self.head + n);
    }

    /// Gives the memory of an empty ring back. Bytes behind the end are lost.
    pub(crate) fn trim(&mut self) {
        if self.len == 0 {
            self.storage = Vec::new();
            self.head = 0;
        }
    }

    /// Room for `n` bytes behind the end, in at most two pieces; [`Ring::commit`] makes it part of the queue.
    pub(crate) fn room(&mut self, n: usize) -> (&mut [u8], &mut [u8]) {
        self.reserve(n);
        let tail = self.wrap(self.head + self.len);
        let first = n.min(self.storage.len() - tail);
        let (low, high) = self.storage.split_at_mut(tail);
        (&mut high[..first], &mut low[..n - first])
    }

    /// Writes `bytes` at `offset` behind the end, without making it part of the queue yet.
    pub(crate) fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        self.reserve(offset + bytes.len());
        if bytes.is_empty() {
            return;
        }
        let start = self.wrap(self.head + self.len + offset);
        let first = bytes.len().min(self.storage.len() - start);
        self.storage[start..start + first].copy_from_slice(&bytes[..first]);
        self.storage[..bytes.len() - first].copy_from_slice(&bytes[first..]);
    }

    /// Makes `n` bytes, written before through [`Ring::room`] or [`Ring::write_at`], part of the queue.
    pub(crate) fn commit(&mut self, n: usize) {
        self.len = (self.len + n).min(self.storage.len());
    }

    fn reserve(&mut self, n: usize) {
        let need = self.len + n;
        if need <= self.storage.len() {
            return;
        }
        let size = need.max(SMALLEST).next_power_of_two();
        let mut grown = vec![0; size];
        // All that may hold bytes, also those written behind the end.
        let old = self.storage.len();
        let first = old - self.head;
        grown[..first].copy_from_slice(&self.storage[self.head..]);
        grown[first..old].copy_from_slice(&self.storage[..self.head]);
        self.storage = grown;
        self.head = 0;
    }

    fn wrap(&self, at: usize) -> usize {
        if at >= self.storage.len() {
            at - self.storage.len()
        } else {
            at
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, bytes: &[u8]) {
        let (a, b) = ring.room(bytes.len());
        let split = a.len();
        a.copy_from_slice(&bytes[..split]);
        b.copy_from_slice(&bytes[split..]);
        ring.commit(bytes.len());
    }

    #[test]
    fn wraps_and_grows_in_order() {
        let mut ring = Ring::default();
        let (mut wrote, mut read) = (0u32, 0u32);
        for step in 0..2000usize {
            let chunk: Vec<u8> = (0..step % 700)
                .map(|_| {
                    wrote += 1;
                    (wrote % 251) as u8
                })
                .collect();
            push(&mut ring, &chunk);
            let take = (step * 7) % 650;
            let (a, b) = ring.slices(0, take);
            let seen: Vec<u8> = a.iter().chain(b).copied().collect();
            for b in &seen {
                read += 1;
                assert_eq!(*b, (read % 251) as u8);
            }
            ring.consume(seen.len());
        }
    }

    #[test]
    fn bytes_behind_the_end_survive_growth() {
        let mut ring = Ring::default();
        push(&mut ring, &[1; 2000]);
        ring.consume(1900);
        ring.write_at(50, &[7; 1000]);
        ring.write_at(3000, &[8; 1000]);
        push(&mut ring, &[2; 50]);
        ring.commit(1000);
        let (a, b) = ring.slices(150, 1000);
        assert!(a.iter().chain(b).all(|&x| x == 7));
        assert_eq!(ring.len(), 1150);
    }
}
