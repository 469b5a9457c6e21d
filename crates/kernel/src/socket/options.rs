//! SOL_SOCKET options (socket(7)): those that all sockets keep alike.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use abi::{AbiField, AbiStruct, Errno};

use super::Base;
use super::ancillary::{Record, Ucred};
use super::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX};
use crate::cred::{Caps, Credentials};
use crate::task::CurrentTask;

/// SOL_SOCKET.
pub const SOL_SOCKET: i32 = 1;

/// What SO_SNDBUF and SO_RCVBUF may ask for (net.core.wmem_max), before it is doubled.
const BUFFER_MAX: usize = 212_992;
/// The least they give.
const SNDBUF_MIN: usize = 4608;
const RCVBUF_MIN: usize = 2304;

const SO_DEBUG: i32 = 1;
const SO_REUSEADDR: i32 = 2;
const SO_TYPE: i32 = 3;
const SO_ERROR: i32 = 4;
const SO_DONTROUTE: i32 = 5;
const SO_BROADCAST: i32 = 6;
const SO_SNDBUF: i32 = 7;
const SO_RCVBUF: i32 = 8;
const SO_KEEPALIVE: i32 = 9;
const SO_OOBINLINE: i32 = 10;
const SO_NO_CHECK: i32 = 11;
const SO_PRIORITY: i32 = 12;
const SO_LINGER: i32 = 13;
const SO_BSDCOMPAT: i32 = 14;
const SO_REUSEPORT: i32 = 15;
const SO_PASSCRED: i32 = 16;
const SO_PEERCRED: i32 = 17;
const SO_RCVLOWAT: i32 = 18;
const SO_SNDLOWAT: i32 = 19;
const SO_RCVTIMEO: i32 = 20;
const SO_SNDTIMEO: i32 = 21;
/// Set by [`bind_to_device`].
pub const SO_BINDTODEVICE: i32 = 25;
/// Set by [`attach_filter`](super::filter::attach).
pub const SO_ATTACH_FILTER: i32 = 26;
/// Set by [`detach_filter`](super::filter::detach).
pub const SO_DETACH_FILTER: i32 = 27;
/// Answered from the socket's peer name.
pub const SO_PEERNAME: i32 = 28;
const SO_TIMESTAMP: i32 = 29;
const SO_ACCEPTCONN: i32 = 30;
const SO_SNDBUFFORCE: i32 = 32;
const SO_RCVBUFFORCE: i32 = 33;
const SO_PASSSEC: i32 = 34;
const SO_TIMESTAMPNS: i32 = 35;
const SO_MARK: i32 = 36;
const SO_TIMESTAMPING: i32 = 37;
const SO_PROTOCOL: i32 = 38;
const SO_DOMAIN: i32 = 39;
const SO_RXQ_OVFL: i32 = 40;
const SO_WIFI_STATUS: i32 = 41;
const SO_PEEK_OFF: i32 = 42;
const SO_NOFCS: i32 = 43;
const SO_LOCK_FILTER: i32 = 44;
const SO_SELECT_ERR_QUEUE: i32 = 45;
const SO_BUSY_POLL: i32 = 46;
const SO_MAX_PACING_RATE: i32 = 47;
const SO_BPF_EXTENSIONS: i32 = 48;
const SO_INCOMING_CPU: i32 = 49;
const SO_ATTACH_BPF: i32 = 50;
const SO_ATTACH_REUSEPORT_CBPF: i32 = 51;
const SO_ATTACH_REUSEPORT_EBPF: i32 = 52;
const SO_CNX_ADVICE: i32 = 53;
const SO_MEMINFO: i32 = 55;
const SO_INCOMING_NAPI_ID: i32 = 56;
const SO_COOKIE: i32 = 57;
const SO_PEERGROUPS: i32 = 59;
const SO_ZEROCOPY: i32 = 60;
const SO_TXTIME: i32 = 61;
/// Set by [`bind_to_index`].
pub const SO_BINDTOIFINDEX: i32 = 62;
const SO_TIMESTAMP_NEW: i32 = 63;
const SO_TIMESTAMPNS_NEW: i32 = 64;
const SO_TIMESTAMPING_NEW: i32 = 65;
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;
const SO_DETACH_REUSEPORT_BPF: i32 = 68;
const SO_PREFER_BUSY_POLL: i32 = 69;
const SO_BUSY_POLL_BUDGET: i32 = 70;
const SO_NETNS_COOKIE: i32 = 71;
const SO_BUF_LOCK: i32 = 72;
const SO_RESERVE_MEM: i32 = 73;
const SO_TXREHASH: i32 = 74;
const SO_RCVMARK: i32 = 75;
const SO_PASSPIDFD: i32 = 76;
const SO_PEERPIDFD: i32 = 77;
const SO_RCVPRIORITY: i32 = 82;
const SO_PASSRIGHTS: i32 = 83;

/// Switches that are kept and given back; a few have an effect where they are read.
const SWITCHES: &[i32] = &[
    SO_DEBUG,
    SO_REUSEADDR,
    SO_DONTROUTE,
    SO_BROADCAST,
    SO_KEEPALIVE,
    SO_OOBINLINE,
    SO_NO_CHECK,
    SO_REUSEPORT,
    SO_PASSCRED,
    SO_PASSSEC,
    SO_RXQ_OVFL,
    SO_WIFI_STATUS,
    SO_NOFCS,
    SO_LOCK_FILTER,
    SO_SELECT_ERR_QUEUE,
    SO_PREFER_BUSY_POLL,
    SO_RCVMARK,
    SO_PASSPIDFD,
    SO_RCVPRIORITY,
    SO_PASSRIGHTS,
];

/// Options of sockets that carry credentials and files: `EOPNOTSUPP` on those of other families.
const PASSED: &[i32] = &[SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD, SO_PASSRIGHTS];

/// Numbers that are kept: option, first value, least and greatest that is taken.
const NUMBERS: &[(i32, i32, i32, i32)] = &[
    (SO_INCOMING_CPU, -1, i32::MIN, i32::MAX),
    (SO_BUSY_POLL, 0, 0, i32::MAX),
    (SO_BUF_LOCK, 0, 0, 3),
    (SO_TXREHASH, 1, -1, 1),
];

/// Flags that SO_TIMESTAMPING knows, two of them, and the two that have an effect.
const SOF_MASK: i32 = (1 << 19) - 1;
const SOF_OPT_ID: i32 = 1 << 7;
const SOF_OPT_ID_TCP: i32 = 1 << 16;
const SOF_RX_SOFTWARE: i32 = 1 << 3;
const SOF_SOFTWARE: i32 = 1 << 4;

/// The options of a socket.
#[derive(Clone, Debug)]
pub struct Options {
    switches: u128,
    /// Of [`NUMBERS`], those that were set.
    numbers: BTreeMap<i32, i32>,
    /// Which of SO_TIMESTAMP and its like is on.
    stamp: Option<i32>,
    /// SO_TIMESTAMPING.
    stamping: (i32, i32),
    /// When the last message came (SIOCGSTAMP), once somebody has asked.
    noted: Option<Option<i64>>,
    pacing: u64,
    txtime: [u8; 8],
    /// SO_SNDBUF was set: it no longer grows by itself.
    pub send_buffer_set: bool,
    /// SO_RCVBUF was set.
    pub receive_buffer_set: bool,
    /// SO_SNDBUF in bytes, doubled as Linux shows it.
    pub send_buffer: usize,
    /// SO_RCVBUF in bytes.
    pub receive_buffer: usize,
    /// SO_LINGER: how long close(2) waits; zero resets the connection.
    pub linger: Option<u32>,
    /// SO_RCVTIMEO; `None`: for ever.
    pub receive_timeout: Option<Duration>,
    /// SO_SNDTIMEO.
    pub send_timeout: Option<Duration>,
    priority: i32,
    mark: i32,
    low_water: i32,
    /// Greatest SO_RCVLOWAT.
    pub low_water_limit: i32,
    /// SO_BINDTODEVICE: index and name.
    pub device: Option<(u32, String)>,
    /// Set by listen(2), for SO_ACCEPTCONN.
    pub listening: bool,
}

impl Options {
    pub(super) fn new((send_buffer, receive_buffer): (usize, usize)) -> Options {
        Options {
            switches: 1 << SO_PASSRIGHTS,
            numbers: BTreeMap::new(),
            stamp: None,
            stamping: (SO_TIMESTAMPING, 0),
            noted: None,
            pacing: u64::MAX,
            txtime: [0; 8],
            send_buffer_set: false,
            receive_buffer_set: false,
            send_buffer,
            receive_buffer,
            linger: None,
            receive_timeout: None,
            send_timeout: None,
            priority: 0,
            mark: 0,
            low_water: 1,
            low_water_limit: i32::MAX,
            device: None,
            listening: false,
        }
    }

    fn number(&self, name: i32, first: i32) -> i32 {
        self.numbers.get(&name).copied().unwrap_or(first)
    }

    /// SO_LOCK_FILTER.
    pub fn filter_locked(&self) -> bool {
        self.switch(SO_LOCK_FILTER)
    }

    fn switch(&self, name: i32) -> bool {
        self.switches & (1 << name) != 0
    }

    /// SO_REUSEADDR.
    pub fn reuse_address(&self) -> bool {
        self.switch(SO_REUSEADDR)
    }

    /// SO_REUSEPORT.
    pub fn reuse_port(&self) -> bool {
        self.switch(SO_REUSEPORT)
    }

    /// SO_PASSCRED.
    pub fn pass_credentials(&self) -> bool {
        self.switch(SO_PASSCRED)
    }

    /// SO_TIMESTAMP or SO_TIMESTAMPNS with the time of arrival, as a control message.
    pub fn timestamp(&self, time: i64) -> Option<Record> {
        let (sec, nsec) = (time.div_euclid(1_000_000_000), time.rem_euclid(1_000_000_000));
        let flags = SOF_RX_SOFTWARE | SOF_SOFTWARE;
        let (kind, part) = match self.stamp {
            Some(kind @ (SO_TIMESTAMPNS | SO_TIMESTAMPNS_NEW)) => (kind, nsec),
            Some(kind) => (kind, nsec / 1000),
            // SCM_TIMESTAMPING: three times, the first of them by software.
            None if self.stamping.1 & flags == flags => {
                let mut data = [sec.to_le_bytes(), nsec.to_le_bytes()].concat();
                data.resize(48, 0);
                let (level, kind) = (SOL_SOCKET, self.stamping.0);
                return Some(Record { level, kind, data });
            }
            None => return None,
        };
        let data = [sec.to_le_bytes(), part.to_le_bytes()].concat();
        let level = SOL_SOCKET;
        Some(Record { level, kind, data })
    }

    /// SIOCGSTAMP. The first call has times noted from then on: `ENOENT`.
    pub fn last_stamp(&mut self) -> Result<i64, Errno> {
        self.noted.get_or_insert(None).ok_or(Errno::ENOENT)
    }

    /// A message that came at `time` was received.
    pub fn note_stamp(&mut self, time: i64) {
        if let Some(noted) = &mut self.noted {
            *noted = Some(time);
        }
    }

    /// SO_OOBINLINE.
    pub fn oob_inline(&self) -> bool {
        self.switch(SO_OOBINLINE)
    }

    /// Index of the device that the socket is bound to.
    pub fn device(&self) -> Option<u32> {
        self.device.as_ref().map(|(index, _)| *index)
    }

    /// SO_KEEPALIVE.
    pub fn keep_alive(&self) -> bool {
        self.switch(SO_KEEPALIVE)
    }

    /// SO_BROADCAST.
    pub fn broadcast(&self) -> bool {
        self.switch(SO_BROADCAST)
    }
}

/// An int argument; `EINVAL` when it is too short.
pub fn int(value: &[u8]) -> Result<i32, Errno> {
    if value.len() < 4 {
        return Err(Errno::EINVAL);
    }
    Ok(i32::get(value))
}

fn duration(value: &[u8]) -> Result<Option<Duration>, Errno> {
    if value.len() < 16 {
        return Err(Errno::EINVAL);
    }
    let (sec, usec) = (i64::get(value), i64::get(&value[8..]));
    let usec = u64::try_from(usec)
        .ok()
        .filter(|usec| *usec < 1_000_000)
        .ok_or(Errno::EDOM)?;
    // Negative seconds mean no waiting at all.
    let sec = u64::try_from(sec).unwrap_or(0);
    let length = Duration::from_secs(sec).saturating_add(Duration::from_micros(usec));
    Ok((!length.is_zero()).then_some(length))
}

fn time_bytes(length: Option<Duration>) -> Vec<u8> {
    let length = length.unwrap_or_default();
    let mut bytes = vec![0; 16];
    i64::try_from(length.as_secs())
        .unwrap_or(i64::MAX)
        .put(&mut bytes);
    i64::from(length.subsec_micros()).put(&mut bytes[8..]);
    bytes
}

impl Base {
    /// setsockopt(2) at SOL_SOCKET; returns whether a buffer size changed. `ENOPROTOOPT` when the option is not a general one.
    pub fn set_general_option(&self, cred: &Credentials, name: i32, value: &[u8]) -> Result<bool, Errno> {
        let number = int(value)?;
        self.check_family(name, number)?;
        let mut options = self.options.lock();
        match name {
            SO_RCVTIMEO | SO_RCVTIMEO_NEW => options.receive_timeout = duration(value)?,
            SO_SNDTIMEO | SO_SNDTIMEO_NEW => options.send_timeout = duration(value)?,
            SO_LINGER => {
                let seconds = int(value.get(4..).unwrap_or_default())?;
                options.linger = (number != 0).then(|| u32::try_from(seconds).unwrap_or(u32::MAX));
            }
            SO_SNDBUF | SO_SNDBUFFORCE => {
                check_force(cred, name == SO_SNDBUFFORCE)?;
                options.send_buffer_set = true;
                options.send_buffer = buffer_size(number).max(SNDBUF_MIN);
                return Ok(true);
            }
            SO_RCVBUF | SO_RCVBUFFORCE => {
                check_force(cred, name == SO_RCVBUFFORCE)?;
                options.receive_buffer_set = true;
                options.receive_buffer = buffer_size(number).max(RCVBUF_MIN);
                return Ok(true);
            }
            SO_PRIORITY => {
                self.check_admin(cred, !(0..=6).contains(&number))?;
                options.priority = number;
            }
            SO_MARK => {
                self.check_admin(cred, true)?;
                options.mark = number;
            }
            SO_RCVLOWAT => {
                let limit = options.low_water_limit;
                let wanted = if number < 0 { i32::MAX } else { number.max(1) };
                options.low_water = wanted.min(limit);
                let bytes = usize::try_from(options.low_water).unwrap_or(1);
                self.low_water.store(bytes, Ordering::Relaxed);
            }
            SO_BSDCOMPAT | SO_CNX_ADVICE => {}
            SO_TIMESTAMP | SO_TIMESTAMPNS | SO_TIMESTAMP_NEW | SO_TIMESTAMPNS_NEW => {
                options.stamp = (number != 0).then_some(name);
            }
            SO_TIMESTAMPING | SO_TIMESTAMPING_NEW => {
                let lone = number & SOF_OPT_ID_TCP != 0 && number & SOF_OPT_ID == 0;
                if number & !SOF_MASK != 0 || lone {
                    return Err(Errno::EINVAL);
                }
                options.stamping = (name, number);
            }
            SO_MAX_PACING_RATE => {
                options.pacing = match value.len() {
                    8.. => u64::get(value),
                    _ if number == -1 => u64::MAX,
                    _ => u64::from(number.cast_unsigned()),
                };
            }
            SO_TXTIME => {
                let raw = <[u8; 8]>::try_from(value).map_err(|_| Errno::EINVAL)?;
                if int(&raw[4..])? & !3 != 0 {
                    return Err(Errno::EINVAL);
                }
                // CLOCK_MONOTONIC is for everybody's timers.
                self.check_admin(cred, number != 1)?;
                options.txtime = raw;
            }
            SO_BUSY_POLL_BUDGET if !(0..=i32::from(u16::MAX)).contains(&number) => return Err(Errno::EINVAL),
            SO_BUSY_POLL_BUDGET => check_force(cred, true)?,
            // Neither memory accounting by groups, nor notices about pages that were sent: both are optional in Linux.
            SO_RESERVE_MEM if number < 0 => return Err(Errno::EINVAL),
            SO_ZEROCOPY if !(0..=1).contains(&number) => return Err(Errno::EINVAL),
            SO_ZEROCOPY if number == 0 => {}
            SO_RESERVE_MEM | SO_ZEROCOPY | SO_PEEK_OFF => return Err(Errno::EOPNOTSUPP),
            // Programs of the extended kind are not there (bpf(2)).
            SO_ATTACH_BPF | SO_ATTACH_REUSEPORT_CBPF | SO_ATTACH_REUSEPORT_EBPF | SO_DETACH_REUSEPORT_BPF => {
                return Err(Errno::EINVAL);
            }
            SO_LOCK_FILTER if number == 0 && options.switch(name) => return Err(Errno::EPERM),
            SO_DEBUG if number != 0 && !cred.has(Caps::NET_ADMIN) => return Err(Errno::EACCES),
            name if SWITCHES.contains(&name) => {
                let bit = 1u128 << name;
                options.switches = (options.switches & !bit) | if number != 0 { bit } else { 0 };
            }
            name => {
                let known = NUMBERS.iter().find(|known| known.0 == name);
                let (_, first, least, most) = known.ok_or(Errno::ENOPROTOOPT)?;
                if !(*least..=*most).contains(&number) {
                    return Err(Errno::EINVAL);
                }
                check_force(
                    cred,
                    name == SO_BUSY_POLL && number > options.number(name, *first),
                )?;
                let usual = name == SO_TXREHASH && number == -1;
                options.numbers.insert(name, if usual { *first } else { number });
            }
        }
        Ok(false)
    }

    /// `EPERM` where CAP_NET_RAW or CAP_NET_ADMIN over the socket's network namespace is needed.
    fn check_admin(&self, cred: &Credentials, needed: bool) -> Result<(), Errno> {
        let may = |cap| self.net.permits(cred, cap);
        if needed && !may(Caps::NET_ADMIN) && !may(Caps::NET_RAW) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// `EOPNOTSUPP` for what sockets of this family do not have.
    fn check_family(&self, name: i32, number: i32) -> Result<(), Errno> {
        let inet = matches!(self.family, AF_INET | AF_INET6);
        let passes = self.family == AF_UNIX || (self.family == AF_NETLINK && name != SO_PASSRIGHTS);
        let stream = inet && self.kind == super::Kind::Stream;
        if (PASSED.contains(&name) && !passes)
            || (name == SO_TXREHASH && !stream)
            || (name == SO_REUSEPORT && number != 0 && !inet)
        {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(())
    }

    /// getsockopt(2) at SOL_SOCKET into `room` bytes. `ENOPROTOOPT` when the option is not a general one.
    pub fn general_option(&self, name: i32, room: usize) -> Result<Vec<u8>, Errno> {
        if name == SO_ERROR {
            let error = self.take_error().map_or_else(Errno::raw, |()| 0);
            return Ok(error.to_le_bytes().to_vec());
        }
        self.check_family(name, 0)?;
        let options = self.options.lock();
        let size = |bytes: usize| i32::try_from(bytes).unwrap_or(i32::MAX);
        let value: i32 = match name {
            SO_RCVTIMEO | SO_RCVTIMEO_NEW => return Ok(time_bytes(options.receive_timeout)),
            SO_SNDTIMEO | SO_SNDTIMEO_NEW => return Ok(time_bytes(options.send_timeout)),
            SO_LINGER => {
                let mut bytes = i32::from(options.linger.is_some()).to_le_bytes().to_vec();
                bytes.extend(options.linger.unwrap_or(0).to_le_bytes());
                return Ok(bytes);
            }
            SO_BINDTODEVICE => {
                let name = options
                    .device
                    .as_ref()
                    .map(|(_, name)| [name.as_bytes(), b"\0"].concat());
                return Ok(name.unwrap_or_default());
            }
            SO_TIMESTAMPING | SO_TIMESTAMPING_NEW => {
                let flags = if options.stamping.0 == name {
                    options.stamping.1
                } else {
                    0
                };
                return Ok([flags.to_le_bytes(), [0; 4]].concat());
            }
            SO_MAX_PACING_RATE => return Ok(options.pacing.to_le_bytes().to_vec()),
            SO_TXTIME => return Ok(options.txtime.to_vec()),
            SO_MEMINFO => {
                let (receive, send) = (size(options.receive_buffer), size(options.send_buffer));
                let all = [0, receive, 0, send, 0, 0, 0, 0, 0];
                return Ok(all.iter().flat_map(|word: &i32| word.to_le_bytes()).collect());
            }
            SO_COOKIE if room < 8 => return Err(Errno::EINVAL),
            SO_COOKIE => return Ok(self.ino.to_le_bytes().to_vec()),
            SO_NETNS_COOKIE if room != 8 => return Err(Errno::EINVAL),
            SO_NETNS_COOKIE => return Ok(self.net.cookie().to_le_bytes().to_vec()),
            SO_PEERCRED if self.family != AF_UNIX => return Ok(Ucred::NOBODY.to_bytes()),
            SO_PEERGROUPS | SO_PEERPIDFD if self.family != AF_UNIX => return Err(Errno::ENODATA),
            SO_TYPE => self.kind as i32,
            SO_PROTOCOL => self.protocol,
            SO_DOMAIN => i32::from(self.family),
            SO_ACCEPTCONN => i32::from(options.listening),
            SO_SNDBUF => size(options.send_buffer),
            SO_RCVBUF => size(options.receive_buffer),
            SO_PRIORITY => options.priority,
            SO_MARK => options.mark,
            SO_RCVLOWAT => options.low_water,
            SO_SNDLOWAT => 1,
            SO_BSDCOMPAT | SO_INCOMING_NAPI_ID | SO_ZEROCOPY | SO_RESERVE_MEM => 0,
            SO_PEEK_OFF => -1,
            // SKF_AD_MAX: what filters can load beside the packet.
            SO_BPF_EXTENSIONS => 64,
            SO_BINDTOIFINDEX => options.device().map_or(0, u32::cast_signed),
            SO_TIMESTAMP | SO_TIMESTAMPNS | SO_TIMESTAMP_NEW | SO_TIMESTAMPNS_NEW => {
                i32::from(options.stamp == Some(name))
            }
            name if SWITCHES.contains(&name) => i32::from(options.switch(name)),
            name => {
                let known = NUMBERS.iter().find(|known| known.0 == name);
                options.number(name, known.ok_or(Errno::ENOPROTOOPT)?.1)
            }
        };
        Ok(value.to_le_bytes().to_vec())
    }
}

fn check_force(cred: &Credentials, force: bool) -> Result<(), Errno> {
    if force && !cred.has(Caps::NET_ADMIN) {
        Err(Errno::EPERM)
    } else {
        Ok(())
    }
}

/// Twice what was asked for: Linux counts its own overhead.
fn buffer_size(asked: i32) -> usize {
    // Negative numbers are huge ones to Linux.
    usize::try_from(asked).unwrap_or(usize::MAX).min(BUFFER_MAX) * 2
}

/// SO_BINDTODEVICE. `ENODEV`; `EPERM` to change it without CAP_NET_RAW.
pub fn bind_to_device(task: &CurrentTask, base: &Base, value: &[u8]) -> Result<(), Errno> {
    // Only the host could hold its sockets to a device.
    if base.is_of_host() {
        return Err(Errno::EPERM);
    }
    let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
    if base.options.lock().device.is_some() && !base.net.permits(&task.cred(), Caps::NET_RAW) {
        return Err(Errno::EPERM);
    }
    let device = if name.is_empty() {
        None
    } else {
        let inventory = base.net.network.inventory();
        let link = inventory.named(name).ok_or(Errno::ENODEV)?;
        Some((link.index, link.name.clone()))
    };
    base.options.lock().device = device;
    Ok(())
}

/// SO_BINDTOIFINDEX. `EINVAL`; `EPERM` to change it without CAP_NET_RAW.
pub fn bind_to_index(task: &CurrentTask, base: &Base, value: &[u8]) -> Result<(), Errno> {
    let index = u32::try_from(int(value)?).map_err(|_| Errno::EINVAL)?;
    if base.is_of_host() {
        return Err(Errno::EPERM);
    }
    if base.options.lock().device.is_some() && !base.net.permits(&task.cred(), Caps::NET_RAW) {
        return Err(Errno::EPERM);
    }
    let inventory = base.net.network.inventory();
    let name = |index| {
        inventory
            .link(index)
            .map(|link| link.name.clone())
            .unwrap_or_default()
    };
    base.options.lock().device = (index != 0).then(|| (index, name(index)));
    Ok(())
}
