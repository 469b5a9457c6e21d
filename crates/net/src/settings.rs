//! What sysctl(8) sets: /proc/sys/net, by the same names with Linux's defaults.

use std::time::Duration;

/// Settings of a stack. Each field is the sysctl of that name.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// net.ipv4.ip_default_ttl
    pub default_ttl: u8,
    /// net.ipv6.conf.all.hop_limit
    pub hop_limit: u8,
    /// net.ipv4.icmp_echo_ignore_all
    pub icmp_echo_ignore_all: bool,
    /// net.ipv4.icmp_echo_ignore_broadcasts
    pub icmp_echo_ignore_broadcasts: bool,
    /// net.ipv4.icmp_msgs_per_sec: errors that we send.
    pub icmp_msgs_per_sec: u32,
    /// net.ipv4.ip_no_pmtu_disc: do not set DF.
    pub no_pmtu_disc: bool,
    /// net.ipv4.tcp_syn_retries
    pub tcp_syn_retries: u8,
    /// net.ipv4.tcp_synack_retries
    pub tcp_synack_retries: u8,
    /// net.ipv4.tcp_retries2
    pub tcp_retries2: u8,
    /// net.ipv4.tcp_orphan_retries (0 counts as 8)
    pub tcp_orphan_retries: u8,
    /// net.ipv4.tcp_fin_timeout
    pub tcp_fin_timeout: Duration,
    /// net.ipv4.tcp_keepalive_time
    pub tcp_keepalive_time: Duration,
    /// net.ipv4.tcp_keepalive_intvl
    pub tcp_keepalive_intvl: Duration,
    /// net.ipv4.tcp_keepalive_probes
    pub tcp_keepalive_probes: u8,
    /// net.ipv4.tcp_sack
    pub tcp_sack: bool,
    /// net.ipv4.tcp_dsack
    pub tcp_dsack: bool,
    /// net.ipv4.tcp_timestamps
    pub tcp_timestamps: bool,
    /// net.ipv4.tcp_window_scaling
    pub tcp_window_scaling: bool,
    /// net.ipv4.tcp_moderate_rcvbuf
    pub tcp_moderate_rcvbuf: bool,
    /// net.ipv4.tcp_abort_on_overflow
    pub tcp_abort_on_overflow: bool,
    /// net.ipv4.tcp_max_syn_backlog
    pub tcp_max_syn_backlog: usize,
    /// net.ipv4.tcp_max_tw_buckets
    pub tcp_max_tw_buckets: usize,
    /// net.ipv4.tcp_tw_reuse
    pub tcp_tw_reuse: bool,
    /// net.ipv4.tcp_challenge_ack_limit, per second
    pub tcp_challenge_ack_limit: u32,
    /// net.ipv4.tcp_rmem: least, first and largest receive buffer
    pub tcp_rmem: [usize; 3],
    /// net.ipv4.tcp_wmem: least, first and largest send buffer
    pub tcp_wmem: [usize; 3],
    /// net.ipv4.tcp_mem, in bytes: memory of all queues together above which buffers do not grow, and above which
    /// nothing is taken that can wait.
    pub tcp_mem: [usize; 2],
    /// net.ipv4.tcp_congestion_control
    pub tcp_congestion_control: crate::Congestion,
    /// net.ipv4.ipfrag_high_thresh: bytes that wait for their other fragments.
    pub ipfrag_high_thresh: usize,
    /// net.ipv4.ipfrag_time
    pub ipfrag_time: Duration,
    /// net.core.somaxconn
    pub somaxconn: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            default_ttl: 64,
            hop_limit: 64,
            icmp_echo_ignore_all: false,
            icmp_echo_ignore_broadcasts: true,
            icmp_msgs_per_sec: 1000,
            no_pmtu_disc: false,
            tcp_syn_retries: 6,
            tcp_synack_retries: 5,
            tcp_retries2: 15,
            tcp_orphan_retries: 0,
            tcp_fin_timeout: Duration::from_secs(60),
            tcp_keepalive_time: Duration::from_secs(7200),
            tcp_keepalive_intvl: Duration::from_secs(75),
            tcp_keepalive_probes: 9,
            tcp_sack: true,
            tcp_dsack: true,
            tcp_timestamps: true,
            tcp_window_scaling: true,
            tcp_moderate_rcvbuf: true,
            tcp_abort_on_overflow: false,
            tcp_max_syn_backlog: 1024,
            tcp_max_tw_buckets: 16384,
            tcp_tw_reuse: true,
            tcp_challenge_ack_limit: 1000,
            tcp_rmem: [4096, 131_072, 6 << 20],
            tcp_wmem: [4096, 87_040, 4 << 20],
            tcp_mem: [192 << 20, 256 << 20],
            tcp_congestion_control: crate::Congestion::Cubic,
            ipfrag_high_thresh: 4 << 20,
            ipfrag_time: Duration::from_secs(30),
            somaxconn: 4096,
        }
    }
}
