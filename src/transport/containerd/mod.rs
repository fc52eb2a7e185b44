//! containerd, through its command `ctr`.

pub(crate) mod read;
pub(crate) mod write;
