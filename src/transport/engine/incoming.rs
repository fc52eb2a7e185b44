//! Loads into image stores that accept incomplete images.
//!
//! ```text
//! archive without the existing layers, as strata-incoming:DIGITS ──▶ complete? ──▶ set the name, drop the temporary name
//!                                  ▲                                   │ no
//!                                  └─────────── all layers, once ──────┘
//! ```
//!
//! An image gets its name only when it is complete. Until then the name stands for the same image as before.

use std::collections::HashSet;

use crate::{oci::Digest, transport::Loaded};

/// The maximum number of archives that are sent. Other programs may load or remove the same image at the same time, but
/// more failures cannot be a coincidence.
const ATTEMPTS: usize = 3;

/// Returns the temporary name of an image. It depends only on the image, so that a later load of the same image removes
/// the name that a killed load left.
pub(crate) fn temporary_name(manifest: &Digest) -> String {
    format!("strata-incoming:{}", &manifest.hex()[..32])
}

/// The state of the image after an archive was sent.
pub(crate) enum Received {
    Complete,
    /// The image lacks blobs, for this reason.
    Incomplete(String),
    /// Another load of the same image removed the temporary name.
    Removed,
    /// Sending more would not help, for this reason.
    Unusable(String),
}

/// A load of one image into one store.
pub(crate) trait Load {
    type Error;

    /// Sends the image under its temporary name without the layers `existing`, and checks its state.
    fn send(&self, existing: &HashSet<Digest>, loaded: &mut Loaded) -> Result<Received, Self::Error>;

    /// Gives the complete image its name. The inner error is the reason why the image is not complete any more.
    fn set_name(&self) -> Result<Result<(), String>, Self::Error>;

    /// Removes the temporary name, if it exists. Errors are ignored: the cause has been reported before, or the next
    /// load removes the name.
    fn remove_temporary_name(&self);

    /// Returns the error for an image that is not complete after all layers were sent.
    fn incomplete(&self, reason: Option<String>) -> Self::Error;
}

/// Loads an image. `existing` are the layers that the store seems to have.
///
/// # Errors
///
/// Those of `load`. The name then stands for the same image as before.
pub(crate) fn load<L: Load>(load: &L, existing: HashSet<Digest>, mut loaded: Loaded) -> Result<Loaded, L::Error> {
    let result = attempt(load, existing, &mut loaded);
    load.remove_temporary_name();
    result.map(|()| loaded)
}

fn attempt<L: Load>(load: &L, mut existing: HashSet<Digest>, loaded: &mut Loaded) -> Result<(), L::Error> {
    let mut last_reason = None;
    for _ in 0..ATTEMPTS {
        match load.send(&existing, loaded)? {
            Received::Complete => match load.set_name()? {
                Ok(()) => return Ok(()),
                Err(reason) => {
                    last_reason = Some(reason);
                    existing.clear();
                }
            },
            Received::Removed => {}
            Received::Unusable(reason) => return Err(load.incomplete(Some(reason))),
            Received::Incomplete(reason) if existing.is_empty() => last_reason = Some(reason),
            Received::Incomplete(reason) => {
                loaded.repaired = Some(reason);
                existing.clear();
            }
        }
    }
    Err(load.incomplete(last_reason))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A store that answers with these states in order, and records what it receives.
    struct Store {
        states: RefCell<Vec<Received>>,
        log: RefCell<Vec<String>>,
    }

    impl Load for Store {
        type Error = String;

        fn send(&self, existing: &HashSet<Digest>, _: &mut Loaded) -> Result<Received, String> {
            self.log.borrow_mut().push(format!("send without {}", existing.len()));
            Ok(self.states.borrow_mut().remove(0))
        }

        fn set_name(&self) -> Result<Result<(), String>, String> {
            self.log.borrow_mut().push("name".to_owned());
            Ok(Ok(()))
        }

        fn remove_temporary_name(&self) {
            self.log.borrow_mut().push("remove".to_owned());
        }

        fn incomplete(&self, reason: Option<String>) -> String {
            reason.unwrap_or_default()
        }
    }

    fn run(states: Vec<Received>) -> (Result<Option<String>, String>, Vec<String>) {
        let store = Store { states: RefCell::new(states), log: RefCell::default() };
        let digest = Digest::sha256(b"layer");
        let result = load(&store, HashSet::from([digest]), Loaded::new(digest, "x:y".to_owned()));
        (result.map(|loaded| loaded.repaired), store.log.into_inner())
    }

    #[test]
    fn a_complete_image_gets_its_name_and_loses_the_temporary_one() {
        let (result, log) = run(vec![Received::Complete]);
        assert_eq!((result, log.join(", ").as_str()), (Ok(None), "send without 1, name, remove"));
    }

    #[test]
    fn an_incomplete_image_is_sent_completely_before_it_gets_its_name() {
        let (result, log) = run(vec![Received::Incomplete("it lacks blobs".to_owned()), Received::Complete]);
        assert_eq!(result, Ok(Some("it lacks blobs".to_owned())));
        assert_eq!(log.join(", "), "send without 1, send without 0, name, remove");
    }

    #[test]
    fn an_image_that_stays_incomplete_gets_no_name() {
        let incomplete = || Received::Incomplete("it lacks blobs".to_owned());
        let (result, log) = run(vec![incomplete(), incomplete(), incomplete()]);
        assert_eq!(result, Err("it lacks blobs".to_owned()));
        assert_eq!(log.join(", "), "send without 1, send without 0, send without 0, remove");
        let (result, log) = run(vec![Received::Unusable("it cannot be unpacked".to_owned())]);
        assert_eq!(result, Err("it cannot be unpacked".to_owned()));
        assert_eq!(log.join(", "), "send without 1, remove");
    }

    #[test]
    fn an_image_whose_temporary_name_was_removed_is_sent_again() {
        let (result, log) = run(vec![Received::Removed, Received::Complete]);
        assert_eq!((result, log.join(", ").as_str()), (Ok(None), "send without 1, send without 1, name, remove"));
    }
}
