//! What a load into an engine did, and how it is told.

use std::{
    collections::HashSet,
    io::{self, Write},
};

use super::{EngineError, Tool};
use crate::{
    image::Image,
    oci::Digest,
    transport::{Written, archive},
};

/// What a load did.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the engine knows the image by.
    pub id: Digest,
    /// What people know it by there.
    pub reference: String,
    /// Layers that were there already.
    pub there: usize,
    /// Bytes sent.
    pub bytes: u64,
    /// Why layers that seemed to be there were sent after all.
    pub repaired: Option<String>,
}

impl Loaded {
    pub(crate) fn new(id: Digest, reference: String) -> Self {
        Self { id, reference, there: 0, bytes: 0, repaired: None }
    }

    /// Notes which layers are not sent.
    pub(crate) fn leave_out(&mut self, image: &Image, there: &HashSet<Digest>) {
        self.there = image.layers.iter().filter(|layer| there.contains(&layer.descriptor.digest)).count();
    }

    /// Feeds an engine's command with the archive of `image` as `reference`, without the layers `there`.
    pub(crate) fn feed(
        &mut self,
        image: &Image,
        reference: &str,
        there: &HashSet<Digest>,
        tool: &Tool,
        arguments: &[&str],
    ) -> Result<String, EngineError> {
        self.leave_out(image, there);
        tool.feed(arguments, |out| {
            let mut out = Counted { out, bytes: &mut self.bytes };
            archive::write_without(image, Some(reference), there, &mut out).map(drop).map_err(io::Error::other)
        })
    }

    /// What people and programs are told.
    pub(crate) fn written(self, image: &Image) -> Written {
        let Self { id, reference, there, bytes, repaired } = self;
        let layers = image.layers.len();
        let event = serde_json::json!({ "event": "loaded", "reference": reference, "id": id, "bytes": bytes,
            "layers": layers, "layersThere": there, "repaired": repaired });
        let why = repaired.map(|why| format!("sending layers that seemed to be there: {why}"));
        let count = format!("{reference}: {there} of {layers} layers were there, {bytes} bytes sent");
        Written {
            reference: Some(reference),
            says: why.into_iter().chain([count]).collect(),
            event: Some(event),
            ..Written::new(id)
        }
    }
}

/// The name under which an image comes into an engine that may take half of it, until it is known to be whole. The same
/// for the same image, so that a second try cleans up after a first that was killed.
pub(crate) fn incoming(manifest: &Digest) -> String {
    format!("strata-incoming:{}", &manifest.hex()[..32])
}

struct Counted<'a> {
    out: &'a mut dyn Write,
    bytes: &'a mut u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        *self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
