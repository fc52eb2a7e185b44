//! Jobs done on all cores, whose results come back in order.
//!
//! All pools of the process share the same threads, one for each processor:
//!
//! ```text
//! layer 1   [job 2][job 1] ──┐             ┌─▶ thread 1
//! layer 2   [job 3] ─────────┼──▶ turns ───┼─▶ thread 2        a turn does one job of a pool
//! layer 3   [job 1][job 0] ──┘             └─▶ …
//! ```
//!
//! So the number of layers under way multiplies neither threads nor the jobs that wait for them.

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

use crate::threads::lock;

/// One job of a pool.
type Turn = Box<dyn FnOnce() + Send>;

/// The turns that wait for a thread, or `None` before the threads are started.
static TURNS: Mutex<Option<Sender<Turn>>> = Mutex::new(None);
/// The number of pools.
static POOLS: AtomicUsize = AtomicUsize::new(0);

/// The name of the threads.
const NAME: &str = "strata-compress";

fn processors() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The sender of turns to the threads, which are started for the first pool.
fn turns() -> io::Result<Sender<Turn>> {
    let mut turns = lock(&TURNS);
    if let Some(turns) = &*turns {
        return Ok(turns.clone());
    }
    let (sender, receiver) = channel::<Turn>();
    let receiver = Arc::new(Mutex::new(receiver));
    for number in 0..processors() {
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
            // Those that were started do the work of the others.
            Err(_) => break,
        }
    }
    *turns = Some(sender.clone());
    Ok(sender)
}

/// Jobs of one kind.
pub struct Pool<J, R> {
    shared: Arc<Shared<J, R>>,
    /// Of jobs being done, in order.
    pending: VecDeque<Receiver<R>>,
}

struct Shared<J, R> {
    turns: Sender<Turn>,
    /// How many turns this pool has at once.
    threads: usize,
    state: Mutex<State<J, R>>,
    hire: Box<dyn Fn() -> io::Result<Worker<J, R>> + Send + Sync>,
}

/// What does jobs.
type Worker<J, R> = Box<dyn FnMut(J) -> R + Send>;

struct State<J, R> {
    queue: VecDeque<(J, SyncSender<R>)>,
    /// Turns that wait or run.
    turns: usize,
    idle: Vec<Worker<J, R>>,
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// With at most `threads` jobs done at once (0 is taken as 1), each by a worker that `hire` makes.
    pub fn new<W: FnMut(J) -> R + Send + 'static>(
        threads: usize,
        hire: impl Fn() -> io::Result<W> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let hire = move || hire().map(|worker| Box::new(worker) as Worker<J, R>);
        let state = Mutex::new(State { queue: VecDeque::new(), turns: 0, idle: Vec::new() });
        let shared = Shared { turns: turns()?, threads: threads.clamp(1, processors()), state, hire: Box::new(hire) };
        POOLS.fetch_add(1, Ordering::Relaxed);
        Ok(Self { shared: Arc::new(shared), pending: VecDeque::new() })
    }

    /// Begins a job, and gives the oldest result where enough are under way: two a thread keep every thread busy, and
    /// pools share the threads.
    pub fn submit(&mut self, job: J) -> io::Result<Option<R>> {
        let enough = (2 * self.shared.threads / POOLS.load(Ordering::Relaxed).max(1)).max(2);
        let oldest = if self.pending.len() >= enough { self.next()? } else { None };
        let (answer, result) = sync_channel(1);
        let is_new = {
            let mut state = lock(&self.shared.state);
            state.queue.push_back((job, answer));
            let is_new = state.turns < self.shared.threads;
            state.turns += usize::from(is_new);
            is_new
        };
        if is_new {
            Shared::take_turn(&self.shared);
        }
        self.pending.push_back(result);
        Ok(oldest)
    }

    /// The oldest result, once it is there; `None` where no job is left.
    pub fn next(&mut self) -> io::Result<Option<R>> {
        let stopped = |_| io::Error::other("a thread that compresses failed");
        self.pending.pop_front().map(|first| first.recv().map_err(stopped)).transpose()
    }
}

impl<J, R> Drop for Pool<J, R> {
    fn drop(&mut self) {
        POOLS.fetch_sub(1, Ordering::Relaxed);
        // Jobs whose results are not read any more are not begun.
        lock(&self.shared.state).queue.clear();
    }
}

impl<J: Send + 'static, R: Send + 'static> Shared<J, R> {
    /// Waits for a thread behind the turns of other pools, does one job, and does so again while there are jobs.
    fn take_turn(this: &Arc<Self>) {
        let shared = Arc::clone(this);
        let turn = move || {
            let (job, worker) = {
                let mut state = lock(&shared.state);
                (state.queue.pop_front(), state.idle.pop())
            };
            if let Some((job, answer)) = job {
                // A job without an answer is an error of its pool; other pools need the thread.
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    let Ok(mut worker) = worker.map_or_else(|| (shared.hire)(), Ok) else { return };
                    // The result is not read any more if the writer failed.
                    let _ = answer.send(worker(job));
                    lock(&shared.state).idle.push(worker);
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
                results.extend(pool.submit(job).unwrap());
                assert!(pool.pending.len() <= 2 * processors().max(1));
            }
        }
        #[cfg(target_os = "linux")]
        {
            let names = std::fs::read_dir("/proc/self/task").unwrap();
            let names = names.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
            assert_eq!(names.filter(|name| name.trim() == NAME).count(), processors());
        }
        for (pool, results) in pools.iter_mut().zip(&mut results) {
            while let Some(result) = pool.next().unwrap() {
                results.push(result);
            }
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
            assert!(pool.submit(()).unwrap().is_none_or(|before| before == 0));
        }
        while let Some(before) = pool.next().unwrap() {
            assert_eq!(before, 0);
        }
    }

    #[test]
    fn a_job_that_panics_fails_its_own_pool_only() {
        let mut bad: Pool<(), ()> = Pool::new(1, || Ok(|()| panic!("expected by the test"))).unwrap();
        let mut good = Pool::new(1, || Ok(|job: u8| job)).unwrap();
        for _ in 0..2 * processors() {
            bad.submit(()).ok();
        }
        assert!(bad.next().is_err());
        good.submit(7).unwrap();
        assert_eq!(good.next().unwrap(), Some(7));
    }
}
