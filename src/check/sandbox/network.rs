//! The network of containers: loopback, where every user may listen on all ports, as in engines.

use std::{fs, io};

use anyhow::{Context, Result};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use crate::terminal::note;

/// The first port that unprivileged users may listen on. moby and podman set it to 0 by default too (moby,
/// daemon/oci_linux.go, `withSysctls`).
const PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
/// The number of the loopback interface in every network namespace (linux, include/net/net_namespace.h).
const LOOPBACK: i32 = 1;

/// Starts the loopback interface of this network namespace.
///
/// # Errors
///
/// If the kernel reports an error.
pub fn start() -> Result<()> {
    start_loopback().context("starting the loopback interface")?;
    if let Err(error) = fs::write(PORTS, "0") {
        note!("containers cannot use ports below 1024: writing {PORTS}: {error}");
    }
    Ok(())
}

/// Sends a message of rtnetlink(7): RTM_NEWLINK with the flag IFF_UP.
fn start_loopback() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 0x5;
    const IFF_UP: u32 = 1;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    // Sequence and port numbers, then the family and the type of the interface, which may have any value.
    message.extend([0; 12]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    send(&socket, &message, SendFlags::empty())?;
    // The answer is an error message, whose number is 0 after success.
    let mut answer = [0; 256];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    match answer.get(16..20).filter(|_| length >= 20) {
        Some([0, 0, 0, 0]) => Ok(()),
        Some(&[a, b, c, d]) => Err(io::Error::from_raw_os_error(-i32::from_ne_bytes([a, b, c, d]))),
        _ => Err(io::Error::other("the kernel's answer is too short")),
    }
}
