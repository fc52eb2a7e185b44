//! Handles a request: authentication, response, and access log.

use std::sync::Arc;

use hyper::{Method, Request, Response, header::AUTHORIZATION};

use super::{
    AccessLog, AllowedUsers, Catalogue, Demand,
    access_log::{CountedBody, Record},
    answer::{self, document},
    body::{Body, Streams},
    peer_limits::{Connection, StreamLimits},
};

/// The images of a server.
#[derive(Debug)]
pub enum ServedImages {
    /// A fixed set of images.
    Fixed(Arc<Catalogue>),
    /// Images that are built when they are requested.
    OnDemand(Arc<Demand>),
}

impl From<Catalogue> for ServedImages {
    fn from(catalogue: Catalogue) -> Self {
        Self::Fixed(Arc::new(catalogue))
    }
}

impl From<Demand> for ServedImages {
    fn from(demand: Demand) -> Self {
        Self::OnDemand(Arc::new(demand))
    }
}

/// The state that all connections share.
pub struct Service {
    contents: ServedImages,
    streams: StreamLimits,
    users: Option<AllowedUsers>,
    metrics: bool,
    pub record: Arc<Record>,
}

impl Service {
    /// Creates the service for `contents`.
    pub fn new(contents: ServedImages, users: Option<AllowedUsers>, log: Option<AccessLog>, metrics: bool) -> Self {
        let record = Arc::new(Record::new(log));
        Self { contents, streams: StreamLimits::of_all_clients(), users, metrics, record }
    }

    /// Cancels the builds that are running for requests.
    pub async fn stop(&self) {
        if let ServedImages::OnDemand(demand) = &self.contents {
            demand.stop().await;
        }
    }

    /// Returns the response to a request.
    pub async fn respond<B>(&self, request: &Request<B>, client: &Arc<Connection>) -> Response<CountedBody> {
        let mut entry = self.record.begin(request, client.address);
        let response = match &self.users {
            None => self.answer(request, client).await,
            Some(users) => {
                let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
                let user = match header {
                    Some(header) => users.authenticate(header, client).await,
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

    async fn answer<B>(&self, request: &Request<B>, client: &Arc<Connection>) -> Response<Body> {
        if self.metrics && request.uri().path() == "/metrics" && request.method() == Method::GET {
            return document("text/plain; version=0.0.4; charset=utf-8", self.record.metrics().into_bytes());
        }
        let streams = Streams { client: Arc::clone(client), all: self.streams.clone() };
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match &self.contents {
            ServedImages::Fixed(catalogue) => answer::answer(catalogue, &streams, request).await,
            // Methods that are refused must not start a build.
            ServedImages::OnDemand(_) if !is_read => answer::answer(&Catalogue::default(), &streams, request).await,
            ServedImages::OnDemand(demand) => match demand.catalogue(request.uri().path(), client.network()).await {
                Ok(catalogue) => answer::answer(&catalogue, &streams, request).await,
                Err(error) => answer::not_supplied(error, request),
            },
        }
    }
}
