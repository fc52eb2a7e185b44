//! Work that several threads do at once.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

/// Does `work` on up to `count` threads, of which this is one. What is to be done is shared by them, so those that the
/// machine has no threads for are made up for by the others.
pub fn run_in_parallel(count: usize, work: &(dyn Fn() + Sync)) {
    thread::scope(|scope| {
        for _ in 1..count {
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
}

/// The lock of `mutex`, also where a thread that held it panicked: what it holds is right at every moment.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
