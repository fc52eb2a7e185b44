//! Jobs done on all cores, whose results come back in order.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// Threads that do jobs of one kind.
pub struct Pool<J, R> {
    jobs: Option<Sender<(J, SyncSender<R>)>>,
    /// Of jobs being done, in order.
    pending: VecDeque<Receiver<R>>,
    workers: Vec<JoinHandle<()>>,
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// With `threads` threads (0 is taken as 1), each with a worker of its own that `hire` makes.
    pub fn new<W: FnMut(J) -> R>(
        threads: usize,
        hire: impl Fn() -> io::Result<W> + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let worker = |_| {
            let (queue, hire) = (Arc::clone(&queue), hire.clone());
            thread::Builder::new().spawn(move || {
                if let Ok(worker) = hire() {
                    work(&queue, worker);
                }
            })
        };
        let workers = (0..threads.max(1)).map(worker).collect::<io::Result<_>>()?;
        Ok(Self { jobs: Some(jobs), pending: VecDeque::new(), workers })
    }

    /// Begins a job, and gives the oldest result where enough are under way: two a thread keep every thread busy.
    pub fn submit(&mut self, job: J) -> io::Result<Option<R>> {
        let oldest = if self.pending.len() >= 2 * self.workers.len() { self.next()? } else { None };
        let (answer, result) = sync_channel(1);
        self.jobs.as_ref().expect("only finish() takes the sender").send((job, answer)).map_err(|_| stopped())?;
        self.pending.push_back(result);
        Ok(oldest)
    }

    /// The oldest result, once it is there; `None` where no job is left.
    pub fn next(&mut self) -> io::Result<Option<R>> {
        self.pending.pop_front().map(|first| first.recv().map_err(|_| stopped())).transpose()
    }

    /// Ends the threads.
    pub fn finish(mut self) {
        self.jobs.take();
        for worker in self.workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("no thread is left that compresses")
}

fn work<J, R>(queue: &Mutex<Receiver<(J, SyncSender<R>)>>, mut worker: impl FnMut(J) -> R) {
    loop {
        let Ok(job) = queue.lock().map(|queue| queue.recv()) else {
            return;
        };
        let Ok((job, answer)) = job else { return };
        // Nobody waits any more when the writer failed.
        let _ = answer.send(worker(job));
    }
}
