//! Passes the output of services and scripts on, line by line.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{budget, check::pattern::Pattern, terminal::note};

/// The maximum number of lines in an error.
const LAST_LINES: usize = 20;

/// The time to wait for the streams of a program after its end.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The lines of a program's output, which are passed on to the log.
#[derive(Debug)]
pub struct Lines {
    last: Arc<Mutex<VecDeque<String>>>,
    is_matched: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Lines {
    /// Reads streams. Each line is printed after `name`, and searched for `pattern`.
    pub fn read(name: &str, streams: Vec<Box<dyn Read + Send>>, pattern: Option<Pattern>) -> Self {
        let last = Arc::<Mutex<VecDeque<String>>>::default();
        let is_matched = Arc::<AtomicBool>::default();
        let read = |stream: Box<dyn Read + Send>| {
            let (name, pattern) = (name.to_owned(), pattern.clone());
            let (last, is_matched) = (Arc::clone(&last), Arc::clone(&is_matched));
            thread::spawn(move || {
                each_line(stream, |line| {
                    note!("{name} | {line}");
                    if pattern.as_ref().is_some_and(|pattern| pattern.is_match(&line)) {
                        is_matched.store(true, Ordering::Release);
                    }
                    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                    if last.len() == LAST_LINES {
                        last.pop_front();
                    }
                    last.push_back(line);
                });
            })
        };
        let threads = streams.into_iter().map(read).collect();
        Self { last, is_matched, threads }
    }

    /// Whether a line matched the pattern.
    pub fn is_matched(&self) -> bool {
        self.is_matched.load(Ordering::Acquire)
    }

    /// Returns the last lines after the end of all streams. A process that has left its group may hold a stream open.
    pub fn finish(self) -> Vec<String> {
        let start = Instant::now();
        while !self.threads.iter().all(JoinHandle::is_finished) && start.elapsed() < END_LIMIT {
            thread::sleep(Duration::from_millis(5));
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn each_line(stream: impl Read, mut each: impl FnMut(String)) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(budget::OUTPUT_LINE.bytes).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                each(text.trim_end_matches(['\n', '\r']).to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn lines_are_kept_and_searched() {
        let many: String = (0..50).map(|at| format!("line {at}\r\n")).collect();
        let lines = Lines::read("x", vec![Box::new(io::Cursor::new(many))], Some(Pattern::new("^line 3$").unwrap()));
        let is_matched = Arc::clone(&lines.is_matched);
        let last = lines.finish();
        assert_eq!((last.len(), last[0].as_str(), last[19].as_str()), (20, "line 30", "line 49"));
        assert!(is_matched.load(Ordering::Acquire));
        let long = "x".repeat(100_000);
        assert_eq!(Lines::read("x", vec![Box::new(io::Cursor::new(long))], None).finish().len(), 2);
    }
}
