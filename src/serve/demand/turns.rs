//! Turns of queries. Evaluations and builds may take an hour, so that one client must not have all turns:
//!
//! ```text
//! a client that has a turn                the last free turn is not for it
//! several clients wait for a free turn    the one with the fewest turns, then the one whose last turn is the oldest
//! ```

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Condvar, Mutex, PoisonError},
};

use crate::threads::lock;

/// A number of turns, for which queries wait.
#[derive(Debug)]
pub struct ClientTurns {
    state: Mutex<TurnsState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TurnsState {
    free: u32,
    /// The clients that have turns or wait for them.
    clients: HashMap<IpAddr, WaitingClient>,
    /// The waiting queries, the oldest first.
    waiting: Vec<(u64, IpAddr)>,
    /// The number of queries and turns so far.
    count: u64,
}

#[derive(Debug, Default)]
struct WaitingClient {
    turns: u32,
    /// When its last turn began.
    last: u64,
}

/// A turn of a client, which is returned when it is dropped.
pub struct ClientTurn<'a>(&'a ClientTurns, IpAddr);

impl ClientTurns {
    /// Creates `count` turns, one at least.
    pub fn new(count: u32) -> Self {
        let state = TurnsState { free: count.max(1), ..TurnsState::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits for a turn.
    pub fn take(&self, client: IpAddr) -> ClientTurn<'_> {
        let mut state = lock(&self.state);
        let number = state.wait(client);
        let state = self.changed.wait_while(state, |state| state.next() != Some(number));
        state.unwrap_or_else(PoisonError::into_inner).begin(number, client);
        // Further turns may be free.
        self.changed.notify_all();
        ClientTurn(self, client)
    }
}

impl Drop for ClientTurn<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).end(self.1);
        self.0.changed.notify_all();
    }
}

impl TurnsState {
    /// Adds a waiting query, and returns its number.
    fn wait(&mut self, client: IpAddr) -> u64 {
        self.count += 1;
        self.clients.entry(client).or_default();
        self.waiting.push((self.count, client));
        self.count
    }

    /// The query that has the next turn, if one is free.
    fn next(&self) -> Option<u64> {
        let allowed = self.waiting.iter().filter(|(_, client)| self.free > 1 || self.turns(*client) == 0);
        let first = allowed.min_by_key(|(number, client)| (self.turns(*client), self.clients[client].last, *number));
        first.filter(|_| self.free > 0).map(|(number, _)| *number)
    }

    fn turns(&self, client: IpAddr) -> u32 {
        self.clients[&client].turns
    }

    fn begin(&mut self, number: u64, client: IpAddr) {
        self.waiting.retain(|(waiting, _)| *waiting != number);
        self.count += 1;
        self.free -= 1;
        let last = self.count;
        self.clients.entry(client).and_modify(|client| *client = WaitingClient { turns: client.turns + 1, last });
    }

    fn end(&mut self, client: IpAddr) {
        self.free += 1;
        self.clients.entry(client).and_modify(|client| client.turns -= 1);
        if self.turns(client) == 0 && !self.waiting.iter().any(|(_, waiting)| *waiting == client) {
            self.clients.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    /// Returns the clients of the next turns until none is free.
    fn begin_all(state: &mut TurnsState) -> Vec<u8> {
        let mut begun = Vec::new();
        while let Some(number) = state.next() {
            let (_, client) = *state.waiting.iter().find(|(waiting, _)| *waiting == number).unwrap();
            state.begin(number, client);
            let IpAddr::V4(address) = client else { unreachable!() };
            begun.push(address.octets()[3]);
        }
        begun
    }

    #[test]
    fn the_last_turn_is_left_for_another_client() {
        let mut state = TurnsState { free: 3, ..TurnsState::default() };
        for _ in 0..16 {
            state.wait(client(1));
        }
        assert_eq!(begin_all(&mut state), [1, 1]);
        state.wait(client(2));
        state.wait(client(2));
        state.wait(client(3));
        assert_eq!(begin_all(&mut state), [2]);
        // A client without a turn precedes older queries of the others.
        state.end(client(1));
        assert_eq!(begin_all(&mut state), [3]);
        state.end(client(2));
        assert_eq!(begin_all(&mut state), [2]);
    }

    #[test]
    fn clients_alternate_when_there_is_one_turn() {
        let mut state = TurnsState { free: 1, ..TurnsState::default() };
        for number in [1, 1, 1, 2, 2] {
            state.wait(client(number));
        }
        let mut order = Vec::new();
        while let [number] = begin_all(&mut state)[..] {
            order.push(number);
            state.end(client(number));
        }
        assert_eq!(order, [1, 2, 1, 2, 1]);
        assert!(state.clients.is_empty() && state.waiting.is_empty() && state.free == 1);
    }

    #[test]
    fn a_turn_is_returned_when_it_is_dropped() {
        let turns = ClientTurns::new(0);
        std::thread::scope(|scope| {
            for number in 0..50 {
                let turns = &turns;
                scope.spawn(move || drop(turns.take(client(number % 3))));
            }
        });
        assert_eq!(lock(&turns.state).free, 1);
    }
}
