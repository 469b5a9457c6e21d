//! Packets of raw and ping sockets.

use std::net::{IpAddr, Ipv4Addr};

use crate::ip::{Head, Header, Upper};
use crate::udp::SendOptions;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::{checksum, protocol};
use crate::{Error, Instant, Stack};

impl Stack {
    /// Says whether raw sockets want packets of `protocol`: they come as [`Event::Raw`](crate::Event::Raw).
    /// (ICMP messages other than echo requests and errors of ours always come; requests only when asked for here.)
    pub fn want_raw(&mut self, ipv6: bool, protocol: u8, wanted: bool) {
        let set = &mut self.ip.raw[usize::from(ipv6)];
        if wanted {
            set.insert(protocol);
        } else {
            set.remove(&protocol);
        }
    }

    /// Sends a packet of `protocol` with `data` after the IP header. ICMP of ping sockets, ICMPv6 always and
    /// IPV6_CHECKSUM want [`SendOptions::checksum_at`] set.
    ///
    /// # Errors
    /// As [`Stack::udp_send`].
    pub fn raw_send(
        &mut self,
        now: Instant,
        src: Option<IpAddr>,
        dst: IpAddr,
        protocol: u8,
        data: &[u8],
        options: &SendOptions,
    ) -> Result<(), Error> {
        let dst = dst.to_canonical();
        let path = self
            .ip
            .route(dst, src.map(|s| s.to_canonical()), options.interface)?;
        let head = Head {
            src: path.source,
            dst,
            protocol,
            ttl: options.ttl,
            tos: options.tos,
            flow: options.flow,
            dont_fragment: options.dont_fragment,
        };
        if path.source.is_ipv4() != dst.is_ipv4() {
            return Err(Error::Invalid);
        }
        if data.len() > usize::from(u16::MAX) - ipv4::HEADER {
            return Err(Error::MessageTooLong);
        }
        let mut copy;
        let mut body = data;
        if let Some(at) = options.checksum_at {
            copy = data.to_vec();
            copy.get_mut(at..at + 2).ok_or(Error::Invalid)?.fill(0);
            let mut sum = checksum::Sum::default();
            if dst.is_ipv6() || protocol != protocol::ICMP {
                sum.add_pseudo(head.src, dst, protocol, copy.len());
            }
            sum.add(&copy);
            let value = sum.finish().to_be_bytes();
            copy[at..at + 2].copy_from_slice(&value);
            body = &copy;
        }
        self.ip
            .output(
                now,
                &path,
                &head,
                Header::new(&[]),
                &[body],
                Upper::default(),
                None,
            )
            .map(|_| ())
    }

    /// Sends an IPv4 packet with its header (IP_HDRINCL): length, checksum, and a source or identification of zero
    /// are filled in, as raw(7) says.
    ///
    /// # Errors
    /// `Invalid` for a malformed header, `MessageTooLong` beyond the MTU, and those of routing.
    pub fn raw_send_header(
        &mut self,
        now: Instant,
        packet: &[u8],
        options: &SendOptions,
    ) -> Result<(), Error> {
        let first = *packet.first().ok_or(Error::Invalid)?;
        let header_len = usize::from(first & 0xf) * 4;
        if first >> 4 != 4 || header_len < ipv4::HEADER || packet.len() < header_len {
            return Err(Error::Invalid);
        }
        let total = u16::try_from(packet.len()).map_err(|_| Error::MessageTooLong)?;
        let mut packet = packet.to_vec();
        let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        let (src, dst) = (address(12), address(16));
        let bound = Some(IpAddr::V4(src)).filter(|a| !a.is_unspecified());
        let path = self.ip.route(IpAddr::V4(dst), bound, options.interface)?;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        if let (true, IpAddr::V4(source)) = (src.is_unspecified(), path.source) {
            packet[12..16].copy_from_slice(&source.octets());
        }
        if packet[4..6] == [0, 0] {
            let id = (self.ip.random.next() as u16).max(1);
            packet[4..6].copy_from_slice(&id.to_be_bytes());
        }
        packet[10..12].fill(0);
        let sum = checksum::of(&packet[..header_len]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        debug_assert!(Ipv4::parse(&packet).is_some());
        self.ip
            .output_raw(now, &path, IpAddr::V4(dst), &packet)
            .map(|_| ())
    }

    /// Sends a whole frame (packet sockets).
    ///
    /// # Errors
    /// `NoDevice`, `NetworkDown`, `Invalid` for less than a header, `MessageTooLong`.
    pub fn frame_send(&mut self, now: Instant, index: u32, frame: &[u8]) -> Result<(), Error> {
        let interface = self.ip.interface(index).ok_or(Error::NoDevice)?;
        if !interface.is_running() {
            return Err(Error::NetworkDown);
        }
        if frame.len() < crate::wire::ethernet::HEADER {
            return Err(Error::Invalid);
        }
        // Room for a VLAN tag, as Linux has it.
        if frame.len() > interface.mtu + crate::wire::ethernet::HEADER + 4 {
            return Err(Error::MessageTooLong);
        }
        self.ip.output_frame(now, index, frame);
        Ok(())
    }
}
