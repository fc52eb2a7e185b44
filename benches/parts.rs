//! The pipeline's parts, one by one: `cargo bench`. Whole commands are timed by `dev/bench`.

use std::io::{Write, sink};

use divan::{Bencher, counter::BytesCount};
use strata::internals::{
    closure::{Graph, Plan, Popularity, StoreDir},
    layer::{Header, LayerError, TarWriter, compress::GzipWriter},
    oci::Sha256Writer,
};

fn main() {
    divan::main();
}

/// A closure where each path references up to eight of those before it.
fn closure(paths: usize) -> Graph {
    let path = |at: usize| format!("/nix/store/{at:032}-path-{at}");
    let node = |at: usize| {
        let references: Vec<String> =
            (1..=8).filter(|step| at >= step * step).map(|step| path(at - step * step)).collect();
        serde_json::json!({ "path": path(at), "references": references, "narSize": at })
    };
    let raw = serde_json::Value::Array((0..paths).map(node).collect());
    Graph::new(&StoreDir::default(), serde_json::from_value(raw).unwrap()).unwrap()
}

#[divan::bench(args = [200, 5000])]
fn plan_by_popularity(bencher: Bencher, paths: usize) {
    let graph = closure(paths);
    bencher.bench(|| Plan::new(&graph, &Popularity, 65, |_| false).groups.len());
}

#[divan::bench]
fn sha256_of_1_mib(bencher: Bencher) {
    let bytes = vec![7; 1 << 20];
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        let mut writer = Sha256Writer::new(sink());
        writer.write_all(&bytes).unwrap();
        writer.finish().1
    });
}

#[divan::bench]
fn tar_of_1000_small_files(bencher: Bencher) {
    bencher.bench(|| {
        let mut tar = TarWriter::new(sink());
        for at in 0..1000 {
            let name = format!("/nix/store/00000000000000000000000000000000-bench/share/{at}");
            let header = Header::file(name.as_bytes(), 5);
            tar.append_with(&header, |out| out.write_all(b"bytes").map_err(LayerError::Write)).unwrap();
        }
        tar.finish().unwrap()
    });
}

#[divan::bench]
fn gzip_of_16_mib(bencher: Bencher) {
    let bytes: Vec<u8> = (0..16 << 20).map(|at: u64| (at.wrapping_mul(at) >> 9) as u8).collect();
    bencher.counter(BytesCount::new(bytes.len())).bench(|| {
        let mut gzip = GzipWriter::with_threads(sink(), 2, None).unwrap();
        gzip.write_all(&bytes).unwrap();
        gzip.finish().unwrap()
    });
}
