//! Searches a blob in the repository and in those from which it can be mounted, and sends it.

use super::{Result, steps::Push};
use crate::{
    oci::Digest,
    transport::{
        progress::Fate,
        registry::{Mount, Upload, shared::Home},
    },
};

impl Push<'_> {
    /// Returns whether the blob exists, or can be mounted from `from` or from the repositories of the user.
    pub(super) fn find_existing(&self, digest: &Digest, from: Option<&str>) -> Result<Existing> {
        if let Some(existing) = self.client.find_blob(digest)? {
            return Ok(Existing::Yes(Fate::Present, existing.size));
        }
        let mut session = None;
        let named = self.options.mount_from.iter().map(String::as_str);
        for repository in from.into_iter().chain(named).filter(|repository| *repository != self.client.repository()) {
            match self.client.mount(digest, repository)? {
                Mount::Done => {
                    let size = self.client.find_blob(digest)?.and_then(|existing| existing.size);
                    return Ok(Existing::Yes(Fate::Mounted, size));
                }
                Mount::Session(opened) => self.keep(&mut session, Some(opened)),
                Mount::Refused => {}
            }
        }
        Ok(Existing::No(session))
    }

    /// Searches the blob as [`Self::find_existing`] does, and in its home repository.
    pub(super) fn find_existing_or_home(
        &self,
        digest: &Digest,
        from: Option<&str>,
        home: Option<&Home>,
    ) -> Result<Existing> {
        let (Some(home), Some(shared)) = (home, &self.options.shared) else { return self.find_existing(digest, from) };
        if let Some(existing) = self.client.find_blob(digest)? {
            return Ok(Existing::Yes(Fate::Present, existing.size));
        }
        match shared.homes.has_blob(home, digest, &self.options.registry) {
            true => self.find_existing(digest, Some(home.repository())),
            false => self.find_existing(digest, from),
        }
    }

    /// Sends a blob, to its home repository if it has one, from which it is mounted.
    pub(super) fn send(&self, upload: Upload<'_>, home: Option<&Home>) -> Result<()> {
        let shared = self.options.shared.as_deref();
        let _turn = shared.map(|shared| shared.making.wait_for_turn());
        let home = home.filter(|home| home.is_usable() && home.repository() != self.client.repository());
        let (Some(home), Some(shared)) = (home, shared) else { return Ok(self.client.upload(upload)?) };
        let Upload { make, size, digest, session } = upload;
        let to_home = Upload { make: &mut *make, size, digest, session: None };
        match home.client(&self.options.registry).and_then(|client| client.upload(to_home)) {
            Ok(()) => {}
            Err(error) if error.is_of_body() => return Err(error.into()),
            // The credentials, a quota or the state of the home must not affect this repository.
            Err(_) => {
                home.set_unusable();
                return Ok(self.client.upload(Upload { make, size, digest, session })?);
            }
        }
        session.iter().for_each(|session| self.client.cancel(session));
        let sent = digest().expect("an upload without an error has sent all of the blob");
        let session = match self.client.mount(&sent, home.repository())? {
            Mount::Done => return Ok(()),
            Mount::Session(session) => Some(session),
            Mount::Refused => None,
        };
        shared.homes.refuse();
        Ok(self.client.upload(Upload { make, size, digest, session })?)
    }

    /// Keeps one of several upload sessions that refused mounts opened.
    pub(super) fn keep(&self, session: &mut Option<String>, opened: Option<String>) {
        match (&session, opened) {
            (None, opened) => *session = opened,
            (Some(_), Some(spare)) => self.client.cancel(&spare),
            (Some(_), None) => {}
        }
    }
}

/// Whether a blob exists.
pub(super) enum Existing {
    /// The blob exists, with this size in bytes if the response has it.
    Yes(Fate, Option<u64>),
    /// The blob does not exist. A refused mount may have opened an upload session.
    No(Option<String>),
}
