//! The progress of a copy: bars on a terminal, lines elsewhere, JSON for programs. All of it is printed on stderr,
//! without colours.
//!
//! ```text
//! [=======>             ] 24/66 layers, 310 MB of 995 MB, 4s             on a terminal, while it runs
//! [==>                  ] layer 25 openjdk-17-jre-headless 80 MB of 271 MB
//! layer 25 openjdk-17-jre-headless: sent, 90.3 MB                        elsewhere, for each layer that was sent
//! pushed 1 of 66 layers, 30.1 kB of 995 MB, in 0.2 s; compressed layers: 60 trusted, 5 verified, 1 made
//!                                                                         at the end; elsewhere only if any was sent or
//!                                                                         verified
//! ```

use std::{
    collections::HashMap,
    io::Write,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use crate::terminal::{self, line};
use crate::{
    image::Image,
    oci::Descriptor,
    report,
    threads::lock,
    transport::progress::{Evidence, EvidenceCounts, Fate, Progress},
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Nothing,
    Bars,
    Lines,
    Events,
}

/// Shows one copy.
pub struct Display {
    way: Way,
    begun: Instant,
    bars: MultiProgress,
    state: Mutex<CopyState>,
}

/// The state of the copy.
#[derive(Default)]
struct CopyState {
    /// The names and sizes of the layers of the current image.
    layers: Vec<(String, u64)>,
    whole: Option<ProgressBar>,
    running: HashMap<usize, RunningLayer>,
    /// The evidence for the current layers.
    evidence: HashMap<usize, Evidence>,
    /// The count for all images.
    done_layers: usize,
    counts: ProgressCounts,
}

struct RunningLayer {
    bar: ProgressBar,
    advanced: u64,
}

/// The counts for all images.
#[derive(Default)]
struct ProgressCounts {
    layers: usize,
    bytes: u64,
    sent_layers: usize,
    sent_bytes: u64,
    evidence: EvidenceCounts,
}

impl Display {
    /// Chooses the form for this terminal and these flags.
    pub fn choose(quiet: bool, as_json: bool) -> Arc<Self> {
        let way = match (quiet, as_json) {
            (true, _) => Way::Nothing,
            (_, true) => Way::Events,
            _ if terminal::stderr_is_terminal() => Way::Bars,
            _ => Way::Lines,
        };
        Arc::new(Self { way, begun: Instant::now(), bars: MultiProgress::new(), state: Mutex::default() })
    }

    /// Removes the bars. Returns the last line of the command, which begins with `done`, such as `pushed`, or `None`
    /// for copies to a log that sent and verified nothing.
    pub fn finish(&self, done: &str) -> Option<String> {
        let state = self.state();
        self.clear(&state);
        let ProgressCounts { layers, bytes, sent_layers, sent_bytes, evidence } = state.counts;
        let is_news = sent_bytes > 0 || evidence.verified > 0;
        let is_shown = self.way == Way::Bars || self.way == Way::Lines && is_news;
        (layers > 0 && is_shown).then(|| {
            let seconds = self.begun.elapsed().as_secs_f64();
            let (sent_bytes, bytes) = (report::bytes(sent_bytes), report::bytes(bytes));
            let evidence = describe(evidence);
            format!("{done} {sent_layers} of {layers} layers, {sent_bytes} of {bytes}, in {seconds:.1} s{evidence}")
        })
    }

    /// Removes the bars before an error is printed.
    pub fn abandon(&self) {
        self.clear(&self.state());
    }

    fn clear(&self, state: &CopyState) {
        state.running.values().for_each(|running| running.bar.finish_and_clear());
        state.whole.iter().for_each(ProgressBar::finish_and_clear);
    }

    fn state(&self) -> MutexGuard<'_, CopyState> {
        lock(&self.state)
    }

    /// Shows that a layer is being sent or verified.
    fn begin(&self, layer: usize, size: u64, act: &str) {
        match self.way {
            Way::Bars => {
                let mut state = self.state();
                let name = state.layers.get(layer - 1).map_or_else(String::new, |(name, _)| name.clone());
                let name = if act == "sending" { name } else { format!("{name} ({act})") };
                let bar = ProgressBar::new(size).with_style(style("[{bar:30}] {prefix} {bytes} of {total_bytes}"));
                let bar = self.bars.add(bar.with_prefix(line(&name)));
                // Shows the name even of a layer that is sent at once.
                bar.tick();
                let before = state.running.remove(&layer);
                let advanced = before.as_ref().map_or(0, |running| running.advanced);
                before.iter().for_each(|running| running.bar.finish_and_clear());
                state.running.insert(layer, RunningLayer { bar, advanced });
            }
            Way::Events => {
                let _ =
                    writeln!(terminal::stderr().exact(), "{}", json!({ "event": act, "blob": layer, "size": size }));
            }
            Way::Nothing | Way::Lines => {}
        }
    }
}

/// Describes how the blobs of compressed layers were determined. The text is empty if there are none.
pub fn describe(evidence: EvidenceCounts) -> String {
    let EvidenceCounts { trusted, verified, made } = evidence;
    if evidence == EvidenceCounts::default() {
        return String::new();
    }
    format!("; compressed layers: {trusted} trusted, {verified} verified, {made} made")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant template").progress_chars("=> ")
}

impl Progress for Display {
    fn image(&self, image: &Image) {
        let mut state = self.state();
        let named = image.layers.iter().enumerate().map(|(at, layer)| {
            let name = image.title(layer).map_or_else(String::new, |title| format!(" {title}"));
            (format!("layer {}{name}", at + 1), layer.descriptor.size)
        });
        state.layers = named.collect();
        let bytes: u64 = state.layers.iter().map(|(_, size)| size).sum();
        state.counts.layers += state.layers.len();
        state.counts.bytes += bytes;
        if self.way == Way::Bars {
            let whole = state.whole.get_or_insert_with(|| {
                let style = style("[{bar:30}] {prefix}, {bytes} of {total_bytes}, {elapsed}");
                self.bars.add(ProgressBar::new(0).with_style(style))
            });
            whole.inc_length(bytes);
            whole.tick();
        }
    }

    fn sending(&self, layer: usize, size: u64) {
        self.begin(layer, size, "sending");
    }

    fn verifying(&self, layer: usize, size: u64) {
        self.begin(layer, size, "verifying");
    }

    fn evidence(&self, layer: usize, evidence: Evidence) {
        let mut state = self.state();
        state.counts.evidence.add(evidence);
        state.evidence.insert(layer, evidence);
    }

    fn advance(&self, layer: usize, bytes: u64) {
        if self.way == Way::Bars {
            let mut state = self.state();
            if let Some(running) = state.running.get_mut(&layer) {
                running.bar.inc(bytes);
                running.advanced += bytes;
            }
            state.whole.iter().for_each(|whole| whole.inc(bytes));
        }
    }

    fn done(&self, layer: usize, descriptor: &Descriptor, fate: Fate) {
        let mut state = self.state();
        let (name, size) = state.layers.get(layer - 1).cloned().unwrap_or_default();
        let evidence = state.evidence.remove(&layer).map(|evidence| match evidence {
            Evidence::Claimed | Evidence::Trusted => "trusted",
            Evidence::Verified => "verified",
            Evidence::Made => "made",
        });
        let (word, sent) = match fate {
            Fate::Present => ("there", 0),
            Fate::Mounted => ("mounted", 0),
            Fate::Sent(bytes) => ("sent", bytes),
        };
        if let Fate::Sent(bytes) = fate {
            state.counts.sent_layers += 1;
            state.counts.sent_bytes += bytes;
        }
        match self.way {
            Way::Bars => {
                let running = state.running.remove(&layer);
                let advanced = running.map_or(0, |running| {
                    running.bar.finish_and_clear();
                    running.advanced
                });
                state.done_layers += 1;
                if let Some(whole) = &state.whole {
                    whole.inc(size.saturating_sub(advanced));
                    whole.set_prefix(format!("{}/{} layers", state.done_layers, state.counts.layers));
                }
            }
            Way::Lines if sent > 0 => {
                let _ = writeln!(terminal::stderr(), "{}: sent, {}", line(&name), report::bytes(sent));
            }
            Way::Events => {
                let Descriptor { digest, size, media_type, .. } = descriptor;
                let event = json!({ "event": "done", "blob": layer, "name": name, "fate": word, "sent": sent,
                    "evidence": evidence, "digest": digest, "size": size, "mediaType": media_type });
                let _ = writeln!(terminal::stderr().exact(), "{event}");
            }
            Way::Nothing | Way::Lines => {}
        }
    }

    fn also_sent(&self, bytes: u64) {
        self.state().counts.sent_bytes += bytes;
    }
}
