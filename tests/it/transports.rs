//! The transports that `strata copy` writes.

use strata::internals::transport::{self, destination};

#[test]
fn every_scheme_is_read_by_its_name() {
    for scheme in destination::WRITE_SCHEMES {
        assert!(scheme.syntax.starts_with(&format!("{}:", scheme.name)), "{}", scheme.syntax);
    }
    let error = "nothing:here".parse::<transport::Destination>().unwrap_err();
    for scheme in destination::WRITE_SCHEMES {
        assert!(error.contains(scheme.syntax), "{error}");
    }
    assert!("oci:dir:tag".parse::<transport::Destination>().is_ok());
    assert!("docker://localhost/name@sha256:0".parse::<transport::Destination>().is_err());
}
