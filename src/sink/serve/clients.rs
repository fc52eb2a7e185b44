//! What each client has of what there is: connections, and layers being made for it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use tokio::sync::Semaphore;

use super::STREAMS;
use crate::threads::lock;

/// Connections of one client; more are closed. A machine that pulls has some dozens.
const OF_ONE_CLIENT: usize = 1536;

/// Every client.
#[derive(Clone, Default)]
pub struct Clients(Arc<Mutex<HashMap<IpAddr, Share>>>);

/// What one client has.
struct Share {
    connections: usize,
    streams: Arc<Semaphore>,
}

/// A connection of a client, counted until it ends.
pub struct Guest {
    clients: Clients,
    pub address: IpAddr,
    /// The layers that are made for the client at once: half of all, so that one that stalls cannot take all of them.
    pub streams: Arc<Semaphore>,
}

impl Clients {
    /// `None` where a client has all it may have.
    pub fn enter(&self, address: IpAddr) -> Option<Guest> {
        let mut shares = lock(&self.0);
        let new = || Share { connections: 0, streams: Arc::new(Semaphore::new(STREAMS / 2)) };
        let share = shares.entry(address).or_insert_with(new);
        if share.connections >= OF_ONE_CLIENT {
            return None;
        }
        share.connections += 1;
        Some(Guest { clients: self.clone(), address, streams: Arc::clone(&share.streams) })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut shares = lock(&self.clients.0);
        if let Some(share) = shares.get_mut(&self.address) {
            share.connections -= 1;
            if share.connections == 0 {
                shares.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_no_more_than_its_share() {
        let clients = Clients::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut guests: Vec<Guest> = (0..OF_ONE_CLIENT).map(|_| clients.enter(one).unwrap()).collect();
        assert!(clients.enter(one).is_none());
        let stranger = clients.enter(other).unwrap();
        let _all = Arc::clone(&guests[0].streams).try_acquire_many_owned(STREAMS as u32 / 2).unwrap();
        assert!(guests[1].streams.try_acquire().is_err());
        assert!(stranger.streams.try_acquire().is_ok());
        guests.pop();
        assert!(clients.enter(one).is_some());
        drop((guests, stranger));
        assert!(clients.0.lock().unwrap().is_empty());
    }
}
