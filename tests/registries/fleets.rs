//! Fleets in which something fails in the middle: the other images are copied, and the summary names those that were not.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{
    store::{Store, Tokens, layout, with_tokens},
    world::{Answer, Request, World},
};

const HEALTHY: &str = "healthy.example.com";
const BAD: &str = "bad.example.com";

/// A fleet of `count` images: those with the numbers in `bad` go to the other registry.
fn fleet(world: &World, count: usize, bad: &[usize]) {
    let line = |number: usize| {
        let image = layout(world, &format!("image-{number}"), format!("layer {number}").as_bytes());
        let host = if bad.contains(&number) { BAD } else { HEALTHY };
        format!(
            "{{\"attr\":\"image-{number}\",\"image\":\"{image}\",\"destination\":\"docker://{host}/app-{number}:1\"}}\n"
        )
    };
    world.file("fleet", (0..count).map(line).collect::<String>());
}

const COPY: [&str; 6] = ["copy", "--fleet", "fleet", "--retry-times", "0", "--quiet"];

#[test]
fn images_whose_registry_fails_are_named_and_the_others_are_copied() {
    let world = World::new();
    let healthy = Arc::new(Store::default());
    let kept = Arc::clone(&healthy);
    world.host(HEALTHY, move |request| kept.answer(request));
    world.host(BAD, |_| Answer::new(500));
    fleet(&world, 20, &[7, 12]);
    let result = world.run(&COPY);
    assert_eq!(result.code, Some(1), "{}", result.err);
    let named = result.err.lines().find(|line| line.contains("these images were not copied: ")).unwrap();
    assert!(named.contains("image-7") && named.contains("image-12"), "{named}");
    assert_eq!(named.matches("image-").count(), 2, "{named}");
    for number in (0..20).filter(|number| ![7, 12].contains(number)) {
        assert!(healthy.has_tag(&format!("app-{number}"), "1"), "{number}");
    }
}

#[test]
fn a_slow_registry_delays_its_own_images_only() {
    let world = World::new();
    let (healthy, slow) = (Arc::new(Store::default()), Arc::new(Store::default()));
    let all = Arc::new((Mutex::new(0), Condvar::new()));
    let (kept, counted) = (Arc::clone(&healthy), Arc::clone(&all));
    world.host(HEALTHY, move |request| {
        let answer = kept.answer(request);
        if request.method == "PUT" && request.path().contains("/manifests/") {
            *counted.0.lock().unwrap() += 1;
            counted.1.notify_all();
        }
        answer
    });
    // It answers once the other registry has all its images.
    let kept = Arc::clone(&slow);
    world.host(BAD, move |request| {
        drop(all.1.wait_while(all.0.lock().unwrap(), |count| *count < 19).unwrap());
        kept.answer(request)
    });
    fleet(&world, 20, &[3]);
    world.run(&COPY).success();
    assert!(slow.has_tag("app-3", "1"));
}

#[test]
fn a_token_that_expires_in_the_middle_of_a_fleet_is_replaced() {
    let world = World::new();
    let store = Arc::new(Store::default());
    let tokens = Tokens::new(HEALTHY, &format!("https://{HEALTHY}/token"), HEALTHY, None);
    with_tokens(&world, HEALTHY, HEALTHY, &tokens, &store);
    // The token of every image expires before its manifest is there.
    let expired = Arc::new(Mutex::new(HashSet::new()));
    let (kept, given, seen) = (Arc::clone(&store), Arc::clone(&tokens), Arc::clone(&expired));
    world.host(HEALTHY, move |request| {
        if request.path() == "/token" {
            return given.give(request);
        }
        let is_manifest = request.method == "PUT" && request.path().contains("/manifests/");
        if is_manifest && seen.lock().unwrap().insert(request.path().to_owned()) {
            given.expire(request);
        }
        given.check(request).unwrap_or_else(|| kept.answer(request))
    });
    fleet(&world, 20, &[]);
    world.run(&COPY).success();
    assert_eq!(expired.lock().unwrap().len(), 20);
    assert!((0..20).all(|number| store.has_tag(&format!("app-{number}"), "1")));
}

#[test]
fn images_after_revoked_credentials_are_named() {
    let world = World::new();
    let store = Arc::new(Store::default());
    let tokens = Tokens::new(BAD, &format!("https://{BAD}/token"), BAD, None);
    let tags = Arc::new(AtomicUsize::new(0));
    let (kept, given, counted) = (Arc::clone(&store), Arc::clone(&tokens), Arc::clone(&tags));
    world.host(BAD, move |request| {
        let is_revoked = counted.load(Ordering::SeqCst) >= 5;
        if request.path() == "/token" {
            return if is_revoked { Answer::new(401) } else { given.give(request) };
        }
        if is_revoked {
            given.expire(request);
        }
        let answer = given.check(request).unwrap_or_else(|| kept.answer(request));
        if request.method == "PUT" && request.path().contains("/manifests/") && answer.status == 201 {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        answer
    });
    let healthy = Arc::new(Store::default());
    let kept = Arc::clone(&healthy);
    world.host(HEALTHY, move |request| kept.answer(request));
    let bad: Vec<usize> = (0..20).filter(|number| number % 2 == 1).collect();
    fleet(&world, 20, &bad);
    let result = world.run(&COPY);
    assert_eq!(result.code, Some(1), "{}", result.err);
    let named = result.err.lines().find(|line| line.contains("these images were not copied: ")).unwrap();
    for number in 0..20 {
        let is_bad = bad.contains(&number);
        let has_tag = (if is_bad { &store } else { &healthy }).has_tag(&format!("app-{number}"), "1");
        let is_named = named.split([' ', ',']).any(|name| name == format!("image-{number}"));
        assert_eq!(has_tag, !is_named, "{number}: {named}");
        assert!(has_tag || is_bad, "{number}");
    }
    assert!(bad.iter().any(|number| store.has_tag(&format!("app-{number}"), "1")));
}

/// A fleet whose images have one layer, in a registry where the first repository answers requests with `refuse`.
fn fleet_of_one_layer(world: &World, refuse: fn(&Request) -> Option<Answer>) -> Arc<Store> {
    let store = Arc::new(Store { mounts: true, ..Store::default() });
    let kept = Arc::clone(&store);
    world.host(HEALTHY, move |request| {
        let is_of_first = request.path().starts_with("/v2/app-0/");
        refuse(request).filter(|_| is_of_first).unwrap_or_else(|| kept.answer(request))
    });
    let image = layout(world, "image", b"the layer of all images");
    let line = |number| {
        format!(
            "{{\"attr\":\"image-{number}\",\"image\":\"{image}\",\"destination\":\"docker://{HEALTHY}/app-{number}:1\"}}\n"
        )
    };
    world.file("fleet", (0..4).map(line).collect::<String>());
    store
}

#[test]
fn a_repository_that_refuses_pushes_fails_its_own_image_only() {
    let is_upload = |request: &Request| request.path().contains("/blobs/uploads/");
    let refusals: [fn(&Request) -> Option<Answer>; 6] = [
        |request| is_write(request).then(|| Answer::error(403, "DENIED", "denied")),
        |request| is_write(request).then(|| Answer::error(404, "NAME_UNKNOWN", "create the repository first")),
        |request| is_write(request).then(|| Answer::error(413, "QUOTA", "the quota is exceeded")),
        |request| is_write(request).then(|| Answer::new(500)),
        |_| Some(Answer::error(401, "UNAUTHORIZED", "denied")),
        |_| Some(Answer::new(503)),
    ];
    for (at, refuse) in refusals.into_iter().enumerate() {
        let world = World::new();
        let store = fleet_of_one_layer(&world, refuse);
        let result = world.run(&COPY);
        assert_eq!(result.code, Some(1), "{at}: {}", result.err);
        assert!(result.err.contains("these images were not copied: image-0\n"), "{at}: {}", result.err);
        let has_tag = |number| store.has_tag(&format!("app-{number}"), "1");
        assert_eq!([0, 1, 2, 3].map(has_tag), [false, true, true, true], "{at}");
        // One of the other repositories gets the layer, and the others mount it.
        let requests = world.take_requests();
        let others = requests.iter().filter(|request| !request.path().starts_with("/v2/app-0/"));
        let sent = others.filter(|request| is_upload(request) && request.method == "PATCH").count();
        assert_eq!(sent, 1, "{at}: {requests:?}");
    }
}

fn is_write(request: &Request) -> bool {
    !matches!(request.method.as_str(), "GET" | "HEAD")
}

#[test]
fn images_of_one_repository_in_several_shards_wait_for_no_layers_of_their_own() {
    let world = World::new();
    let store = Arc::new(Store { mounts: true, ..Store::default() });
    let kept = Arc::clone(&store);
    world.host(HEALTHY, move |request| kept.answer(request));
    let line = |number: usize| {
        let image = layout(&world, &format!("image-{number}"), format!("layer {number}").as_bytes());
        format!("{image} docker://{HEALTHY}/app:{number}\n")
    };
    world.file("fleet", (0..8).map(line).collect::<String>());
    for part in ["1/2", "2/2"] {
        world.run(&[&COPY[..], &["--preserve-digests", "--shard", part, "--shard-wait", "2"]].concat()).success();
        // A blob that another shard sends is asked for several times per second.
        let mut asked = HashMap::new();
        for request in world.take_requests().into_iter().filter(|request| request.method == "HEAD") {
            *asked.entry(request.path().to_owned()).or_insert(0) += 1;
        }
        assert!(asked.len() >= 2 && asked.values().all(|count| *count <= 2), "{part}: {asked:?}");
    }
    assert!((0..8).all(|number| store.has_tag("app", &number.to_string())));
}
