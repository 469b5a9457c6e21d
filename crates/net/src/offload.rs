//! What a device does for us, and what travels beside a frame: the contents of a virtio-net header.

/// How much of a frame's transport checksum is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// It is complete, and not verified yet.
    #[default]
    Complete,
    /// Somebody trusted has verified it.
    Verified,
    /// The field holds the sum of the pseudo header only. Who completes it sums from `start` (offset in the frame)
    /// to the end and stores the result at `start + offset`. A received one is trusted: it never was on a wire.
    Partial {
        /// Offset of the transport header.
        start: u16,
        /// Offset of the field in the transport header.
        offset: u16,
    },
}

/// Kinds of super-segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP, cut into datagrams (UDP_SEGMENT).
    Udp,
}

/// A super-segment: the device or the receiver cuts it into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// What it is cut into.
    pub kind: GsoKind,
    /// Payload of each segment but the last.
    pub size: u16,
    /// Length of all headers, from the start of the frame.
    pub header_len: u16,
}

/// What travels beside a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The transport checksum.
    pub checksum: Checksum,
    /// Set for a super-segment.
    pub gso: Option<Gso>,
}

/// What an interface can take from us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// [`Checksum::Partial`] on frames that we send (TCP and UDP).
    pub tx_checksum: bool,
    /// Largest TCP super-segment over IPv4 that it takes, all headers counted; 0 for none.
    pub gso_max_v4: usize,
    /// The same over IPv6.
    pub gso_max_v6: usize,
}

/// Longest super-segment, all headers counted: the IPv4 total length field is 16 bits.
pub const GSO_MAX: usize = 65_535;
