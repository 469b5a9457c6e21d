//! /sys/class/net/lo.

use super::line;
use crate::kernfs::Entry;
use crate::kernfs::table::{dir, link, text};
use crate::procfs::system::System;

/// Names in the directory of the loopback interface.
pub static LO: &[Entry<System>] = &[
    text("addr_assign_type", 0o444, |_| line(0)),
    text("addr_len", 0o444, |_| line(6)),
    text("address", 0o444, |_| line("00:00:00:00:00:00")),
    text("broadcast", 0o444, |_| line("00:00:00:00:00:00")),
    text("carrier", 0o444, |_| line(1)),
    text("dev_id", 0o444, |_| line("0x0")),
    text("dormant", 0o444, |_| line(0)),
    text("flags", 0o444, |_| line("0x9")),
    text("ifindex", 0o444, |_| line(1)),
    text("iflink", 0o444, |_| line(1)),
    text("link_mode", 0o444, |_| line(0)),
    text("mtu", 0o444, |_| line(65536)),
    text("operstate", 0o444, |_| line("unknown")),
    dir("queues", &[]),
    dir("statistics", STATISTICS),
    link("subsystem", |_| Ok(b"../../../../class/net".to_vec())),
    text("tx_queue_len", 0o444, |_| line(1000)),
    text("type", 0o444, |_| line(772)),
    text("uevent", 0o444, |_| line("INTERFACE=lo\nIFINDEX=1")),
];

macro_rules! zeroes {
    ($($name:literal)*) => { &[$(text($name, 0o444, |_| line(0)),)*] };
}

static STATISTICS: &[Entry<System>] = zeroes![
    "collisions" "multicast" "rx_bytes" "rx_compressed" "rx_crc_errors" "rx_dropped" "rx_errors" "rx_fifo_errors"
    "rx_frame_errors" "rx_length_errors" "rx_missed_errors" "rx_over_errors" "rx_packets" "tx_aborted_errors"
    "tx_bytes" "tx_carrier_errors" "tx_compressed" "tx_dropped" "tx_errors" "tx_fifo_errors" "tx_heartbeat_errors"
    "tx_packets" "tx_window_errors"
];
