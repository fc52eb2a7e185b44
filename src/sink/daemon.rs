//! An image loaded into a docker daemon, without the layers that it has.
//!
//! docker keeps layers as chains: a layer counts only with all those below it.
//! So the image is compared with every image of the daemon, and the longest
//! common beginning is left out of the archive, which docker accepts
//! ([moby pull request 18727](https://github.com/moby/moby/pull/18727)).

use std::{
    fs,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    archive, cache,
    destination::{Holds, Scheme, Sink, WriteError, WriteOptions, Written, one_image, with_tag},
};
use crate::{
    blobs::ImageBlobs,
    content::Content,
    daemon::{Daemon, DaemonError, Info},
    layer::ChunkReader,
    oci::Digest,
};

/// `docker-daemon:NAME:TAG`
pub const SCHEME: Scheme = Scheme {
    name: "docker-daemon",
    syntax: "docker-daemon:NAME:TAG",
    about: "docker daemon, given the layers it lacks",
    holds: Holds::Image,
    parse: |rest| Ok(Arc::new(DockerDaemon { name: with_tag(rest) })),
};

/// The user's daemon, and under which name, if another than the image's own.
#[derive(Debug)]
struct DockerDaemon {
    name: Option<String>,
}

impl Sink for DockerDaemon {
    fn write(&self, content: &Content, _: &WriteOptions) -> Result<Written, WriteError> {
        let image = one_image(content)?;
        let name = self.name.as_deref().or(image.reference.as_deref());
        let Loaded { bytes, there, whole_because, said } = load(image, name, &Daemon::of_user()?)?;
        let event = serde_json::json!({ "event": "loaded", "reference": name, "bytes": bytes, "layersThere": there,
            "wholeBecause": whole_because });
        let whole = whole_because.map(|why| format!("all layers are sent: {why}"));
        let count = format!("{there} of {} layers were there, {bytes} bytes streamed", image.layers.len());
        Ok(Written {
            says: whole.into_iter().chain([count]).chain(said).collect(),
            event: Some(event),
            ..Written::new(Digest::of(&image.config))
        })
    }
}

/// What a load did.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Bytes streamed.
    pub bytes: u64,
    /// Layers that were there already, from the base.
    pub there: usize,
    /// Why nothing was left out, where something might have been.
    pub whole_because: Option<String>,
    /// What the daemon said.
    pub said: Vec<String>,
}

/// Loads `image` as `reference`.
///
/// # Errors
///
/// [`DaemonError`]; a daemon that refuses an archive with layers left out gets
/// a whole one, now and until it is another version.
pub fn load(image: &ImageBlobs, reference: Option<&str>, daemon: &Daemon) -> Result<Loaded, DaemonError> {
    let info = daemon.info()?;
    let refused = Refused::of(daemon, &info);
    let whole_because = containerd(&info).or_else(|| refused.why());
    let there = match whole_because {
        Some(_) => 0,
        None => longest_common(image, &daemon.chains()?),
    };
    match stream(image, reference, there, daemon) {
        Ok((said, bytes)) => Ok(Loaded { bytes, there, whole_because, said }),
        Err(DaemonError::Refused { said: why, .. }) if there > 0 => {
            let (said, bytes) = stream(image, reference, 0, daemon)?;
            refused.remember(&why);
            Ok(Loaded { bytes, there: 0, whole_because: Some(why), said })
        }
        Err(error) => Err(error),
    }
}

/// docker's containerd image store takes whole archives only.
fn containerd(info: &Info) -> Option<String> {
    let status = info.driver_status.iter().flatten();
    let found = status.into_iter().any(|(key, value)| key == "driver-type" && value.contains("containerd.snapshotter"));
    found.then(|| "the daemon keeps images in containerd's store".to_owned())
}

/// How many layers from the base on are those of an image that is there.
fn longest_common(image: &ImageBlobs, chains: &[Vec<Digest>]) -> usize {
    let common = |chain: &Vec<Digest>| {
        image.layers.iter().zip(chain).take_while(|(layer, diff_id)| layer.diff_id == **diff_id).count()
    };
    chains.iter().map(common).max().unwrap_or(0)
}

fn stream(
    image: &ImageBlobs,
    reference: Option<&str>,
    without: usize,
    daemon: &Daemon,
) -> Result<(Vec<String>, u64), DaemonError> {
    let (image, reference) = (image.clone(), reference.map(str::to_owned));
    let bytes = Arc::new(AtomicU64::new(0));
    let archive = ChunkReader::new(move |out| {
        archive::write(&image, reference.as_deref(), without, out).map(drop).map_err(io::Error::other)
    });
    let mut counted = Counted { inner: archive, bytes: Arc::clone(&bytes) };
    let said = daemon.load(&mut counted)?;
    Ok((said, bytes.load(Ordering::Relaxed)))
}

struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The memory of a daemon that takes whole archives only: `$XDG_CACHE_HOME/strata/daemons/<it and its version>`.
struct Refused {
    path: Option<std::path::PathBuf>,
}

impl Refused {
    fn of(daemon: &Daemon, info: &Info) -> Self {
        let key = format!("{}\n{}\n{}", daemon.endpoint(), info.server_version, info.driver);
        let path = cache::folder().map(|folder| folder.join("daemons").join(Digest::of(key.as_bytes()).hex()));
        Self { path }
    }

    fn why(&self) -> Option<String> {
        fs::read_to_string(self.path.as_ref()?).ok()
    }

    /// A cache that cannot be written is no reason to fail.
    fn remember(&self, why: &str) {
        if let Some(path) = &self.path
            && path.parent().is_some_and(|folder| fs::create_dir_all(folder).is_ok())
        {
            let _ = fs::write(path, why);
        }
    }
}
