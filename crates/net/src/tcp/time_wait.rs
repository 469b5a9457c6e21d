//! TIME_WAIT: what is left of a connection until its last segments have died out.

use std::time::Duration;

use super::connection::Connection;
use super::info::TcpState;
use super::reply::Segment;
use super::{Due, Entry, TcpId, Tuple, before};
use crate::event::Ready;
use crate::wire::tcp::{Flags, Options, Tcp};
use crate::{Instant, Stack};

/// Linux's TCP_TIMEWAIT_LEN.
pub(crate) const TIME_WAIT: Duration = Duration::from_secs(60);

/// The end of a connection.
#[derive(Debug)]
pub(crate) struct TimeWait {
    pub snd_nxt: u32,
    pub rcv_nxt: u32,
    pub window: u16,
    /// The peer's last TSval and when, our offset.
    pub ts: Option<(u32, Instant, u32)>,
    pub interface: Option<u32>,
    pub until: Instant,
    pub armed: Option<Instant>,
}

impl TimeWait {
    /// The first number of a connection that may follow this one.
    pub(crate) fn next_sequence(&self) -> u32 {
        self.snd_nxt.wrapping_add(u32::from(u16::MAX) + 2)
    }
}

impl Stack {
    /// Both sides have closed, we first: the connection becomes an entry in TIME_WAIT.
    pub(crate) fn enter_time_wait(&mut self, now: Instant, id: TcpId) {
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        let tuple = c.tuple;
        let entry = TimeWait {
            snd_nxt: c.snd_nxt(),
            rcv_nxt: c.rcv.nxt,
            window: (c.rcv.offer() >> c.rcv.wscale).min(u32::from(u16::MAX)) as u16,
            ts: c.ts.on.then_some((c.ts.recent, c.ts.recent_at, c.ts.offset)),
            interface: c.options.interface,
            until: now + TIME_WAIT,
            armed: None,
        };
        let owed = c.rcv.ack_now;
        self.finish(id, None);
        if self.tcp.time_waits < self.ip.settings.tcp_max_tw_buckets {
            self.tcp.time_waits += 1;
            self.ip.counters.tcp_time_wait += 1;
            self.tcp.entries.insert(tuple, Entry::TimeWait(Box::new(entry)));
            self.arm_entry(tuple, now + TIME_WAIT);
            if owed {
                self.time_wait_ack(now, tuple);
            }
        }
    }

    /// The connection is over: the owner keeps a closed socket, or it goes at once.
    pub(crate) fn finish(&mut self, id: TcpId, error: Option<crate::Error>) {
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        c.close(error);
        let (tuple, orphan, parent) = (c.tuple, c.orphan, c.parent);
        let limits = self.ip.settings.tcp_mem;
        self.tcp.account(id, limits);
        if matches!(self.tcp.entries.get(&tuple), Some(Entry::Connection(i)) if *i == id) {
            self.tcp.entries.remove(&tuple);
        }
        if orphan {
            self.tcp.remove(id);
            return;
        }
        if parent.is_some() {
            // It waits for accept(2), which returns it nevertheless, as on Linux.
            return;
        }
        let ready = self.tcp.connection(id).map(Connection::ready).unwrap_or_default();
        self.tcp.notify(id, ready | Ready::HUP);
    }

    /// Forgets an entry in TIME_WAIT.
    pub(crate) fn drop_time_wait(&mut self, tuple: Tuple) -> Option<Box<TimeWait>> {
        if !matches!(self.tcp.entries.get(&tuple), Some(Entry::TimeWait(_))) {
            return None;
        }
        let Some(Entry::TimeWait(mut entry)) = self.tcp.entries.remove(&tuple) else {
            return None;
        };
        self.tcp.timers.disarm(Due::Entry(tuple), &mut entry.armed);
        self.tcp.time_waits -= 1;
        Some(entry)
    }

    /// A segment for an entry in TIME_WAIT (RFC 9293 section 3.10.7.4, RFC 6191, RFC 1337 as on Linux).
    /// The first number for a new connection, when it asks for one that may begin.
    pub(crate) fn time_wait_segment(
        &mut self,
        now: Instant,
        tuple: Tuple,
        tcp: &Tcp,
        len: usize,
    ) -> Option<u32> {
        let Some(Entry::TimeWait(entry)) = self.tcp.entries.get_mut(&tuple) else {
            return None;
        };
        let value = tcp.options.timestamps.map(|t| t.0);
        let mut old = false;
        if let (Some((recent, _, _)), Some(value)) = (entry.ts, value) {
            old = before(value, recent);
        }
        let rst = tcp.flags.contains(Flags::RST);
        let plain = !tcp.flags.intersects(Flags::SYN | Flags::ACK);
        if !old && tcp.seq == entry.rcv_nxt && (len == 0 || rst) && !tcp.flags.contains(Flags::SYN) {
            if rst {
                self.drop_time_wait(tuple);
                return None;
            }
            if let (Some(ts), Some(value)) = (&mut entry.ts, value) {
                (ts.0, ts.1) = (value, now);
            }
            if !tcp.flags.contains(Flags::FIN) {
                return None;
            }
        }
        let newer = before(entry.rcv_nxt, tcp.seq)
            || matches!((entry.ts, value), (Some((recent, _, _)), Some(v)) if before(recent, v));
        if tcp.flags.contains(Flags::SYN) && !rst && !tcp.flags.contains(Flags::ACK) && !old && newer {
            return Some(entry.next_sequence());
        }
        if rst || plain && !tcp.flags.contains(Flags::FIN) {
            return None;
        }
        entry.until = now + TIME_WAIT;
        let until = entry.until;
        self.arm_entry(tuple, until);
        self.time_wait_ack(now, tuple);
        None
    }

    fn time_wait_ack(&mut self, now: Instant, tuple: Tuple) {
        let Some(Entry::TimeWait(entry)) = self.tcp.entries.get(&tuple) else {
            return;
        };
        let mut options = Options::default();
        if let Some((recent, _, offset)) = entry.ts {
            options.timestamps = Some(((now.as_millis() as u32).wrapping_add(offset), recent));
        }
        let segment = Segment {
            seq: entry.snd_nxt,
            ack: entry.rcv_nxt,
            flags: Flags::ACK,
            window: entry.window,
            options,
            tos: 0,
            ttl: None,
        };
        let Ok(path) = self.ip.route(tuple.remote, Some(tuple.local), entry.interface) else {
            return;
        };
        self.send_segment(now, &path, &tuple, &segment);
    }
}

impl Connection {
    /// Nothing more will be sent or received. What was received stays readable, except after an error.
    pub(crate) fn close(&mut self, error: Option<crate::Error>) {
        self.state = TcpState::Closed;
        if error.is_some() {
            self.error = error;
        }
        self.deadlines = super::connection::Deadlines::default();
        self.board.clear();
        self.snd.queue = crate::ring::Ring::default();
        (self.snd.sent, self.snd.syn_due) = (0, false);
        self.rcv.gaps.clear();
        self.rcv.ack_now = false;
    }
}
