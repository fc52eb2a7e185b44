//! What people see of a copy: bars on a terminal, lines elsewhere, JSON for programs. All of it on stderr, without
//! colours.
//!
//! ```text
//! [=======>             ] 24/66 layers, 310 MB of 995 MB, 4s             on a terminal, while it runs
//! [==>                  ] layer 25 openjdk-17-jre-headless 80 MB of 271 MB
//! layer 25 openjdk-17-jre-headless: sent, 90.3 MB                        elsewhere, for each layer that was sent
//! pushed 1 of 66 layers, 30.1 kB of 995 MB, in 0.2 s                     at the end; elsewhere only if any was
//! ```

use std::{
    collections::HashMap,
    io::{IsTerminal, Write, stderr},
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;
use strata::{
    ImageBlobs,
    oci::Descriptor,
    report,
    sink::progress::{Fate, Progress},
    threads::lock,
};

/// What is shown.
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
    state: Mutex<State>,
}

/// What is known so far.
#[derive(Default)]
struct State {
    /// Of the image that is on its way: what each layer is called, and how big it is.
    layers: Vec<(String, u64)>,
    whole: Option<ProgressBar>,
    running: HashMap<usize, Running>,
    /// Of all images.
    done_layers: usize,
    counts: Counts,
}

struct Running {
    bar: ProgressBar,
    advanced: u64,
}

/// Of all images.
#[derive(Default)]
struct Counts {
    layers: usize,
    bytes: u64,
    sent_layers: usize,
    sent_bytes: u64,
}

impl Display {
    /// The way to show progress here.
    pub fn choose(quiet: bool, as_json: bool) -> Arc<Self> {
        let way = match (quiet, as_json) {
            (true, _) => Way::Nothing,
            (_, true) => Way::Events,
            _ if stderr().is_terminal() => Way::Bars,
            _ => Way::Lines,
        };
        Arc::new(Self { way, begun: Instant::now(), bars: MultiProgress::new(), state: Mutex::default() })
    }

    /// Clears the bars, and says in a line what was done, as in `pushed`. Copies that sent nothing to a log need no line.
    pub fn finish(&self, done: &str) {
        let state = self.state();
        self.clear(&state);
        let Counts { layers, bytes, sent_layers, sent_bytes } = state.counts;
        if layers > 0 && (self.way == Way::Bars || self.way == Way::Lines && sent_bytes > 0) {
            let seconds = self.begun.elapsed().as_secs_f64();
            let (sent_bytes, bytes) = (report::bytes(sent_bytes), report::bytes(bytes));
            let _ = writeln!(
                stderr(),
                "{done} {sent_layers} of {layers} layers, {sent_bytes} of {bytes}, in {seconds:.1} s"
            );
        }
    }

    /// Leaves nothing of the bars, for an error.
    pub fn abandon(&self) {
        self.clear(&self.state());
    }

    fn clear(&self, state: &State) {
        state.running.values().for_each(|running| running.bar.finish_and_clear());
        state.whole.iter().for_each(ProgressBar::finish_and_clear);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant template").progress_chars("=> ")
}

impl Progress for Display {
    fn image(&self, image: &ImageBlobs) {
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
        match self.way {
            Way::Bars => {
                let mut state = self.state();
                let name = state.layers.get(layer - 1).map_or_else(String::new, |(name, _)| name.clone());
                let bar = ProgressBar::new(size).with_style(style("[{bar:30}] {prefix} {bytes} of {total_bytes}"));
                let bar = self.bars.add(bar.with_prefix(name));
                // However little there is to send, its name is seen.
                bar.tick();
                state.running.insert(layer, Running { bar, advanced: 0 });
            }
            Way::Events => {
                let _ = writeln!(stderr(), "{}", json!({ "event": "sending", "blob": layer, "size": size }));
            }
            Way::Nothing | Way::Lines => {}
        }
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
        let (word, sent) = match fate {
            Fate::There => ("there", 0),
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
                let _ = writeln!(stderr(), "{name}: sent, {}", report::bytes(sent));
            }
            Way::Events => {
                let Descriptor { digest, size, media_type, .. } = descriptor;
                let event = json!({ "event": "done", "blob": layer, "name": name, "fate": word, "sent": sent,
                    "digest": digest, "size": size, "mediaType": media_type });
                let _ = writeln!(stderr(), "{event}");
            }
            Way::Nothing | Way::Lines => {}
        }
    }

    fn also_sent(&self, bytes: u64) {
        self.state().counts.sent_bytes += bytes;
    }
}
