//! What a load into an engine did.

use std::{collections::HashSet, io};

use super::{EngineError, Tool};
use crate::{
    image::Image,
    layer::Counted,
    oci::Digest,
    transport::{Details, Loaded, Outcome, Sent, archive},
};

impl Loaded {
    pub(crate) fn new(id: Digest, reference: String) -> Self {
        Self { id, reference, layers: 0, present: 0, bytes: 0, repaired: None }
    }

    /// Notes which layers are not sent.
    pub(crate) fn leave_out(&mut self, image: &Image, there: &HashSet<Digest>) {
        self.present = image.layers.iter().filter(|layer| there.contains(&layer.descriptor.digest)).count();
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
            let mut out = Counted::new(out);
            let written = archive::write_without(image, Some(reference), there, &mut out).map(drop);
            self.bytes += out.bytes;
            written.map_err(io::Error::other)
        })
    }

    /// The result of a load into one engine.
    pub(crate) fn into_outcome(self, image: &Image) -> Outcome {
        let sent = Sent { blobs: 0, bytes: self.bytes };
        let (digest, reference, skipped) = (self.id, Some(self.reference.clone()), self.present);
        let loaded = Self { layers: image.layers.len(), ..self };
        Outcome { reference, sent, skipped, details: Details::Loaded(vec![loaded]), ..Outcome::new(digest) }
    }
}

/// The name under which an image comes into an engine that may take half of it, until it is known to be whole. The same
/// for the same image, so that a second try cleans up after a first that was killed.
pub(crate) fn incoming(manifest: &Digest) -> String {
    format!("strata-incoming:{}", &manifest.hex()[..32])
}
