//! The receive side: the queue in order, what came out of order, the window, acknowledgements owed.

use crate::Instant;
use crate::queue::{Frames, Queue};
use crate::ring::Ring;
use crate::tcp::before;
use crate::wire::tcp::MAX_SACK;

/// Gaps that one connection remembers; more make the segment dropped, as if the network had lost it.
pub const MAX_GAPS: usize = 256;
/// Acknowledgements without delay at the start of a connection (Linux's TCP_MAX_QUICKACKS).
const QUICK: u8 = 16;

/// The receive sequence space.
#[derive(Debug, Default)]
pub(crate) struct Receive {
    pub irs: u32,
    /// RCV.NXT
    pub nxt: u32,
    /// Right edge of the window that we have offered.
    pub edge: u32,
    pub wscale: u8,
    /// Bytes in order.
    pub queue: Queue,
    /// Bytes that came out of order, from `nxt` on; all of them lie behind its end.
    later: Ring,
    /// Ranges of numbers that came out of order, ascending, apart from each other.
    pub gaps: Vec<(u32, u32)>,
    /// The peer's FIN: its number once known, and whether all before it came.
    pub fin: Option<u32>,
    pub fin_received: bool,
    /// Bytes of memory, twice the payload (Linux's sk_rcvbuf).
    pub buffer: usize,
    pub locked: bool,
    pub window_clamp: u32,
    /// Bytes not acknowledged yet.
    pub owed: usize,
    pub ack_now: bool,
    pub quick: u8,
    pub last_ack: u32,
    /// Largest segment seen lately: what a full one is.
    pub mss: usize,
    /// SACK blocks, the latest first.
    pub blocks: Vec<(u32, u32)>,
    pub dsack: Option<(u32, u32)>,
    /// Number of the urgent byte (the last of the urgent data), and the byte when it came.
    pub urgent_seq: Option<u32>,
    urgent: Option<u8>,
    /// Bytes that the reader has taken since `measured`, for autotuning.
    pub taken: usize,
    pub measured: Instant,
    pub space: usize,
    /// Round trip as the receiver sees it.
    pub rtt: std::time::Duration,
    pub rtt_edge: u32,
    pub rtt_since: Instant,
}

impl Receive {
    pub(crate) fn new(buffer: usize, locked: bool) -> Receive {
        Receive {
            buffer,
            locked,
            quick: QUICK,
            mss: 536,
            window_clamp: u32::MAX,
            ..Receive::default()
        }
    }

    /// Free payload bytes.
    pub(crate) fn free(&self) -> usize {
        let used = self.queue.len();
        (self.buffer / 2)
            .saturating_sub(used)
            .min(self.window_clamp as usize)
    }

    /// The widest window that is ever offered.
    fn widest(&self) -> usize {
        (self.buffer / 2).min(self.window_clamp as usize)
    }

    /// The window in bytes that the next segment will offer; moves the edge.
    ///
    /// The edge never goes back (RFC 9293, section 3.8.6.2.1), and moves by a full segment at least (silly windows).
    pub(crate) fn offer(&mut self) -> u32 {
        let held = self.edge.wrapping_sub(self.nxt);
        let held = if (held as i32) < 0 { 0 } else { held };
        let unit = 1u32 << self.wscale;
        let most = u32::from(u16::MAX) << self.wscale;
        let free = u32::try_from(self.free()).unwrap_or(u32::MAX).min(most) & !(unit - 1);
        let least = u32::try_from(self.mss.min(self.widest() / 2)).unwrap_or(u32::MAX);
        if free >= held.saturating_add(least.max(1)) {
            self.edge = self.nxt.wrapping_add(free);
            return free;
        }
        held
    }

    /// Whether reading has opened the window so far that the peer should know.
    pub(crate) fn should_update(&self) -> bool {
        let held = self.edge.wrapping_sub(self.nxt);
        let held = if (held as i32) < 0 { 0 } else { held as usize };
        let free = self.free();
        // As tcp_cleanup_rbuf: when the window at least doubles.
        free > held && free - held >= (2 * self.mss).min(self.widest() / 2) && free >= 2 * held
    }

    /// Bytes that a reader gets now.
    pub(crate) fn readable(&self, inline: bool) -> usize {
        let len = self.queue.len();
        match self.mark() {
            Some(mark) if !inline && mark < len => {
                // At the mark itself the urgent byte is passed over.
                if mark == 0 { len - 1 } else { mark }
            }
            _ => len,
        }
    }

    /// Offset of the urgent byte from the front of the queue.
    pub(crate) fn mark(&self) -> Option<usize> {
        let front = self.nxt_of_queue().wrapping_sub(self.queue.len() as u32);
        let seq = self.urgent_seq?;
        (!before(seq, front)).then(|| seq.wrapping_sub(front) as usize)
    }

    fn nxt_of_queue(&self) -> u32 {
        self.nxt.wrapping_sub(u32::from(self.fin_received))
    }

    /// The urgent byte, when it came and was not read.
    pub(crate) fn urgent_byte(&self) -> Option<u8> {
        self.urgent
    }

    /// Takes the urgent byte.
    pub(crate) fn take_urgent(&mut self) -> Option<u8> {
        self.urgent.take()
    }

    /// The urgent pointer says that the byte at `seq` is urgent. True when that is news.
    pub(crate) fn set_urgent(&mut self, seq: u32) -> bool {
        if before(seq, self.nxt) && self.urgent_seq.is_some_and(|s| !before(s, seq)) {
            return false;
        }
        if self.urgent_seq == Some(seq) {
            return false;
        }
        self.urgent_seq = Some(seq);
        self.urgent = None;
        true
    }

    /// Bytes of memory that its queues hold.
    pub(crate) fn allocated(&self) -> usize {
        self.queue.allocated() + self.later.allocated()
    }

    /// Takes bytes in that begin at `seq`; the caller has cut them to the window. Bytes that became readable.
    pub(crate) fn insert(&mut self, seq: u32, bytes: &[u8], frames: &mut Frames) -> usize {
        let offset = seq.wrapping_sub(self.nxt) as usize;
        if offset == 0 && self.gaps.is_empty() {
            self.queue.push(bytes, frames);
            self.note_urgent(seq, bytes);
            self.nxt = self.nxt.wrapping_add(bytes.len() as u32);
            return bytes.len();
        }
        let end = seq.wrapping_add(bytes.len() as u32);
        if !self.note_range(seq, end) {
            return 0;
        }
        self.later.write_at(offset, bytes);
        self.note_urgent(seq, bytes);
        let Some(&(first, last)) = self.gaps.first() else {
            return 0;
        };
        if first != self.nxt {
            return 0;
        }
        self.gaps.remove(0);
        let ready = last.wrapping_sub(self.nxt) as usize;
        self.later.commit(ready);
        let (first, second) = self.later.slices(0, ready);
        self.queue.push(first, frames);
        self.queue.push(second, frames);
        self.later.consume(ready);
        if self.gaps.is_empty() {
            self.later.trim();
        }
        self.nxt = last;
        let nxt = self.nxt;
        self.blocks.retain(|b| before(nxt, b.1));
        ready
    }

    fn note_urgent(&mut self, seq: u32, bytes: &[u8]) {
        if let Some(urgent) = self.urgent_seq
            && let Some(&byte) = bytes.get(urgent.wrapping_sub(seq) as usize)
        {
            self.urgent = Some(byte);
        }
    }

    /// Adds a range to those that came out of order. False when there are too many.
    fn note_range(&mut self, mut start: u32, mut end: u32) -> bool {
        let nxt = self.nxt;
        let rel = |s: u32| s.wrapping_sub(nxt);
        let from = self.gaps.partition_point(|g| rel(g.1) < rel(start));
        let mut to = from;
        while let Some(g) = self.gaps.get(to).filter(|g| rel(g.0) <= rel(end)) {
            if rel(g.0) < rel(start) {
                start = g.0;
            }
            if rel(g.1) > rel(end) {
                end = g.1;
            }
            to += 1;
        }
        if from == to && self.gaps.len() >= MAX_GAPS && start != nxt {
            return false;
        }
        self.gaps.splice(from..to, [(start, end)]);
        // RFC 2018, section 4: the block with the latest segment comes first.
        self.blocks
            .retain(|b| rel(b.1) < rel(start) || rel(b.0) > rel(end));
        self.blocks.insert(0, (start, end));
        self.blocks.truncate(MAX_SACK);
        true
    }

    /// Drops `n` read bytes. With an urgent byte at the front (not inline) that goes first.
    pub(crate) fn consume(&mut self, n: usize, inline: bool, frames: &mut Frames) {
        if !inline && self.mark() == Some(0) {
            self.queue.consume(1, frames);
        }
        self.queue.consume(n, frames);
        self.taken += n;
    }

    /// Offset of the first byte that a reader sees.
    pub(crate) fn skip(&self, inline: bool) -> usize {
        usize::from(!inline && self.mark() == Some(0) && !self.queue.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(r: &Receive) -> Vec<u8> {
        let (a, b) = r.queue.slices(0, usize::MAX);
        [a, b].concat()
    }

    #[test]
    fn out_of_order_and_overlapping() {
        let data: Vec<u8> = (0..200u8).collect();
        let mut r = Receive::new(1 << 20, false);
        r.nxt = u32::MAX - 49;
        let base = r.nxt;
        let put = |r: &mut Receive, from: usize, to: usize| {
            let seq = base.wrapping_add(from as u32);
            r.insert(seq, &data[from..to], &mut Frames::default())
        };
        assert_eq!(put(&mut r, 50, 100), 0);
        assert_eq!(put(&mut r, 150, 200), 0);
        assert_eq!(put(&mut r, 90, 120), 0);
        assert_eq!(r.gaps.len(), 2);
        assert_eq!(r.blocks[0], (base.wrapping_add(50), base.wrapping_add(120)));
        assert_eq!(put(&mut r, 0, 60), 120);
        assert_eq!(put(&mut r, 120, 160), 80);
        assert_eq!(contents(&r), data);
        assert!(r.gaps.is_empty() && r.blocks.is_empty());
    }
}
