//! Internals for the tests, fuzz targets and benchmarks of this repository. They are not part of the public API, and
//! change at any time.

#![allow(missing_docs)]

#[cfg(feature = "net")]
pub mod attest {
    pub use crate::attest::sbom::scan::count_packages;
    pub use crate::attest::{BUNDLE, Bundle, Policy, SigningKey, Statement, VerifyingKey};
    pub mod simple {
        pub use crate::attest::simple::{MEDIA_TYPE, layer, payload, tag};
    }
    pub mod statement {
        pub mod predicate {
            pub use crate::attest::statement::predicate::{CYCLONEDX, PROVENANCE, SIGNATURE};
        }
    }
}
#[cfg(feature = "program")]
pub mod check {
    pub use crate::check::{Structure, expand::expand, pattern::Pattern};
}
pub mod closure {
    pub use crate::closure::{
        Auto, Costs, Graph, Pipeline, Plan, Popularity, RawNode, Stable, StoreDir, StorePath, Strategy, Transfer,
        Weights,
    };
}
pub mod image {
    pub use crate::image::{Choice, ImageError, Lock, ManifestGraph, Opened};
    pub mod recipe {
        pub use crate::image::recipe::{LayerPath, RecipeLayer};
    }
    pub mod rehash {
        pub use crate::image::rehash::rehash;
    }
}
pub mod layer {
    pub use crate::layer::{
        DetectedCompression, Header, LayerError, Owners, PathOptions, Perm, Rewrite, Source, TarWriter, Tree, hash_all,
        write,
    };
    pub mod chunked {
        pub mod annotation {
            pub use crate::layer::chunked::annotation::{CHECKSUM, TAR_SPLIT};
        }
    }
    pub mod compress {
        pub use crate::layer::compress::{Compression, GzipWriter};
    }
    pub mod erofs {
        pub use crate::layer::erofs::{ErofsFile, write_tree};
    }
    pub mod nar {
        pub use crate::layer::nar::{NarNode, NarReader, unpack};
    }
    pub mod unpack {
        pub use crate::layer::unpack::{Bounds, unpack};
    }
    pub mod untar {
        pub use crate::layer::untar::TarReader;
    }
}
pub mod oci {
    pub use crate::oci::{
        Algorithm, Config, Descriptor, Digest, History, Index, Manifest, Platform, Reference, Sha256Writer, Timestamp,
    };
    pub mod descriptor {
        pub mod annotation {
            pub use crate::oci::descriptor::annotation::{IMAGE_NAME, REF_NAME};
        }
        pub mod media_type {
            pub use crate::oci::descriptor::media_type::{CONFIG, INDEX, LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, MANIFEST};
        }
    }
}
#[cfg(feature = "net")]
pub mod serve {
    pub use crate::serve::answer::{RequestedRange, parse_ranges};
}
pub mod transport {
    pub use crate::transport::{Destination, Location, ReadOptions, WriteOptions, open};
    pub mod dir {
        pub use crate::transport::dir::write;
    }
    pub mod table {
        pub use crate::transport::{kind::Medium, table::TRANSPORTS};
    }
    #[cfg(feature = "net")]
    pub mod binary_cache {
        pub use crate::transport::binary_cache::NarInfo;
    }
    #[cfg(feature = "net")]
    pub mod http {
        pub use crate::transport::http::Netrc;
    }
    #[cfg(feature = "net")]
    pub mod registry {
        pub use crate::transport::registry::{Challenge, Client, Options, registries_conf::RegistriesConf};
    }
}
