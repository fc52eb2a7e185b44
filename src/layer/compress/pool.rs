//! Runs jobs on all cores, and returns the results in order.
//!
//! All pools of the process share the same threads, [`jobs`] of them:
//!
//! ```text
//! layer 1   [job 2][job 1] ──┐             ┌─▶ thread 1
//! layer 2   [job 3] ─────────┼──▶ turns ───┼─▶ thread 2        a turn does one job of a pool
//! layer 3   [job 1][job 0] ──┘             └─▶ …
//! ```
//!
//! The number of concurrent layers therefore increases neither the number of threads nor the number of waiting jobs.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

use crate::threads::{jobs, lock};

/// One job of a pool.
type PoolTurn = Box<dyn FnOnce() + Send>;

/// The turns that wait for a thread, or `None` before the threads are started.
static TURNS: Mutex<Option<Sender<PoolTurn>>> = Mutex::new(None);
/// The number of pools.
static POOLS: AtomicUsize = AtomicUsize::new(0);

/// The name of the threads.
const NAME: &str = "strata-compress";

/// The sender of turns to the threads, which are started for the first pool.
fn turns() -> io::Result<Sender<PoolTurn>> {
    let mut turns = lock(&TURNS);
    if let Some(turns) = &*turns {
        return Ok(turns.clone());
    }
    let (sender, receiver) = channel::<PoolTurn>();
    let receiver = Arc::new(Mutex::new(receiver));
    for number in 0..jobs() {
        let receiver = Arc::clone(&receiver);
        let work = move || {
            loop {
                let next = lock(&receiver).recv();
                let Ok(turn) = next else { return };
                turn();
            }
        };
        match thread::Builder::new().name(NAME.to_owned()).spawn(work) {
            Ok(_) => {}
            Err(error) if number == 0 => return Err(error),
            // The threads that did start do the work.
            Err(_) => break,
        }
    }
    *turns = Some(sender.clone());
    Ok(sender)
}

/// A pool for jobs of one type.
pub struct Pool<J, R> {
    shared: Arc<SharedPool<J, R>>,
    /// Results of running jobs, in order.
    pending: VecDeque<Receiver<R>>,
}

struct SharedPool<J, R> {
    turns: Sender<PoolTurn>,
    /// The maximum number of concurrent turns of this pool.
    threads: usize,
    state: Mutex<PoolState<J, R>>,
    make_worker: Box<dyn Fn() -> io::Result<WorkerFunction<J, R>> + Send + Sync>,
}

/// A function that runs jobs.
type WorkerFunction<J, R> = Box<dyn FnMut(J) -> R + Send>;

struct PoolState<J, R> {
    queue: VecDeque<(J, SyncSender<R>)>,
    /// The number of waiting or running turns.
    turns: usize,
    idle: Vec<WorkerFunction<J, R>>,
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// Runs at most `threads` jobs at once (0 is taken as 1), each on a worker that `make_worker` makes.
    pub fn new<W: FnMut(J) -> R + Send + 'static>(
        threads: usize,
        make_worker: impl Fn() -> io::Result<W> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let make_worker = move || make_worker().map(|worker| Box::new(worker) as WorkerFunction<J, R>);
        let state = Mutex::new(PoolState { queue: VecDeque::new(), turns: 0, idle: Vec::new() });
        let shared = SharedPool {
            turns: turns()?,
            threads: threads.clamp(1, jobs()),
            state,
            make_worker: Box::new(make_worker),
        };
        POOLS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { shared: Arc::new(shared), pending: VecDeque::new() })
    }

    /// Waits for the oldest result if enough jobs are running, and returns it. Call this until it returns `None`, and then
    /// submit a job: two jobs for each thread keep every thread busy, and a pool has fewer threads when others start.
    pub fn make_room(&mut self) -> io::Result<Option<R>> {
        if self.pending.len() >= 2 * self.shared.share() { self.next() } else { Ok(None) }
    }

    /// Starts a job.
    pub fn submit(&mut self, job: J) {
        let (answer, result) = sync_channel(1);
        let is_new = {
            let mut state = lock(&self.shared.state);
            state.queue.push_back((job, answer));
            let is_new = state.turns < self.shared.threads;
            state.turns += usize::from(is_new);
            is_new
        };
        if is_new {
            SharedPool::take_turn(&self.shared);
        }
        self.pending.push_back(result);
    }

    /// Waits for the oldest result. Returns `None` if there are no more jobs.
    pub fn next(&mut self) -> io::Result<Option<R>> {
        let stopped = |_| io::Error::other("a thread that compresses failed");
        self.pending.pop_front().map(|first| first.recv().map_err(stopped)).transpose()
    }
}

impl<J, R> Drop for Pool<J, R> {
    fn drop(&mut self) {
        POOLS.fetch_sub(1, Ordering::Relaxed);
        // Jobs whose results are not needed any more are not started.
        lock(&self.shared.state).queue.clear();
    }
}

impl<J, R> SharedPool<J, R> {
    /// Returns how many threads this pool has if all pools are busy.
    fn share(&self) -> usize {
        (self.threads / POOLS.load(Ordering::Relaxed).max(1)).max(1)
    }
}

impl<J: Send + 'static, R: Send + 'static> SharedPool<J, R> {
    /// Waits for a thread behind the turns of other pools, runs one job, and repeats this while there are jobs.
    fn take_turn(this: &Arc<Self>) {
        let shared = Arc::clone(this);
        let turn = move || {
            let (job, worker) = {
                let mut state = lock(&shared.state);
                (state.queue.pop_front(), state.idle.pop())
            };
            if let Some((job, answer)) = job {
                // A job without a result is an error of its pool. Other pools still need the thread.
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let Ok(mut worker) = worker.map_or_else(|| (shared.make_worker)(), Ok) else { return };
                    // The result is not read any more if the writer failed.
                    let _ = answer.send(worker(job));
                    // Each worker has tables of up to 1.5 MB, so that a pool keeps no more of them than it has threads.
                    let mut state = lock(&shared.state);
                    if state.idle.len() < shared.share() {
                        state.idle.push(worker);
                    }
                }));
            }
            let mut state = lock(&shared.state);
            if state.queue.is_empty() {
                state.turns -= 1;
            } else {
                drop(state);
                Self::take_turn(&shared);
            }
        };
        // The threads never end, so that the turn is taken.
        let _ = this.turns.send(Box::new(turn));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pools_share_one_thread_for_each_processor() {
        let mut pools: Vec<Pool<usize, usize>> =
            (0..20).map(|_| Pool::new(64, || Ok(|job: usize| job * 2)).unwrap()).collect();
        let mut results = vec![Vec::new(); pools.len()];
        for job in 0..50 {
            for (pool, results) in pools.iter_mut().zip(&mut results) {
                results.extend(std::iter::from_fn(|| pool.make_room().unwrap()));
                pool.submit(job);
                assert!(pool.pending.len() <= 2 * (jobs() / 20).max(1));
            }
        }
        #[cfg(target_os = "linux")]
        {
            let names = std::fs::read_dir("/proc/self/task").unwrap();
            let names = names.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
            assert_eq!(names.filter(|name| name.trim() == NAME).count(), jobs());
        }
        for (pool, results) in pools.iter_mut().zip(&mut results) {
            while let Some(result) = pool.next().unwrap() {
                results.push(result);
            }
            assert!(lock(&pool.shared.state).idle.len() <= jobs());
            assert!(results.iter().copied().eq((0..50).map(|job| job * 2)));
        }
    }

    #[test]
    fn a_pool_of_one_thread_does_one_job_at_a_time() {
        let running = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&running);
        let mut pool = Pool::new(1, move || {
            let count = Arc::clone(&count);
            Ok(move |()| {
                let before = count.fetch_add(1, Ordering::SeqCst);
                thread::yield_now();
                count.fetch_sub(1, Ordering::SeqCst);
                before
            })
        })
        .unwrap();
        for _ in 0..100 {
            while let Some(before) = pool.make_room().unwrap() {
                assert_eq!(before, 0);
            }
            pool.submit(());
        }
        while let Some(before) = pool.next().unwrap() {
            assert_eq!(before, 0);
        }
    }

    #[test]
    fn a_job_that_panics_fails_its_own_pool_only() {
        let mut bad: Pool<(), ()> = Pool::new(1, || Ok(|()| panic!("expected by the test"))).unwrap();
        let mut good = Pool::new(1, || Ok(|job: u8| job)).unwrap();
        for _ in 0..2 * jobs() {
            bad.submit(());
        }
        assert!(bad.next().is_err());
        good.submit(7);
        assert_eq!(good.next().unwrap(), Some(7));
    }
}
