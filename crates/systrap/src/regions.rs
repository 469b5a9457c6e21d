//! What the engine itself remembers of a guest's mappings: access per range, for forced writes and code patching.

use std::collections::BTreeMap;

use platform::Prot;

/// How a range may be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// By the guest.
    pub prot: Prot,
    /// Whether changes are seen by others: then nothing is ever written by force.
    pub shared: bool,
}

/// Disjoint ranges with their access.
#[derive(Clone, Debug, Default)]
pub struct Regions(BTreeMap<u64, (u64, Access)>);

impl Regions {
    /// Forgets `[start, end)`.
    pub fn clear(&mut self, start: u64, end: u64) {
        let first = self.0.range(..start).next_back().map(|(s, (e, p))| (*s, *e, *p));
        if let Some((s, e, prot)) = first
            && e > start
        {
            self.0.insert(s, (start, prot));
            if e > end {
                self.0.insert(end, (e, prot));
            }
        }
        while let Some((s, (e, prot))) = self.0.range(start..end).next().map(|(s, v)| (*s, *v)) {
            self.0.remove(&s);
            if e > end {
                self.0.insert(end, (e, prot));
            }
        }
    }

    /// Sets the access of `[start, end)`.
    pub fn set(&mut self, start: u64, end: u64, access: Access) {
        self.clear(start, end);
        self.0.insert(start, (end, access));
    }

    /// Changes the access of what is mapped in `[start, end)`.
    pub fn protect(&mut self, start: u64, end: u64, prot: Prot) {
        let pieces = self.pieces(start, end);
        for (s, e, access) in pieces {
            self.set(s, e, Access { prot, ..access });
        }
    }

    /// The mapped pieces of `[start, end)`.
    pub fn pieces(&self, start: u64, end: u64) -> Vec<(u64, u64, Access)> {
        let before = self.0.range(..start).next_back();
        before
            .into_iter()
            .chain(self.0.range(start..end))
            .map(|(s, (e, p))| ((*s).max(start), (*e).min(end), *p))
            .filter(|(s, e, _)| s < e)
            .collect()
    }

    /// Whether all of `[start, end)` is mapped with this access.
    pub fn allow(&self, start: u64, end: u64, prot: Prot) -> bool {
        let mut at = start;
        while at < end {
            match self.0.range(..=at).next_back() {
                Some((_, (e, access))) if *e > at && access.prot.contains(prot) => at = *e,
                _ => return false,
            }
        }
        true
    }

    /// Moves or copies `[old, old + old_len)` to `new`, `new_len` long; the last piece's access goes on to the end.
    pub fn remap(&mut self, old: u64, old_len: u64, new: u64, new_len: u64, keep_old: bool) {
        let look = old_len.max(1);
        let pieces = self.pieces(old, old + look);
        if !keep_old {
            self.clear(old, old + old_len);
        }
        self.clear(new, new + new_len);
        let Some((_, _, last)) = pieces.last().copied() else {
            return;
        };
        for (s, e, prot) in pieces {
            let (s, e) = (s - old, (e - old).min(new_len));
            if s < e {
                self.set(new + s, new + e, prot);
            }
        }
        if new_len > old_len {
            self.set(new + old_len, new + new_len, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(prot: Prot) -> Access {
        Access { prot, shared: false }
    }

    #[test]
    fn splitting_keeps_both_ends() {
        let mut r = Regions::default();
        r.set(0x1000, 0x9000, access(Prot::READ));
        r.protect(0x3000, 0x4000, Prot::WRITE);
        assert!(r.allow(0x1800, 0x2000, Prot::READ) && !r.allow(0x2ff0, 0x3001, Prot::READ));
        r.clear(0x5000, 0x6000);
        assert!(r.allow(0x4000, 0x5000, Prot::READ) && !r.allow(0x4000, 0x5001, Prot::READ));
        assert_eq!(
            r.pieces(0, 0x10000),
            vec![
                (0x1000, 0x3000, access(Prot::READ)),
                (0x3000, 0x4000, access(Prot::WRITE)),
                (0x4000, 0x5000, access(Prot::READ)),
                (0x6000, 0x9000, access(Prot::READ))
            ]
        );
    }

    #[test]
    fn remapping_moves_and_grows() {
        let mut r = Regions::default();
        r.set(0x1000, 0x3000, access(Prot::READ));
        r.remap(0x1000, 0x2000, 0x8000, 0x4000, false);
        assert_eq!(
            r.pieces(0, 0x10000),
            vec![
                (0x8000, 0xa000, access(Prot::READ)),
                (0xa000, 0xc000, access(Prot::READ))
            ]
        );
    }
}
