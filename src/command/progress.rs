//! What people see of a copy: bars on a terminal, lines elsewhere, JSON for programs. All of it on stderr.

use std::{
    collections::HashMap,
    io::{IsTerminal, Write, stderr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use strata::{
    oci::Descriptor,
    sink::progress::{Fate, Progress, Silent},
};

/// The way to show progress here.
pub fn choose(quiet: bool, as_json: bool) -> Arc<dyn Progress> {
    match (quiet, as_json) {
        (true, _) => Arc::new(Silent),
        (_, true) => Arc::new(Events),
        _ if stderr().is_terminal() => Arc::new(Bars::default()),
        _ => Arc::new(Lines),
    }
}

fn sentence(blob: usize, descriptor: &Descriptor, fate: Fate) -> String {
    let digest = descriptor.digest;
    match fate {
        Fate::There => format!("blob {blob}: {digest} is there already"),
        Fate::Mounted => format!("blob {blob}: {digest} mounted"),
        Fate::Sent(bytes) => format!("blob {blob}: {digest} sent, {bytes} bytes"),
    }
}

/// A line for each blob.
struct Lines;

impl Progress for Lines {
    fn done(&self, blob: usize, descriptor: &Descriptor, fate: Fate) {
        let _ = writeln!(stderr(), "{}", sentence(blob, descriptor, fate));
    }
}

/// A JSON object in a line for each event.
struct Events;

impl Progress for Events {
    fn sending(&self, blob: usize, size: u64) {
        let _ = writeln!(stderr(), "{}", json!({ "event": "sending", "blob": blob, "size": size }));
    }

    fn done(&self, blob: usize, descriptor: &Descriptor, fate: Fate) {
        let (fate, sent) = match fate {
            Fate::There => ("there", 0),
            Fate::Mounted => ("mounted", 0),
            Fate::Sent(bytes) => ("sent", bytes),
        };
        let Descriptor { digest, size, media_type, .. } = descriptor;
        let event = json!({ "event": "done", "blob": blob, "fate": fate, "sent": sent,
            "digest": digest, "size": size, "mediaType": media_type });
        let _ = writeln!(stderr(), "{event}");
    }
}

/// A bar for each blob that is on its way.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<usize, ProgressBar>>,
}

impl Bars {
    fn bars(&self) -> MutexGuard<'_, HashMap<usize, ProgressBar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Bars {
    fn sending(&self, blob: usize, size: u64) {
        let style = ProgressStyle::with_template("{prefix:>10} {wide_bar} {bytes:>10}/{total_bytes} {bytes_per_sec}");
        let bar =
            ProgressBar::new(size).with_style(style.expect("a constant template")).with_prefix(format!("blob {blob}"));
        self.bars().insert(blob, self.all.add(bar));
    }

    fn advance(&self, blob: usize, bytes: u64) {
        if let Some(bar) = self.bars().get(&blob) {
            bar.inc(bytes);
        }
    }

    fn done(&self, blob: usize, descriptor: &Descriptor, fate: Fate) {
        if let Some(bar) = self.bars().remove(&blob) {
            bar.finish_and_clear();
        }
        let _ = self.all.println(sentence(blob, descriptor, fate));
    }
}
