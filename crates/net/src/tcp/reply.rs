//! Segments without data that belong to no connection's output: resets, challenge ACKs, SYN-ACKs, initial numbers.

use super::{Due, Entry, Tuple};
use crate::ingress::Meta;
use crate::ip::{Head, Header, Upper};
use crate::wire::protocol;
use crate::wire::tcp::{Flags, MAX_HEADER, Options, Tcp};
use crate::{Instant, Path, Stack};

/// What such a segment says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub seq: u32,
    pub ack: u32,
    pub flags: Flags,
    pub window: u16,
    pub options: Options,
    pub tos: u8,
    pub ttl: Option<u8>,
}

impl Stack {
    /// Queues a segment.
    pub(crate) fn send_segment(&mut self, now: Instant, path: &Path, tuple: &Tuple, segment: &Segment) {
        let tcp = Tcp {
            src: tuple.local_port,
            dst: tuple.remote_port,
            seq: segment.seq,
            ack: segment.ack,
            flags: segment.flags,
            window: segment.window,
            urgent: 0,
            options: segment.options,
        };
        let mut bytes = [0; MAX_HEADER];
        let len = tcp.emit(&mut bytes);
        let head = Head {
            src: tuple.local,
            dst: tuple.remote,
            protocol: protocol::TCP,
            ttl: segment.ttl,
            tos: segment.tos,
            flow: 0,
            dont_fragment: !self.ip.settings.no_pmtu_disc,
        };
        self.ip.counters.tcp_out_segs += 1;
        if segment.flags.contains(Flags::RST) {
            self.ip.counters.tcp_out_rsts += 1;
        }
        let upper = Upper {
            checksum_at: Some(16),
            gso: None,
        };
        let _ = self
            .ip
            .output(now, path, &head, Header::new(&bytes[..len]), &[], upper, None);
    }

    /// Answers a segment that belongs to nothing with a reset (RFC 9293, section 3.10.7.1).
    pub(crate) fn reset_reply(&mut self, now: Instant, meta: &Meta, tcp: &Tcp, len: usize) {
        if tcp.flags.contains(Flags::RST) || meta.group {
            return;
        }
        let tuple = Tuple {
            local: meta.dst,
            local_port: tcp.dst,
            remote: meta.src,
            remote_port: tcp.src,
        };
        let (seq, ack, flags) = if tcp.flags.contains(Flags::ACK) {
            (tcp.ack, 0, Flags::RST)
        } else {
            let length = len as u32
                + u32::from(tcp.flags.contains(Flags::SYN))
                + u32::from(tcp.flags.contains(Flags::FIN));
            (0, tcp.seq.wrapping_add(length), Flags::RST | Flags::ACK)
        };
        let segment = Segment {
            seq,
            ack,
            flags,
            window: 0,
            options: Options::default(),
            tos: meta.tos,
            ttl: None,
        };
        let via = self.reply_interface(meta);
        let Ok(path) = self.ip.route(tuple.remote, Some(tuple.local), via) else {
            return;
        };
        self.send_segment(now, &path, &tuple, &segment);
    }

    /// Whether another challenge ACK may go out in this second (RFC 5961, section 7).
    pub(crate) fn take_challenge(&mut self, now: Instant) -> bool {
        let second = now.as_millis() / 1000;
        let (at, used) = &mut self.tcp.challenges;
        if *at != second {
            (*at, *used) = (second, 0);
        }
        *used += 1;
        let allowed = *used <= self.ip.settings.tcp_challenge_ack_limit;
        self.ip.counters.tcp_challenge_acks += u64::from(allowed);
        allowed
    }

    /// A challenge ACK for a handshake in progress.
    pub(crate) fn challenge(&mut self, now: Instant, tuple: Tuple) {
        if !self.take_challenge(now) {
            return;
        }
        let Some(Entry::Request(r)) = self.tcp.entries.get(&tuple) else {
            return;
        };
        let timestamps =
            r.ts.map(|t| ((now.as_millis() as u32).wrapping_add(r.ts_offset), t));
        let options = Options {
            timestamps,
            ..Options::default()
        };
        let segment = Segment {
            seq: r.iss.wrapping_add(1),
            ack: r.irs.wrapping_add(1),
            flags: Flags::ACK,
            window: u16::MAX,
            options,
            tos: 0,
            ttl: None,
        };
        let Ok(path) = self.ip.route(tuple.remote, Some(tuple.local), None) else {
            return;
        };
        self.send_segment(now, &path, &tuple, &segment);
    }

    /// The first number of a connection (RFC 6528): a keyed hash of its ends, plus a clock.
    pub(crate) fn initial_sequence(&self, now: Instant, tuple: &Tuple) -> u32 {
        let hash = self.ip.key.hash(&tuple.words()) as u32;
        // A step each 64 ns, as on Linux.
        hash.wrapping_add((now.as_nanos() >> 6) as u32)
    }

    /// Arms the timer of an entry that is no socket.
    pub(crate) fn arm_entry(&mut self, tuple: Tuple, at: Instant) {
        let armed = match self.tcp.entries.get_mut(&tuple) {
            Some(Entry::Request(r)) => &mut r.armed,
            Some(Entry::TimeWait(t)) => &mut t.armed,
            _ => return,
        };
        self.tcp.timers.arm(Due::Entry(tuple), armed, Some(at));
    }
}
