//! SOL_SOCKET options (socket(7)): those that all sockets keep alike.

use std::time::Duration;

use abi::{AbiField, Errno};

use super::Base;
use super::ancillary::Record;
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
const SO_REUSEPORT: i32 = 15;
const SO_PASSCRED: i32 = 16;
const SO_RCVLOWAT: i32 = 18;
const SO_SNDLOWAT: i32 = 19;
const SO_RCVTIMEO: i32 = 20;
const SO_SNDTIMEO: i32 = 21;
/// Set by [`bind_to_device`].
pub const SO_BINDTODEVICE: i32 = 25;
const SO_TIMESTAMP: i32 = 29;
const SO_ACCEPTCONN: i32 = 30;
const SO_SNDBUFFORCE: i32 = 32;
const SO_RCVBUFFORCE: i32 = 33;
const SO_TIMESTAMPNS: i32 = 35;
const SO_MARK: i32 = 36;
const SO_PROTOCOL: i32 = 38;
const SO_DOMAIN: i32 = 39;
const SO_RXQ_OVFL: i32 = 40;
const SO_INCOMING_CPU: i32 = 49;
const SO_ZEROCOPY: i32 = 60;
const SO_RCVTIMEO_NEW: i32 = 66;
const SO_SNDTIMEO_NEW: i32 = 67;

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
    SO_TIMESTAMP,
    SO_TIMESTAMPNS,
    SO_RXQ_OVFL,
];

/// The options of a socket.
#[derive(Clone, Debug)]
pub struct Options {
    switches: u64,
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
    /// SO_BINDTODEVICE: index and name.
    pub device: Option<(u32, String)>,
    /// Set by listen(2), for SO_ACCEPTCONN.
    pub listening: bool,
}

impl Options {
    pub(super) fn new((send_buffer, receive_buffer): (usize, usize)) -> Options {
        Options {
            switches: 0,
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
            device: None,
            listening: false,
        }
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
        let (kind, part) = if self.switch(SO_TIMESTAMPNS) {
            (SO_TIMESTAMPNS, nsec)
        } else if self.switch(SO_TIMESTAMP) {
            (SO_TIMESTAMP, nsec / 1000)
        } else {
            return None;
        };
        let data = [sec.to_le_bytes(), part.to_le_bytes()].concat();
        let level = SOL_SOCKET;
        Some(Record { level, kind, data })
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
        let mut options = self.options.lock();
        match name {
            SO_RCVTIMEO | SO_RCVTIMEO_NEW => options.receive_timeout = duration(value)?,
            SO_SNDTIMEO | SO_SNDTIMEO_NEW => options.send_timeout = duration(value)?,
            SO_LINGER => {
                let on = int(value)?;
                let seconds = int(value.get(4..).unwrap_or_default())?;
                options.linger = (on != 0).then(|| u32::try_from(seconds).unwrap_or(u32::MAX));
            }
            SO_SNDBUF | SO_SNDBUFFORCE => {
                check_force(cred, name == SO_SNDBUFFORCE)?;
                options.send_buffer_set = true;
                options.send_buffer = buffer_size(int(value)?).max(SNDBUF_MIN);
                return Ok(true);
            }
            SO_RCVBUF | SO_RCVBUFFORCE => {
                check_force(cred, name == SO_RCVBUFFORCE)?;
                options.receive_buffer_set = true;
                options.receive_buffer = buffer_size(int(value)?).max(RCVBUF_MIN);
                return Ok(true);
            }
            SO_PRIORITY => {
                let priority = int(value)?;
                if !(0..=6).contains(&priority) && !cred.has(Caps::NET_ADMIN) {
                    return Err(Errno::EPERM);
                }
                options.priority = priority;
            }
            SO_MARK => {
                let mark = int(value)?;
                if !cred.has(Caps::NET_ADMIN) {
                    return Err(Errno::EPERM);
                }
                options.mark = mark;
            }
            SO_RCVLOWAT => options.low_water = int(value)?.max(1),
            SO_INCOMING_CPU | SO_ZEROCOPY => {
                int(value)?;
            }
            SO_TYPE | SO_ERROR | SO_ACCEPTCONN | SO_PROTOCOL | SO_DOMAIN | SO_SNDLOWAT => {
                return Err(Errno::ENOPROTOOPT);
            }
            name if SWITCHES.contains(&name) => {
                let on = int(value)? != 0;
                let bit = 1u64 << name;
                options.switches = (options.switches & !bit) | if on { bit } else { 0 };
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(false)
    }

    /// getsockopt(2) at SOL_SOCKET. `ENOPROTOOPT` when the option is not a general one.
    pub fn general_option(&self, name: i32) -> Result<Vec<u8>, Errno> {
        if name == SO_ERROR {
            let error = self.take_error().map_or_else(Errno::raw, |()| 0);
            return Ok(error.to_le_bytes().to_vec());
        }
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
            SO_INCOMING_CPU | SO_ZEROCOPY => 0,
            name if SWITCHES.contains(&name) => i32::from(options.switch(name)),
            _ => return Err(Errno::ENOPROTOOPT),
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
    let name = value.split(|byte| *byte == 0).next().unwrap_or_default();
    if base.options.lock().device.is_some() && !task.cred().has(Caps::NET_RAW) {
        return Err(Errno::EPERM);
    }
    let device = if name.is_empty() {
        None
    } else {
        let inventory = task.kernel.sockets.network.inventory();
        let link = inventory.named(name).ok_or(Errno::ENODEV)?;
        Some((link.index, link.name.clone()))
    };
    base.options.lock().device = device;
    Ok(())
}
