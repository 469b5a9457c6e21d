//! The scoreboard: what was sent, when, and what is known of it (RFC 2018, RFC 6675, RACK of RFC 8985).
//!
//! One record is what went out in one frame: a super-segment is one. Records are split where acknowledgements divide them.

use std::collections::VecDeque;
use std::time::Duration;

use super::before;
use crate::Instant;

/// Records of one connection. A window of small segments is bounded by this; more is sent once acknowledgements come.
pub const MAX_RECORDS: usize = 8192;
/// Records that a peer's SACK blocks may cut them into: each acknowledgement looks at all. No receiver reports every other byte.
const MAX_PIECES: usize = 2 * MAX_RECORDS;

/// A stretch of numbers that was sent in one go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub start: u32,
    pub end: u32,
    pub sent: Instant,
    /// Bytes delivered when it was sent (for the delivery rate).
    pub sacked: bool,
    /// Believed lost; once sent again, `resent` says that it is in the network again.
    pub lost: bool,
    pub resent: bool,
    /// Sent more than once: an acknowledgement does not tell which of them arrived.
    pub ambiguous: bool,
}

impl Record {
    fn len(&self) -> usize {
        self.end.wrapping_sub(self.start) as usize
    }
}

/// What an acknowledgement brought.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Bytes acknowledged or sacked for the first time.
    pub bytes: usize,
    /// Time in flight of the latest of them that is unambiguous.
    pub rtt: Option<Duration>,
    /// Something below the highest sacked arrived without being resent: the network reorders.
    pub reordered: bool,
    /// A SACK block brought news.
    pub newly_sacked: bool,
    /// Highest number that was sacked before this acknowledgement.
    pub highest: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Scoreboard {
    records: VecDeque<Record>,
    sacked: usize,
    /// Lost and not resent.
    lost: usize,
    total: usize,
    /// Segments that duplicate acknowledgements stand for, when the peer does not do SACK.
    pub duplicates: usize,
    pub mss: usize,
    highest: Option<u32>,
    /// The latest-sent record that is known to have arrived: its time and end, and its round trip.
    rack: Option<(Instant, u32)>,
    rack_rtt: Duration,
    /// Reordering has been seen on this connection.
    pub reordering: bool,
    /// Multiplier of the reordering window (RFC 8985, section 6.2).
    pub window_steps: u32,
}

impl Scoreboard {
    /// Bytes that are believed to be in the network.
    pub(crate) fn in_flight(&self) -> usize {
        let left =
            self.sacked + self.lost + (self.duplicates * self.mss).min(self.total - self.sacked - self.lost);
        self.total - left
    }

    /// The highest number that is sacked.
    pub(crate) fn highest(&self) -> Option<u32> {
        self.highest.filter(|_| self.sacked > 0)
    }

    pub(crate) fn sacked(&self) -> usize {
        self.sacked
    }

    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes resent that are not acknowledged.
    pub(crate) fn resent(&self) -> usize {
        if self.lost == 0 && self.sacked == 0 && self.rack.is_none() {
            return 0;
        }
        self.records
            .iter()
            .filter(|r| r.resent && !r.sacked)
            .map(Record::len)
            .sum()
    }

    /// Something new was sent.
    pub(crate) fn push(&mut self, start: u32, end: u32, now: Instant) {
        self.total += end.wrapping_sub(start) as usize;
        // Small segments that follow each other at once share a record.
        self.records.push_back(Record {
            start,
            end,
            sent: now,
            sacked: false,
            lost: false,
            resent: false,
            ambiguous: false,
        });
    }

    /// Everything before `ack` has arrived.
    pub(crate) fn acknowledge(&mut self, ack: u32, now: Instant, out: &mut Delivered) {
        while let Some(first) = self.records.front().copied() {
            if !before(first.start, ack) {
                break;
            }
            let whole = !before(ack, first.end);
            let end = if whole { first.end } else { ack };
            let len = end.wrapping_sub(first.start) as usize;
            self.total -= len;
            if first.sacked {
                self.sacked -= len;
            } else {
                out.bytes += len;
                if first.lost && !first.resent {
                    self.lost -= len;
                }
                self.arrived(&first, now, out);
            }
            if whole {
                self.records.pop_front();
            } else {
                if let Some(front) = self.records.front_mut() {
                    front.start = ack;
                }
                break;
            }
        }
    }

    /// A SACK block tells that `start..end` has arrived.
    pub(crate) fn sack(&mut self, start: u32, end: u32, now: Instant, out: &mut Delivered) {
        if self.sacked == 0 {
            self.highest = None;
        }
        let mut at = self.records.partition_point(|r| !before(start, r.end));
        while let Some(record) = self.records.get(at).copied() {
            if !before(record.start, end) {
                break;
            }
            let partly = before(record.start, start) || before(end, record.end);
            if record.sacked || partly && self.records.len() >= MAX_PIECES {
                at += 1;
                continue;
            }
            if before(record.start, start) {
                self.split(at, start);
                at += 1;
                continue;
            }
            if before(end, record.end) {
                self.split(at, end);
            }
            let Some(record) = self.records.get_mut(at) else {
                break;
            };
            record.sacked = true;
            let copy = *record;
            self.sacked += copy.len();
            if copy.lost && !copy.resent {
                self.lost -= copy.len();
            }
            out.bytes += copy.len();
            out.newly_sacked = true;
            if self.highest.is_none_or(|h| before(h, copy.end)) {
                self.highest = Some(copy.end);
            }
            self.arrived(&copy, now, out);
            at += 1;
        }
    }

    /// A record arrived: RACK's and the round trip's news.
    fn arrived(&mut self, record: &Record, now: Instant, out: &mut Delivered) {
        let rtt = now.since(record.sent);
        if record.ambiguous {
            // Faster than any round trip: it was the first copy that arrived.
            if rtt < self.rack_rtt / 2 {
                return;
            }
        } else {
            out.rtt = Some(rtt);
        }
        let newer = match self.rack {
            None => true,
            Some((sent, end)) => record.sent > sent || (record.sent == sent && before(end, record.end)),
        };
        if newer {
            self.rack = Some((record.sent, record.end));
            self.rack_rtt = rtt;
        }
        if !record.ambiguous && out.highest.is_some_and(|h| before(record.start, h)) {
            out.reordered = true;
        }
    }

    fn split(&mut self, at: usize, seq: u32) {
        let Some(record) = self.records.get_mut(at) else {
            return;
        };
        let mut tail = *record;
        record.end = seq;
        tail.start = seq;
        self.records.insert(at + 1, tail);
    }

    /// RACK: marks what was sent well before something that has arrived. Bytes marked, and how long to wait for others.
    pub(crate) fn detect(&mut self, now: Instant, window: Duration) -> (usize, Option<Duration>) {
        let Some((sent, end)) = self.rack else {
            return (0, None);
        };
        let (mut marked, mut wait) = (0, None::<Duration>);
        for record in &mut self.records {
            if record.sacked || (record.lost && !record.resent) {
                continue;
            }
            let earlier = record.sent < sent || (record.sent == sent && before(record.end, end));
            if !earlier {
                continue;
            }
            let due = record.sent + self.rack_rtt + window;
            if due <= now {
                record.lost = true;
                record.resent = false;
                marked += record.len();
            } else {
                let left = due.since(now);
                wait = Some(wait.map_or(left, |w| w.max(left)));
            }
        }
        self.lost += marked;
        (marked, wait)
    }

    /// Marks the first `bytes` as lost (no SACK: three duplicates, or a partial acknowledgement). Bytes marked.
    pub(crate) fn mark_head(&mut self, bytes: usize) -> usize {
        let Some(first) = self.records.front().copied() else {
            return 0;
        };
        if first.sacked || first.lost && !first.resent {
            return 0;
        }
        if first.len() > bytes {
            self.split(0, first.start.wrapping_add(bytes as u32));
        }
        let Some(first) = self.records.front_mut() else {
            return 0;
        };
        first.lost = true;
        first.resent = false;
        let len = first.len();
        self.lost += len;
        len
    }

    /// Marks everything that is not sacked as lost (a timeout); `renege`: sacked ones too.
    pub(crate) fn mark_all(&mut self, renege: bool) {
        self.lost = 0;
        self.duplicates = 0;
        for record in &mut self.records {
            if renege {
                record.sacked = false;
            }
            if !record.sacked {
                record.lost = true;
                record.resent = false;
                self.lost += record.len();
            }
        }
        if renege {
            self.sacked = 0;
            self.highest = None;
        }
    }

    /// Marks a stretch for being sent again, as a probe.
    pub(crate) fn mark_probe(&mut self, start: u32) {
        let at = self.records.partition_point(|r| !before(start, r.end));
        let Some(record) = self.records.get(at).copied() else {
            return;
        };
        if before(record.start, start) {
            self.split(at, start);
            return self.mark_probe(start);
        }
        let Some(record) = self.records.get_mut(at) else {
            return;
        };
        if !record.lost && !record.sacked {
            record.lost = true;
            record.resent = false;
            self.lost += record.len();
        }
    }

    /// Undoes losses that were none: forgets the marks of what was not resent.
    pub(crate) fn unmark(&mut self) {
        for record in &mut self.records {
            if record.lost && !record.resent {
                record.lost = false;
            }
        }
        self.lost = 0;
    }

    /// Whether the first record is sacked: the peer has thrown away what it had reported.
    pub(crate) fn head_is_sacked(&self) -> bool {
        self.records.front().is_some_and(|r| r.sacked)
    }

    /// The first stretch to send again.
    pub(crate) fn next_lost(&self) -> Option<(u32, u32)> {
        if self.lost == 0 {
            return None;
        }
        self.records
            .iter()
            .find(|r| r.lost && !r.resent && !r.sacked)
            .map(|r| (r.start, r.end))
    }

    /// The last stretch in flight, for a probe.
    pub(crate) fn last(&self) -> Option<(u32, u32)> {
        self.records
            .iter()
            .rev()
            .find(|r| !r.sacked)
            .map(|r| (r.start, r.end))
    }

    /// `start..end` was sent again.
    pub(crate) fn resend(&mut self, start: u32, end: u32, now: Instant) {
        let at = self.records.partition_point(|r| !before(start, r.end));
        let Some(record) = self.records.get(at).copied() else {
            return;
        };
        if before(record.start, start) {
            self.split(at, start);
            return self.resend(start, end, now);
        }
        if before(end, record.end) {
            self.split(at, end);
        }
        let Some(record) = self.records.get_mut(at) else {
            return;
        };
        if record.lost && !record.resent {
            self.lost -= record.len();
        }
        record.resent = record.lost;
        record.ambiguous = true;
        record.sent = now;
    }

    pub(crate) fn clear(&mut self) {
        *self = Scoreboard::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_reports_every_other_byte_is_not_followed_for_ever() {
        let now = Instant::from_nanos(1);
        let mut board = Scoreboard {
            mss: 1000,
            ..Scoreboard::default()
        };
        let bytes = 64 * 1024;
        board.push(0, bytes, now);
        let mut out = Delivered::default();
        for at in (0..bytes).step_by(2) {
            board.sack(at, at + 1, now, &mut out);
        }
        assert!(board.len() <= MAX_PIECES + 1, "{}", board.len());
        assert_eq!(board.in_flight() + board.sacked(), bytes as usize);
        // What covers whole records is still believed.
        board.sack(0, bytes, now, &mut out);
        assert_eq!((board.sacked(), board.in_flight()), (bytes as usize, 0));
        board.acknowledge(bytes, now, &mut out);
        assert!(board.is_empty() && board.sacked() == 0 && out.bytes == bytes as usize);
    }
}
