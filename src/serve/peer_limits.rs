//! Limits for each client: connections, layers made at the same time, and passwords checked at the same time. Three clients
//! at their limits still leave capacity for a fourth.
//!
//! A client is an IPv4 address or an IPv6 network of 64 bits, because one machine may use a whole such network
//! ([RFC 6177](https://www.rfc-editor.org/rfc/rfc6177)).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{SMALL, SMALL_STREAMS as ALL_SMALL_STREAMS, STREAMS as ALL_STREAMS};
use crate::threads::lock;

/// One client may use one fourth of each global limit.
pub const SHARE: usize = 4;
/// The number of layers made at the same time for one client. docker and containerd request three, podman six.
pub const STREAMS: usize = ALL_STREAMS / SHARE;
/// The same for small parts of layers.
const SMALL_STREAMS: usize = ALL_SMALL_STREAMS / SHARE;

/// The limits of layers that are made at the same time. Small parts have another limit, so that they do not wait for whole layers.
#[derive(Clone)]
pub struct StreamLimits {
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

impl StreamLimits {
    /// Creates limits for these numbers of large and small parts.
    fn new(large: usize, small: usize) -> Self {
        Self { large: Arc::new(Semaphore::new(large)), small: Arc::new(Semaphore::new(small)) }
    }

    /// Creates the limits for all clients together.
    pub fn of_all_clients() -> Self {
        Self::new(ALL_STREAMS, ALL_SMALL_STREAMS)
    }

    /// Returns the limit for so many bytes of a layer.
    pub fn limit_for(&self, size: u64) -> Arc<Semaphore> {
        Arc::clone(if size <= SMALL { &self.small } else { &self.large })
    }
}

/// The clients that are connected.
#[derive(Clone)]
pub struct PeerLimits {
    /// The maximum number of connections of one client; further ones are closed. A pull uses some dozens.
    limit: usize,
    connected: Arc<Mutex<HashMap<IpAddr, PeerCounts>>>,
}

struct PeerCounts {
    connections: usize,
    streams: StreamLimits,
    password_check: Arc<Semaphore>,
}

/// A connection of a client, counted until it is dropped. Work for a request may end after its connection: a [`Permit`] of it
/// keeps the connection counted, so that a client cannot exceed its limits by disconnecting.
pub struct Connection {
    clients: PeerLimits,
    /// The address of the client.
    pub address: IpAddr,
    /// The limits of layers that are made at the same time for the client.
    streams: StreamLimits,
    /// Held while a password of the client is checked, so that only one is checked at a time.
    password_check: Arc<Semaphore>,
}

/// The permission for some work, which ends when this is dropped.
pub struct Permit {
    _permit: OwnedSemaphorePermit,
    _connection: Arc<Connection>,
}

impl PeerLimits {
    /// Creates limits for a server with this number of connections for all clients together.
    pub fn new(connections: usize) -> Self {
        Self { limit: (connections / SHARE).max(1), connected: Arc::default() }
    }

    /// Counts a connection. Returns `None` if the client has reached its limit.
    pub fn connect(&self, address: IpAddr) -> Option<Connection> {
        let mut connected = lock(&self.connected);
        let client = connected.entry(network(address)).or_insert_with(|| PeerCounts {
            connections: 0,
            streams: StreamLimits::new(STREAMS, SMALL_STREAMS),
            password_check: Arc::new(Semaphore::new(1)),
        });
        if client.connections >= self.limit {
            return None;
        }
        client.connections += 1;
        let (streams, password_check) = (client.streams.clone(), Arc::clone(&client.password_check));
        Some(Connection { clients: self.clone(), address, streams, password_check })
    }
}

impl Connection {
    /// Returns the address that stands for the client.
    pub fn network(&self) -> IpAddr {
        network(self.address)
    }

    /// Waits until so many bytes of a layer may be made for the client. The result is always `Some`, because no semaphore is closed.
    pub async fn stream(self: &Arc<Self>, size: u64) -> Option<Permit> {
        self.permit(&self.streams.limit_for(size)).await
    }

    /// Waits until a password of the client may be checked, as [`Self::stream`].
    pub async fn password_check(self: &Arc<Self>) -> Option<Permit> {
        self.permit(&self.password_check).await
    }

    async fn permit(self: &Arc<Self>, limit: &Arc<Semaphore>) -> Option<Permit> {
        let permit = Arc::clone(limit).acquire_owned().await.ok()?;
        Some(Permit { _permit: permit, _connection: Arc::clone(self) })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut connected = lock(&self.clients.connected);
        let network = network(self.address);
        if let Some(client) = connected.get_mut(&network) {
            client.connections -= 1;
            if client.connections == 0 {
                connected.remove(&network);
            }
        }
    }
}

/// Returns the address that stands for all addresses of a client.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTIONS: usize = 40;

    #[test]
    fn three_clients_at_their_limits_do_not_block_a_fourth() {
        let clients = PeerLimits::new(CONNECTIONS);
        let mut connections: Vec<Connection> = Vec::new();
        for client in 1..=3 {
            connections.extend(std::iter::from_fn(|| clients.connect([10, 0, 0, client].into())));
        }
        assert_eq!(connections.len(), CONNECTIONS / 4 * 3);
        let fourth = clients.connect([10, 0, 0, 4].into()).unwrap();
        let _all = connections[0].streams.limit_for(u64::MAX).try_acquire_many_owned(STREAMS as u32).unwrap();
        assert!(connections[1].streams.limit_for(SMALL + 1).try_acquire().is_err());
        assert!(connections[1].streams.limit_for(SMALL).try_acquire().is_ok(), "a small part waits for whole layers");
        assert!(fourth.streams.limit_for(u64::MAX).try_acquire().is_ok());
        let _check = connections[0].password_check.try_acquire().unwrap();
        assert!(connections[1].password_check.try_acquire().is_err());
        assert!(fourth.password_check.try_acquire().is_ok());
    }

    #[test]
    fn work_that_outlives_its_connection_counts() {
        let clients = PeerLimits::new(SHARE * (STREAMS + 2));
        let connect = || Arc::new(clients.connect([10, 0, 0, 1].into()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let work: Vec<Permit> = (0..STREAMS).map(|_| runtime.block_on(connect().stream(u64::MAX)).unwrap()).collect();
        let check = runtime.block_on(connect().password_check()).unwrap();
        let connection = connect();
        assert!(
            connection.streams.limit_for(u64::MAX).try_acquire().is_err(),
            "a client that disconnects has new streams"
        );
        assert!(connection.password_check.try_acquire().is_err(), "a client that disconnects has a new check");
        drop((work, check));
        assert!(
            connection.streams.limit_for(u64::MAX).try_acquire().is_ok()
                && connection.password_check.try_acquire().is_ok()
        );
        drop(connection);
        assert!(lock(&clients.connected).is_empty());
    }

    #[test]
    fn addresses_of_one_network_count_as_one_client() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let clients = PeerLimits::new(CONNECTIONS);
        let connect = |host: usize| clients.connect(address(&format!("2001:db8:0:1:{host:x}::{host:x}")));
        let mut connections: Vec<Connection> = (1..=CONNECTIONS / 4).map(|host| connect(host).unwrap()).collect();
        assert!(connect(100).is_none());
        assert!(clients.connect(address("2001:db8:0:2::1")).is_some());
        connections.pop();
        assert!(connect(100).is_some());
        drop(connections);
        assert!(lock(&clients.connected).is_empty());
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }
}
