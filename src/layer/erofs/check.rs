//! Checks whether a file is a complete image of a layer.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
};

use super::{BLOCK, disk};
use crate::oci::{Digest, Sha256Writer};

/// Whether the file is a complete image of this layer with the bytes that strata writes. The whole file is read.
///
/// # Errors
///
/// If the file cannot be read.
pub fn is_intact(file: &mut File, diff_id: &Digest) -> io::Result<bool> {
    let size = file.metadata()?.len();
    if size < BLOCK {
        return Ok(false);
    }
    file.rewind()?;
    let mut block = [0; BLOCK as usize];
    file.read_exact(&mut block)?;
    let sealed = block;
    let (found, blocks) = disk::unseal(&mut block);
    if size != u64::from(blocks) * BLOCK {
        return Ok(false);
    }
    let mut hash = Sha256Writer::new(io::sink());
    io::copy(&mut io::BufReader::with_capacity(256 * 1024, file), &mut hash)?;
    let uuid = uuid(hash, &block, diff_id);
    disk::seal(&mut block, &uuid);
    Ok(uuid == found && block == sealed)
}

/// The revision of the bytes that strata writes. It changes with them, so that files of earlier versions in a cache are written again.
const REVISION: u8 = 1;

/// Returns the UUID of an image. `hash` includes all blocks except the first, which has neither a UUID nor a checksum yet.
pub(super) fn uuid(mut hash: Sha256Writer<io::Sink>, first: &[u8; BLOCK as usize], diff_id: &Digest) -> [u8; 16] {
    // Writing to a sink does not fail.
    let _ = hash
        .write_all(first)
        .and_then(|()| hash.write_all(diff_id.to_string().as_bytes()))
        .and_then(|()| hash.write_all(&[REVISION]));
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash.finish().1.as_bytes()[..16]);
    uuid
}
