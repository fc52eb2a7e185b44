//! One request: who asks, what is answered, and that it is written down.

use std::sync::Arc;

use hyper::{Method, Request, Response, header::AUTHORIZATION};
use tokio::sync::Semaphore;

use super::{
    AccessLog, Catalogue, STREAMS, Users,
    access_log::{Record, Recorded},
    answer::{self, document},
    body::{Body, Streams},
    peer_limits::Connection,
};

/// What all connections share.
pub struct Service {
    catalogue: Catalogue,
    streams: Arc<Semaphore>,
    users: Option<Users>,
    metrics: bool,
    pub record: Arc<Record>,
}

impl Service {
    /// Answers from `catalogue`.
    pub fn new(catalogue: Catalogue, users: Option<Users>, log: Option<AccessLog>, metrics: bool) -> Self {
        let record = Arc::new(Record::new(log));
        Self { catalogue, streams: Arc::new(Semaphore::new(STREAMS)), users, metrics, record }
    }

    /// Answers a request of a client.
    pub async fn respond<B>(&self, request: &Request<B>, client: &Connection) -> Response<Recorded> {
        let mut entry = self.record.begin(request, client.address);
        let response = match &self.users {
            None => self.answer(request, client).await,
            Some(users) => {
                let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
                let user = match header {
                    Some(header) => users.who(header, &client.password_check).await,
                    None => None,
                };
                match user {
                    None => answer::unauthorized(),
                    Some(name) => {
                        entry.user(name);
                        self.answer(request, client).await
                    }
                }
            }
        };
        entry.answer(response)
    }

    async fn answer<B>(&self, request: &Request<B>, client: &Connection) -> Response<Body> {
        if self.metrics && request.uri().path() == "/metrics" && request.method() == Method::GET {
            return document("text/plain; version=0.0.4; charset=utf-8", self.record.metrics().into_bytes());
        }
        let streams = Streams { own: Arc::clone(&client.streams), all: Arc::clone(&self.streams) };
        answer::answer(&self.catalogue, &streams, request).await
    }
}
