//! Capabilities of files: the extended attribute `security.capability` (Linux, include/uapi/linux/capability.h).
//!
//! ```text
//! 4 bytes   revision in the last byte, the bit "effective" in the first
//! 8 bytes   permitted and inheritable capabilities 0 to 31
//! 8 bytes   the same for 32 to 63; not in revision 1
//! 4 bytes   the root of a user namespace; in revision 3 alone
//! ```

/// The name of the extended attribute.
pub const ATTRIBUTE: &[u8] = b"security.capability";

/// The names of capabilities, by number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Returns the permitted capabilities, as `docker run --cap-add` takes them. Of a malformed attribute, the ones that can be read.
pub fn permitted(attribute: &[u8]) -> Vec<String> {
    let word =
        |at: usize| attribute.get(at..at + 4).map_or(0, |word| u32::from_le_bytes(word.try_into().unwrap_or_default()));
    let permitted = u64::from(word(4)) | u64::from(word(12)) << 32;
    let name = |number: usize| NAMES.get(number).map_or_else(|| number.to_string(), |name| (*name).to_owned());
    (0..64).filter(|number| permitted >> number & 1 == 1).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_all_revisions_are_parsed() {
        // setcap cap_net_bind_service,cap_net_raw+ep
        let second = [1, 0, 0, 2, 0, 0x24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(permitted(&second), ["NET_BIND_SERVICE", "NET_RAW"]);
        assert_eq!(permitted(&second[..12]), ["NET_BIND_SERVICE", "NET_RAW"]);
        let mut third = [second.as_slice(), &[0; 4]].concat();
        third[12] = 0x80;
        third[13] = 2;
        assert_eq!(permitted(&third), ["NET_BIND_SERVICE", "NET_RAW", "BPF", "41"]);
        assert_eq!(permitted(b""), [""; 0]);
    }
}
