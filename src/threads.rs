//! Work on several threads.

use std::{
    num::NonZeroUsize,
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

static JOBS: OnceLock<NonZeroUsize> = OnceLock::new();

/// Returns how many jobs of hashing or of compression run at once: the number that [`set_jobs`] was given, or the number of
/// processors that the process may use.
///
/// The latter takes affinity masks and the CPU limits of cgroups into account (`cgroups::quota` in
/// library/std/src/sys/thread/unix.rs of Rust).
pub fn jobs() -> usize {
    JOBS.get_or_init(|| thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)).get()
}

/// Sets the number of [`jobs`], before the first of them runs.
///
/// # Errors
///
/// If the number was set before, or the threads that hash cannot be started.
pub fn set_jobs(count: NonZeroUsize) -> Result<(), rayon::ThreadPoolBuildError> {
    JOBS.get_or_init(|| count);
    rayon::ThreadPoolBuilder::new().num_threads(count.get()).build_global()
}

/// Runs `work` on up to `count` threads, including the current one. The threads share the work, so it is completed even
/// if the machine cannot start all of them.
pub fn run_in_parallel(count: usize, work: &(dyn Fn() + Sync)) {
    thread::scope(|scope| {
        for _ in 1..count {
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// Locks `mutex`, even if a thread panicked while it held the lock: the values of these mutexes are valid at all times.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A limited number of turns for threads.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Mutex<u32>,
    returned: Condvar,
}

impl Turns {
    pub(crate) fn new(count: u32) -> Self {
        Self { free: Mutex::new(count), returned: Condvar::new() }
    }

    pub(crate) fn wait_for_turn(&self) -> Turn<'_> {
        self.wait_for_turns(1, 1)
    }

    /// Waits until `least` turns are free, and takes all free turns, up to `most`.
    pub(crate) fn wait_for_turns(&self, least: u32, most: u32) -> Turn<'_> {
        let free = self.returned.wait_while(lock(&self.free), |free| *free < least);
        let mut free = free.unwrap_or_else(PoisonError::into_inner);
        let count = most.min(*free);
        *free -= count;
        Turn { turns: self, count }
    }
}

/// Turns, which are returned when they are dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    count: u32,
}

impl Turn<'_> {
    /// Returns the number of turns.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.turns.free) += self.count;
        // Threads wait for different numbers of turns.
        self.turns.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_up_to_a_number_and_returned() {
        let turns = Turns::new(10);
        let first = turns.wait_for_turns(2, 6);
        let second = turns.wait_for_turns(2, 6);
        assert_eq!((first.count(), second.count()), (6, 4));
        thread::scope(|scope| {
            let third = scope.spawn(|| turns.wait_for_turns(5, 5).count());
            let fourth = scope.spawn(|| turns.wait_for_turn().count());
            drop(second);
            assert_eq!(fourth.join().unwrap(), 1);
            drop(first);
            assert_eq!(third.join().unwrap(), 5);
        });
        assert_eq!(*lock(&turns.free), 10);
    }
}
