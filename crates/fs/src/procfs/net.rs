//! /proc/PID/net: the tables of sockets and interfaces.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use abi::Errno;
use kernel::socket::inet::{Summary, tcp_rows, udp_rows};

use super::process::Process;
use crate::kernfs::Entry;
use crate::kernfs::table::{dir, text};

const TCP_HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n";
const TCP6_HEADER: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const UDP_HEADER: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n";
const UDP6_HEADER: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
const UNIX_HEADER: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n";
const ROUTE_HEADER: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n";
const DEV_HEADER: &str = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
const ARP_HEADER: &str = "IP address       HW type     Flags       HW address            Mask     Device\n";
const NETLINK_HEADER: &str =
    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";
const PACKET_HEADER: &str = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";

fn only(text: &str) -> Result<Vec<u8>, Errno> {
    Ok(text.as_bytes().to_vec())
}

/// Names in /proc/PID/net.
pub static ENTRIES: &[Entry<Process>] = &[
    text("arp", 0o444, arp),
    text("dev", 0o444, dev),
    text("dev_mcast", 0o444, |_| only("")),
    text("fib_trie", 0o444, |_| only("")),
    text("icmp", 0o444, |process| raw(process, false, true)),
    text("icmp6", 0o444, |process| raw(process, true, true)),
    text("if_inet6", 0o444, if_inet6),
    text("igmp", 0o444, |_| {
        only("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n")
    }),
    text("ipv6_route", 0o444, |_| only("")),
    text("netlink", 0o444, |_| only(NETLINK_HEADER)),
    dir("netfilter", &[]),
    text("packet", 0o444, |_| only(PACKET_HEADER)),
    text("protocols", 0o444, |_| {
        only(
            "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n",
        )
    }),
    text("ptype", 0o444, |_| only("Type Device      Function\n")),
    text("raw", 0o444, |process| raw(process, false, false)),
    text("raw6", 0o444, |process| raw(process, true, false)),
    text("route", 0o444, route),
    text("rt_cache", 0o444, |_| only("")),
    text("snmp", 0o444, snmp),
    text("sockstat", 0o444, |_| {
        only(
            "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\nUDP: inuse 0 mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        )
    }),
    text("sockstat6", 0o444, |_| {
        only("TCP6: inuse 0\nUDP6: inuse 0\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n")
    }),
    dir("stat", &[]),
    text("tcp", 0o444, |process| tcp(process, false)),
    text("tcp6", 0o444, |process| tcp(process, true)),
    text("udp", 0o444, |process| udp(process, false)),
    text("udp6", 0o444, |process| udp(process, true)),
    text("udplite", 0o444, |_| only(UDP_HEADER)),
    text("udplite6", 0o444, |_| only(UDP6_HEADER)),
    text("unix", 0o444, unix),
    text("wireless", 0o444, |_| {
        only(
            "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n",
        )
    }),
];

/// /proc/net/dev.
fn dev(process: &Process) -> Result<Vec<u8>, Errno> {
    let net = process.task()?.net();
    let network = &net.network;
    let mut out = DEV_HEADER.to_string();
    for link in &network.inventory().links {
        let own = network.counters(link.index);
        let _ = writeln!(
            out,
            "{:>6}: {:7} {:7} {:4} {:4} {:4} {:5} {:10} {:9} {:8} {:7} {:4} {:4} {:4} {:5} {:7} {:10}",
            link.name,
            own.received_bytes,
            own.received_packets,
            0,
            own.receive_dropped,
            0,
            0,
            0,
            0,
            own.sent_bytes,
            own.sent_packets,
            0,
            own.send_dropped,
            0,
            0,
            0,
            0
        );
    }
    Ok(out.into_bytes())
}

/// /proc/net/if_inet6.
fn if_inet6(process: &Process) -> Result<Vec<u8>, Errno> {
    let net = process.task()?.net();
    let mut out = String::new();
    for link in &net.network.inventory().links {
        for address in &link.addresses {
            let IpAddr::V6(ip) = address.ip else { continue };
            // IPV6_ADDR_LOOPBACK, IPV6_ADDR_LINKLOCAL, or global.
            let scope = match ip {
                ip if ip.is_loopback() => 0x10,
                ip if ip.is_unicast_link_local() => 0x20,
                _ => 0,
            };
            let digits: String = ip.octets().iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(
                out,
                "{digits} {:02x} {:02x} {scope:02x} 80 {:>8}",
                link.index, address.prefix, link.name
            );
        }
    }
    Ok(out.into_bytes())
}

/// The IPv4 routes: /proc/net/route.
fn route(process: &Process) -> Result<Vec<u8>, Errno> {
    const RTF_UP: u32 = 1;
    const RTF_GATEWAY: u32 = 2;
    const RTF_HOST: u32 = 4;
    let net = process.task()?.net();
    let inventory = net.network.inventory();
    let mut out = ROUTE_HEADER.to_string();
    let word = |ip: Option<IpAddr>| match ip {
        Some(IpAddr::V4(ip)) => u32::from_le_bytes(ip.octets()),
        _ => 0,
    };
    for route in inventory
        .routes
        .iter()
        .filter(|route| route.destination.is_ipv4())
    {
        let name = inventory.link(route.interface).map_or("*", |link| &link.name);
        let mut flags = RTF_UP;
        if route.gateway.is_some() {
            flags |= RTF_GATEWAY;
        }
        if route.prefix == 32 {
            flags |= RTF_HOST;
        }
        let mask = u32::MAX
            .checked_shl(32u32.saturating_sub(route.prefix.into()))
            .unwrap_or(0);
        let line = format!(
            "{name}\t{:08X}\t{:08X}\t{flags:04X}\t0\t0\t{}\t{:08X}\t0\t0\t0",
            word(Some(route.destination)),
            word(route.gateway),
            route.metric,
            mask.to_be(),
        );
        let _ = writeln!(out, "{line:127}");
    }
    Ok(out.into_bytes())
}

/// The neighbours of IPv4: /proc/net/arp.
fn arp(process: &Process) -> Result<Vec<u8>, Errno> {
    let net = process.task()?.net();
    let network = &net.network;
    let mut out = ARP_HEADER.to_string();
    for own in network.neighbours().iter().filter(|own| own.ip.is_ipv4()) {
        let mac = own.mac.unwrap_or_default();
        let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let flags = if own.mac.is_some() { 2 } else { 0 };
        let name = network
            .inventory()
            .link(own.interface)
            .map_or(String::new(), |link| link.name.clone());
        let _ = writeln!(
            out,
            "{:<16} 0x1         0x{flags:x}         {}     *        {name}",
            own.ip.to_string(),
            mac.join(":")
        );
    }
    Ok(out.into_bytes())
}

/// An address as the tables show it: words of the host's byte order, then the port.
fn shown(addr: SocketAddr, ipv6: bool) -> String {
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(String::new(), |text, byte| format!("{text}{byte:02X}"))
    };
    let ip = match addr.ip() {
        IpAddr::V4(ip) if !ipv6 => word(&ip.octets()),
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets().chunks(4).map(word).collect(),
        IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
    };
    format!("{ip}:{:04X}", addr.port())
}

fn line(number: usize, socket: &Summary) -> String {
    format!(
        "{} {} {:02X} {:08X}:{:08X} 00:00000000 00000000 {:5} {:8} {} 1 0000000000000000",
        format_args!("{number:4}: {}", shown(socket.local, socket.ipv6)),
        shown(socket.remote, socket.ipv6),
        socket.state,
        socket.to_send,
        socket.to_read,
        socket.uid,
        0,
        socket.ino,
    )
}

/// /proc/net/tcp and tcp6: listeners first, as in Linux.
fn tcp(process: &Process, ipv6: bool) -> Result<Vec<u8>, Errno> {
    const LISTEN: u8 = 10;
    const CLOSE: u8 = 7;
    let net = process.task()?.net();
    let mut found: Vec<Summary> = tcp_rows(&net);
    found.retain(|socket| socket.ipv6 == ipv6 && socket.state != CLOSE);
    found.sort_by_key(|socket| socket.state != LISTEN);
    let mut out = String::from(if ipv6 { TCP6_HEADER } else { TCP_HEADER });
    for (number, socket) in found.iter().enumerate() {
        let text = format!("{} 100 0 0 10 0", line(number, socket));
        let _ = writeln!(out, "{text:149}");
    }
    Ok(out.into_bytes())
}

/// /proc/net/udp and udp6.
fn udp(process: &Process, ipv6: bool) -> Result<Vec<u8>, Errno> {
    let net = process.task()?.net();
    let mut found: Vec<Summary> = udp_rows(&net);
    found.retain(|socket| socket.ipv6 == ipv6);
    let mut out = String::from(if ipv6 { UDP6_HEADER } else { UDP_HEADER });
    for (number, socket) in found.iter().enumerate() {
        let text = format!("{} 0", line(number, socket));
        let _ = writeln!(out, "{text:127}");
    }
    Ok(out.into_bytes())
}

/// /proc/net/raw and icmp, and those of IPv6.
fn raw(process: &Process, ipv6: bool, ping: bool) -> Result<Vec<u8>, Errno> {
    let net = process.task()?.net();
    let sockets = net.ports().raw.sockets();
    let of_kind = sockets.iter().filter(|socket| socket.pings() == ping);
    let found = of_kind
        .map(|socket| socket.summary())
        .filter(|socket| socket.ipv6 == ipv6);
    let mut out = String::from(if ipv6 { UDP6_HEADER } else { UDP_HEADER });
    for (number, socket) in found.enumerate() {
        let text = format!("{} 0", line(number, &socket));
        let _ = writeln!(out, "{text:127}");
    }
    Ok(out.into_bytes())
}

/// /proc/net/snmp: what the stack counted. Traffic that stays inside the sandbox is not in it.
fn snmp(process: &Process) -> Result<Vec<u8>, Errno> {
    let net = process.task()?.net();
    let attached = net.network.attached();
    let (own, established) = match attached {
        Some(attached) => attached.look(|stack| (*stack.counters(), stack.established())),
        None => Default::default(),
    };
    let mut out = String::new();
    let mut table = |name: &str, rows: &[(&str, u64)]| {
        let names: Vec<&str> = rows.iter().map(|row| row.0).collect();
        let values: Vec<String> = rows.iter().map(|row| row.1.to_string()).collect();
        let _ = writeln!(out, "{name}: {}\n{name}: {}", names.join(" "), values.join(" "));
    };
    table(
        "Ip",
        &[
            ("Forwarding", 2),
            ("DefaultTTL", 64),
            ("InReceives", own.ip_in_receives),
            ("InHdrErrors", own.ip_in_hdr_errors),
            ("InAddrErrors", own.ip_in_addr_errors),
            ("ForwDatagrams", 0),
            ("InUnknownProtos", own.ip_in_unknown_protos),
            ("InDiscards", own.ip_in_discards),
            ("InDelivers", own.ip_in_delivers),
            ("OutRequests", own.ip_out_requests),
            ("OutDiscards", own.ip_out_discards),
            ("OutNoRoutes", own.ip_out_no_routes),
            ("ReasmTimeout", own.ip_reasm_timeout),
            ("ReasmReqds", own.ip_reasm_reqds),
            ("ReasmOKs", own.ip_reasm_oks),
            ("ReasmFails", own.ip_reasm_fails),
            ("FragOKs", own.ip_frag_oks),
            ("FragFails", own.ip_frag_fails),
            ("FragCreates", own.ip_frag_creates),
        ],
    );
    table(
        "Tcp",
        &[
            ("RtoAlgorithm", 1),
            ("RtoMin", 200),
            ("RtoMax", 120_000),
            ("MaxConn", u64::MAX),
            ("ActiveOpens", own.tcp_active_opens),
            ("PassiveOpens", own.tcp_passive_opens),
            ("AttemptFails", own.tcp_attempt_fails),
            ("EstabResets", own.tcp_estab_resets),
            ("CurrEstab", established as u64),
            ("InSegs", own.tcp_in_segs),
            ("OutSegs", own.tcp_out_segs),
            ("RetransSegs", own.tcp_retrans_segs),
            ("InErrs", own.tcp_in_errs),
            ("OutRsts", own.tcp_out_rsts),
            ("InCsumErrors", own.tcp_in_csum_errors),
        ],
    );
    table(
        "Udp",
        &[
            ("InDatagrams", own.udp_in_datagrams),
            ("NoPorts", own.udp_no_ports),
            ("InErrors", own.udp_in_errors),
            ("OutDatagrams", own.udp_out_datagrams),
            ("RcvbufErrors", own.udp_rcvbuf_errors),
            ("SndbufErrors", 0),
            ("InCsumErrors", own.udp_in_csum_errors),
        ],
    );
    // Linux prints an unlimited number of connections as -1.
    Ok(out.replace(&u64::MAX.to_string(), "-1").into_bytes())
}

/// /proc/net/unix.
fn unix(process: &Process) -> Result<Vec<u8>, Errno> {
    const SO_ACCEPTCON: u32 = 1 << 16;
    let net = process.task()?.net();
    let mut out = UNIX_HEADER.as_bytes().to_vec();
    for socket in net.unix_sockets() {
        let socket = socket.summary();
        let flags = if socket.listening { SO_ACCEPTCON } else { 0 };
        let state = if socket.connected { 3 } else { 1 };
        let text = format!(
            "0000000000000000: 00000002 00000000 {flags:08X} {:04X} {state:02X} {:5}",
            socket.kind as u32, socket.ino
        );
        out.extend(text.into_bytes());
        if let Some(name) = socket.name {
            out.push(b' ');
            // The NULs of abstract names are shown like their first one.
            out.extend(name.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }));
        }
        out.push(b'\n');
    }
    Ok(out)
}
