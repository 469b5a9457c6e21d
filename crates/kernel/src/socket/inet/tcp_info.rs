//! struct tcp_info (tcp(7)) from the stack's figures.

use std::time::Duration;

use net::TcpInfo;

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The bytes of the structure, in the order of include/uapi/linux/tcp.h.
pub(super) fn encode(info: &TcpInfo) -> Vec<u8> {
    let scales = (info.snd_wscale & 0xf) | (info.rcv_wscale & 0xf) << 4;
    let mut bytes = vec![
        info.state,
        info.ca_state,
        info.retransmits,
        info.probes,
        info.backoff,
        info.options,
        scales,
        0,
    ];
    let words = [
        micros(info.rto),
        micros(info.ato),
        info.snd_mss,
        info.rcv_mss,
        info.unacked,
        info.sacked,
        info.lost,
        info.retrans,
        0,
        millis(info.last_data_sent),
        0,
        millis(info.last_data_recv),
        millis(info.last_ack_recv),
        info.pmtu,
        info.rcv_ssthresh,
        micros(info.rtt),
        micros(info.rttvar),
        info.snd_ssthresh,
        info.snd_cwnd,
        info.advmss,
        info.reordering,
        micros(info.rcv_rtt),
        info.rcv_space,
        info.total_retrans,
    ];
    let put =
        |bytes: &mut Vec<u8>, words: &[u32]| bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    let put_long = |bytes: &mut Vec<u8>, longs: &[u64]| {
        bytes.extend(longs.iter().flat_map(|long| long.to_le_bytes()));
    };
    put(&mut bytes, &words);
    put_long(
        &mut bytes,
        &[u64::MAX, u64::MAX, info.bytes_acked, info.bytes_received],
    );
    put(&mut bytes, &[info.segs_out, info.segs_in]);
    put(
        &mut bytes,
        &[
            info.notsent_bytes,
            micros(info.min_rtt),
            info.data_segs_in,
            info.data_segs_out,
        ],
    );
    put_long(&mut bytes, &[info.delivery_rate, 0, 0, 0]);
    put(&mut bytes, &[0, 0]);
    put_long(&mut bytes, &[info.bytes_sent, info.bytes_retrans]);
    put(
        &mut bytes,
        &[info.dsack_dups, info.reord_seen, 0, info.snd_wnd, info.rcv_wnd, 0],
    );
    bytes
}
