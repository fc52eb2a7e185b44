//! Tests with a supply that counts its builds.

use std::sync::{
    Barrier,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::{
    image::Image,
    oci::{Algorithm, Platform, descriptor::media_type},
};

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Builds an image whose config is its key. `made` counts the builds. `gate` blocks `make` until the test has sent its requests.
#[derive(Debug)]
struct Counting {
    made: Arc<AtomicUsize>,
    released: Arc<AtomicUsize>,
    gate: Arc<Barrier>,
}

#[derive(Debug)]
struct Release(Arc<AtomicUsize>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Supply for Counting {
    fn names(&self) -> Result<Vec<String>, SupplyError> {
        Ok(vec!["app".to_owned()])
    }

    fn tags(&self, name: &str) -> Result<Vec<String>, SupplyError> {
        Err(SupplyError::UnknownName(name.to_owned()))
    }

    fn resolve(&self, _: &str, tag: &str) -> Result<ImageVersion, SupplyError> {
        // `v1` and `v1-again` are two tags of one version.
        let key = tag.trim_end_matches("-again").to_owned();
        Ok(ImageVersion { source: key.clone(), key })
    }

    fn make(&self, _: &str, version: &ImageVersion) -> Result<Supplied, SupplyError> {
        self.gate.wait();
        self.made.fetch_add(1, Ordering::SeqCst);
        if version.key == "broken" {
            return Err(SupplyError::UnknownManifest("broken".to_owned()));
        }
        let image = Image {
            reference: None,
            platform: Platform::linux("amd64", None),
            media_type: media_type::MANIFEST.to_owned(),
            manifest: version.key.clone().into_bytes(),
            manifest_algorithm: Algorithm::default(),
            config_media_type: media_type::CONFIG.to_owned(),
            config: version.key.clone().into_bytes(),
            config_algorithm: Algorithm::default(),
            config_origin: None,
            layers: Vec::new(),
            closure: None,
            as_is: true,
        };
        Ok(Supplied::new(image.into(), Release(Arc::clone(&self.released))))
    }

    fn stop(&self) {
        self.gate.wait();
    }
}

fn demand(limit: usize, gate: usize) -> (Arc<Demand>, Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<Barrier>) {
    let (made, released, gate) = (Arc::default(), Arc::default(), Arc::new(Barrier::new(gate)));
    let supply = Counting { made: Arc::clone(&made), released: Arc::clone(&released), gate: Arc::clone(&gate) };
    (Arc::new(Demand::new(Box::new(supply), limit, u32::MAX)), made, released, gate)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

#[test]
fn concurrent_requests_build_an_image_once() {
    let (demand, made, _, gate) = demand(8, 2);
    let runtime = runtime();
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let demand = Arc::clone(&demand);
            runtime.spawn(async move { demand.catalogue("/v2/app/manifests/v1", CLIENT).await })
        })
        .collect();
    // The build cannot finish before this thread waits at the gate.
    gate.wait();
    for request in requests {
        let catalogue = runtime.block_on(request).unwrap().unwrap();
        assert!(catalogue.repository("app").unwrap().find("v1").is_some());
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
    // A second tag of the same version builds nothing.
    let again = runtime.block_on(demand.catalogue("/v2/app/manifests/v1-again", CLIENT)).unwrap();
    assert!(again.repository("app").unwrap().find("v1-again").is_some());
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[test]
fn failures_are_not_cached() {
    let (demand, made, ..) = demand(8, 1);
    let runtime = runtime();
    for count in 1..=2 {
        let failed = runtime.block_on(demand.catalogue("/v2/app/manifests/broken", CLIENT)).unwrap_err();
        assert_eq!(failed, SupplyError::UnknownManifest("broken".to_owned()));
        assert_eq!(made.load(Ordering::SeqCst), count);
    }
    assert!(lock(&demand.running).is_empty());
}

#[test]
fn the_image_with_the_oldest_request_is_released() {
    let (demand, _, released, _) = demand(2, 1);
    let runtime = runtime();
    let ask = |tag: &str| runtime.block_on(demand.catalogue(&format!("/v2/app/manifests/{tag}"), CLIENT)).unwrap();
    ask("one");
    ask("two");
    // The last request for `one` is later than that for `two`.
    ask("one");
    let catalogue = ask("three");
    assert_eq!(released.load(Ordering::SeqCst), 1);
    let repository = catalogue.repository("app").unwrap();
    assert_eq!(repository.tags().collect::<Vec<_>>(), ["one", "three"]);
    let cached = runtime.block_on(demand.catalogue("/v2/app/blobs/sha256:0", CLIENT)).unwrap();
    assert!(cached.repository("app").unwrap().blob(&Digest::sha256(b"one")).is_some());
    assert!(cached.repository("app").unwrap().blob(&Digest::sha256(b"two")).is_none());
}

#[test]
fn an_image_whose_blobs_are_pulled_is_kept() {
    let (demand, _, released, _) = demand(2, 1);
    let runtime = runtime();
    let ask = |path: &str| runtime.block_on(demand.catalogue(&format!("/v2/app/{path}"), CLIENT)).unwrap();
    for kind in ["blobs", "manifests"] {
        let before = released.load(Ordering::SeqCst);
        ask("manifests/one");
        ask("manifests/two");
        ask(&format!("{kind}/{}", Digest::sha256(b"one")));
        let catalogue = ask("manifests/three");
        assert!(released.load(Ordering::SeqCst) > before);
        assert_eq!(catalogue.repository("app").unwrap().tags().collect::<Vec<_>>(), ["one", "three"], "{kind}");
    }
}

#[test]
fn a_digest_that_is_not_cached_is_that_of_the_latest_image() {
    let (demand, made, ..) = demand(2, 1);
    let runtime = runtime();
    let ask = |digest: Digest| {
        let catalogue = runtime.block_on(demand.catalogue(&format!("/v2/app/manifests/{digest}"), CLIENT)).unwrap();
        catalogue.repository("app").unwrap().find(&digest.to_string()).is_some()
    };
    assert!(ask(Digest::sha256(b"latest")));
    assert!(!ask(Digest::sha256(b"another")));
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[test]
fn one_client_does_not_block_the_queries_of_others() {
    // All images stay in the cache: a request after the gate has opened builds none, which would wait at the gate forever.
    let (demand, _, _, gate) = demand(MAX_CLIENT_QUERIES + 1, MAX_CLIENT_QUERIES + 2);
    let runtime = runtime();
    let ask = |tag: usize, client: IpAddr| {
        let demand = Arc::clone(&demand);
        runtime.spawn(async move { demand.catalogue(&format!("/v2/app/manifests/{tag}"), client).await })
    };
    let mut requests: Vec<_> = (0..MAX_CLIENT_QUERIES).map(|tag| ask(tag, CLIENT)).collect();
    while lock(&demand.running).len() < MAX_CLIENT_QUERIES {
        std::thread::yield_now();
    }
    let refused = runtime.block_on(ask(MAX_CLIENT_QUERIES, CLIENT)).unwrap();
    assert_eq!(refused.unwrap_err(), SupplyError::Busy);
    // A query that runs is shared, and another client has its own limit.
    requests.push(ask(0, CLIENT));
    requests.push(ask(MAX_CLIENT_QUERIES, IpAddr::from([192, 0, 2, 1])));
    gate.wait();
    for request in requests {
        runtime.block_on(request).unwrap().unwrap();
    }
}

#[test]
fn stop_waits_for_running_builds() {
    let (demand, made, _, _) = demand(8, 2);
    let runtime = runtime();
    let request = {
        let demand = Arc::clone(&demand);
        runtime.spawn(async move { demand.catalogue("/v2/app/manifests/broken", CLIENT).await })
    };
    // `make` waits at the gate, which `stop` of the supply opens.
    while lock(&demand.running).is_empty() {
        std::thread::yield_now();
    }
    runtime.block_on(demand.stop());
    // Only this test and its request have the supply, so that its files are removed before the server ends.
    assert!(Arc::strong_count(&demand) <= 2);
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert!(lock(&demand.running).is_empty());
    runtime.block_on(request).unwrap().unwrap_err();
}
