//! Reassembly of fragments (RFC 791, RFC 8200 section 4.5, RFC 5722: overlaps kill the packet).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::Instant;
use crate::siphash::Key;
use crate::timer::Timers;

/// Packets that wait for fragments at a time.
pub const MAX_REASSEMBLIES: usize = 1024;
/// Pieces of one packet: what a packet of 64 KiB needs on a path of the least IPv6 MTU, with room.
pub const MAX_PIECES: usize = 128;
/// Longest packet.
const MAX_LENGTH: usize = 65_535;

/// What tells packets apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub id: u32,
    pub interface: u32,
}

#[derive(Debug, Default)]
struct Partial {
    /// Offset and bytes, in order, without overlap.
    pieces: Vec<(usize, Vec<u8>)>,
    bytes: usize,
    /// Length of the whole, once the last piece is there.
    total: Option<usize>,
    armed: Option<Instant>,
}

/// What a piece led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// More is needed.
    Wait,
    /// The whole payload.
    Whole(Vec<u8>),
    /// Malformed or too much: dropped.
    Fail,
}

/// Packets whose fragments come in.
#[derive(Debug)]
pub(crate) struct Reassembly {
    partial: HashMap<Name, Partial, Key>,
    timers: Timers<Name>,
    bytes: usize,
}

impl Reassembly {
    pub(crate) fn new(key: Key) -> Reassembly {
        Reassembly {
            partial: HashMap::with_hasher(key),
            timers: Timers::default(),
            bytes: 0,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Takes a piece in. `limit` bounds all bytes that wait, `time` how long a packet may wait.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        name: Name,
        (offset, more): (usize, bool),
        bytes: &[u8],
        (limit, time): (usize, Duration),
    ) -> Outcome {
        let end = offset + bytes.len();
        if end > MAX_LENGTH || (more && (!bytes.len().is_multiple_of(8) || bytes.is_empty())) {
            return Outcome::Fail;
        }
        if !self.partial.contains_key(&name) {
            while self.partial.len() >= MAX_REASSEMBLIES || self.bytes + bytes.len() > limit {
                let Some(oldest) = self.timers.expired(Instant::from_nanos(u64::MAX)) else {
                    return Outcome::Fail;
                };
                self.forget(oldest);
            }
            let mut fresh = Partial::default();
            self.timers.arm(name, &mut fresh.armed, Some(now + time));
            self.partial.insert(name, fresh);
        }
        if self.bytes + bytes.len() > limit {
            self.forget(name);
            return Outcome::Fail;
        }
        let Some(partial) = self.partial.get_mut(&name) else {
            return Outcome::Fail;
        };
        match partial.insert(offset, bytes, more) {
            Ok(added) => self.bytes += added,
            Err(()) => {
                self.forget(name);
                return Outcome::Fail;
            }
        }
        let Some(total) = partial.total.filter(|&t| t == partial.bytes) else {
            return Outcome::Wait;
        };
        let mut whole = Vec::with_capacity(total);
        for (_, piece) in &partial.pieces {
            whole.extend_from_slice(piece);
        }
        self.forget(name);
        Outcome::Whole(whole)
    }

    /// Drops a packet that waited too long; its first piece, if that had come (for the ICMP error).
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(Name, Option<Vec<u8>>)> {
        let name = self.timers.expired(now)?;
        let first = self
            .partial
            .get_mut(&name)
            .and_then(|p| p.pieces.first_mut())
            .filter(|p| p.0 == 0)
            .map(|p| std::mem::take(&mut p.1));
        if let Some(first) = &first {
            // `forget` subtracts what is counted; keep the sum right.
            debug_assert!(self.bytes >= first.len());
        }
        self.forget(name);
        Some((name, first))
    }

    fn forget(&mut self, name: Name) {
        if let Some(mut partial) = self.partial.remove(&name) {
            self.timers.disarm(name, &mut partial.armed);
            self.bytes -= partial.bytes;
        }
    }
}

impl Partial {
    /// Bytes added; an error for an overlap or a contradiction about the length.
    fn insert(&mut self, offset: usize, bytes: &[u8], more: bool) -> Result<usize, ()> {
        let end = offset + bytes.len();
        if !more {
            if self.total.is_some_and(|t| t != end) {
                return Err(());
            }
            self.total = Some(end);
        }
        if self
            .total
            .is_some_and(|t| end > t || self.pieces.last().is_some_and(|(o, p)| o + p.len() > t))
        {
            return Err(());
        }
        let at = self.pieces.partition_point(|(o, _)| *o < offset);
        let before = at.checked_sub(1).and_then(|i| self.pieces.get(i));
        if let Some((o, piece)) = self.pieces.get(at) {
            // An exact copy is a duplicate of the network, not an attack.
            if *o == offset && piece.len() == bytes.len() {
                return Ok(0);
            }
            if *o < end {
                return Err(());
            }
        }
        if before.is_some_and(|(o, p)| o + p.len() > offset) || self.pieces.len() >= MAX_PIECES {
            return Err(());
        }
        self.pieces.insert(at, (offset, bytes.to_vec()));
        self.bytes += bytes.len();
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LIMITS: (usize, Duration) = (1 << 20, Duration::from_secs(30));

    fn name(id: u32) -> Name {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Name {
            src: ip,
            dst: ip,
            protocol: 17,
            id,
            interface: 1,
        }
    }

    #[test]
    fn any_order_makes_the_whole() {
        let whole: Vec<u8> = (0..100u8).collect();
        let mut r = Reassembly::new(Key(1, 2));
        let now = Instant::ZERO;
        assert_eq!(
            r.add(now, name(1), (80, false), &whole[80..], LIMITS),
            Outcome::Wait
        );
        assert_eq!(
            r.add(now, name(1), (0, true), &whole[..40], LIMITS),
            Outcome::Wait
        );
        assert_eq!(
            r.add(now, name(1), (0, true), &whole[..40], LIMITS),
            Outcome::Wait
        );
        assert_eq!(
            r.add(now, name(1), (40, true), &whole[40..80], LIMITS),
            Outcome::Whole(whole.clone())
        );
        assert_eq!((r.bytes, r.deadline()), (0, None));
    }

    #[test]
    fn overlap_kills() {
        let mut r = Reassembly::new(Key(1, 2));
        assert_eq!(
            r.add(Instant::ZERO, name(1), (0, true), &[0; 16], LIMITS),
            Outcome::Wait
        );
        assert_eq!(
            r.add(Instant::ZERO, name(1), (8, false), &[0; 16], LIMITS),
            Outcome::Fail
        );
        assert_eq!(r.bytes, 0);
    }

    #[test]
    fn memory_is_bounded_and_expires() {
        let mut r = Reassembly::new(Key(1, 2));
        for id in 0..5000 {
            r.add(Instant::ZERO, name(id), (0, true), &[0; 1024], LIMITS);
        }
        assert!(r.bytes <= LIMITS.0 && r.partial.len() <= MAX_REASSEMBLIES);
        let later = Instant::ZERO + Duration::from_secs(31);
        while r.expire(later).is_some() {}
        assert_eq!((r.bytes, r.partial.len()), (0, 0));
    }
}
