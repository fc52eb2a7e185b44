//! The result of a load into an engine.

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

    /// Records the layers that are not sent.
    pub(crate) fn leave_out(&mut self, image: &Image, existing: &HashSet<Digest>) {
        self.present = image.layers.iter().filter(|layer| existing.contains(&layer.descriptor.digest)).count();
    }

    /// Sends the archive of `image` as `reference` to an engine's command, without the layers `existing`.
    pub(crate) fn feed(
        &mut self,
        image: &Image,
        reference: &str,
        existing: &HashSet<Digest>,
        tool: &Tool,
        arguments: &[&str],
    ) -> Result<String, EngineError> {
        self.leave_out(image, existing);
        tool.feed(arguments, |out| {
            let mut out = Counted::new(out);
            let written = archive::write_without(image, Some(reference), existing, &mut out).map(drop);
            self.bytes += out.bytes;
            written.map_err(io::Error::other)
        })
    }

    /// Returns the result of a load into one engine.
    pub(crate) fn into_outcome(self, image: &Image) -> Outcome {
        let sent = Sent { blobs: 0, bytes: self.bytes };
        let (digest, reference, skipped) = (self.id, Some(self.reference.clone()), self.present);
        let loaded = Self { layers: image.layers.len(), ..self };
        Outcome { reference, sent, skipped, details: Details::Loaded(vec![loaded]), ..Outcome::new(digest) }
    }
}
