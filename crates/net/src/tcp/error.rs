//! ICMP errors about segments of ours (RFC 5927, RFC 1191, RFC 1122 section 4.2.3.9).

use super::info::TcpState;
use super::{Entry, Tuple, before};
use crate::icmp::{Quoted, Verdict};
use crate::wire::{be16, be32};
use crate::{Error, Instant, Stack};

impl Stack {
    pub(crate) fn tcp_icmp_error(&mut self, now: Instant, quoted: &Quoted<'_>, verdict: Verdict) {
        let rest = quoted.rest;
        let (Some(local_port), Some(remote_port), Some(seq)) = (be16(rest, 0), be16(rest, 2), be32(rest, 4))
        else {
            return;
        };
        let tuple = Tuple {
            local: quoted.src,
            local_port,
            remote: quoted.dst,
            remote_port,
        };
        let id = match self.tcp.entries.get(&tuple) {
            Some(Entry::Connection(id)) => *id,
            Some(Entry::Request(r)) if seq == r.iss && verdict.fatal => {
                self.drop_request(tuple);
                return;
            }
            _ => return,
        };
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        // Who does not know our numbers has not seen the segment.
        if before(seq, c.snd.una) || before(c.snd_nxt(), seq) {
            return;
        }
        if verdict.mtu != 0 || verdict.error == Error::MessageTooLong {
            if self.ip.learn_path_mtu(now, quoted.dst, verdict.mtu) {
                self.path_mtu_shrank(id);
            }
            return;
        }
        let handshake = matches!(c.state, TcpState::SynSent | TcpState::SynReceived);
        if handshake
            && (verdict.fatal
                || verdict.error == Error::HostUnreachable
                || verdict.error == Error::NetworkUnreachable)
        {
            self.ip.counters.tcp_attempt_fails += 1;
            return self.finish(id, Some(verdict.error));
        }
        // A connection that works outlives errors; if it fails by timeout, this is why.
        c.soft_error = Some(verdict.error);
    }

    /// What was too long goes again at once, in smaller segments; that is no congestion.
    fn path_mtu_shrank(&mut self, id: super::TcpId) {
        let Some(c) = self.tcp.connection_mut(id) else {
            return;
        };
        c.refresh_path(&self.ip);
        c.board.mark_all(false);
        self.tcp.want_output(id);
    }
}
