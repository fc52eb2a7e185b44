//! Server certificates that must be trusted or not: the verdicts of Go's crypto/x509 on the same files, which
//! tests/peers/certificates.sh compares.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};

use crate::world::{Answer, World};

const HOST: &str = "tls.example.com";

/// A certificate and its key.
struct Signed {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

fn params(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
    params
}

fn ca(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

fn names(params: &mut CertificateParams) {
    params.subject_alt_names = CertificateParams::new([HOST.to_owned()]).unwrap().subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
}

fn dates(params: &mut CertificateParams, from: i64, to: i64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let day = |days: i64| {
        let since_epoch = now.as_secs().checked_add_signed(days * 24 * 60 * 60).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since_epoch)
    };
    (params.not_before, params.not_after) = (day(from), day(to));
}

fn self_signed(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
    let (params, key) = (params(name, change), KeyPair::generate().unwrap());
    let certificate = params.self_signed(&key).unwrap();
    Signed { params, key, certificate }
}

impl Signed {
    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (params(name, change), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &Issuer::new(self.params.clone(), &self.key)).unwrap();
        Self { params, key, certificate }
    }

    /// Another certificate of the same name and key.
    fn renewed(&self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = self.params.clone();
        change(&mut params);
        let key = KeyPair::from_pem(&self.key.serialize_pem()).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, certificate }
    }
}

/// Trusted certificates, the chain that a server shows, and Go's verdict.
struct Case {
    name: &'static str,
    is_trusted: bool,
    trusted: Vec<String>,
    chain: Vec<Certificate>,
    key: KeyPair,
}

fn case(name: &'static str, is_trusted: bool, trusted: &[&Signed], chain: Vec<Signed>) -> Case {
    let trusted = trusted.iter().map(|signed| signed.certificate.pem()).collect();
    let key = KeyPair::from_pem(&chain[0].key.serialize_pem()).unwrap();
    Case { name, is_trusted, trusted, chain: chain.into_iter().map(|signed| signed.certificate).collect(), key }
}

/// Leaves of an accepted root, and other roots.
fn leaves() -> Vec<Case> {
    let root = self_signed("root", ca);
    let leaf = |change: &dyn Fn(&mut CertificateParams)| {
        vec![root.sign("leaf", |params| {
            names(params);
            change(params);
        })]
    };
    let usage = |usage: ExtendedKeyUsagePurpose| leaf(&|params| params.extended_key_usages = vec![usage.clone()]);
    let san = |name: &str| {
        let names = CertificateParams::new([name.to_owned()]).unwrap().subject_alt_names;
        leaf(&|params| params.subject_alt_names = names.clone())
    };
    vec![
        case("leaf", true, &[&root], leaf(&|_| {})),
        case("another-root", false, &[&self_signed("root", ca)], leaf(&|_| {})),
        case("leaf-expired", false, &[&root], leaf(&|params| dates(params, -9, -1))),
        case("leaf-not-yet-valid", false, &[&root], leaf(&|params| dates(params, 1, 9))),
        case("leaf-other-host", false, &[&root], san("evil.example.com")),
        case("leaf-wildcard", true, &[&root], san("*.example.com")),
        case("leaf-wildcard-of-parent", false, &[&root], san("*.com")),
        case("leaf-common-name-only", false, &[&root], vec![root.sign(HOST, |_| {})]),
        case("leaf-for-servers", true, &[&root], usage(ExtendedKeyUsagePurpose::ServerAuth)),
        // A leaf for any use only is not among them: Go accepts it, and webpki refuses it.
        case("leaf-for-clients", false, &[&root], usage(ExtendedKeyUsagePurpose::ClientAuth)),
        case("leaf-critical-extension", false, &[&root], leaf(&critical)),
    ]
}

fn critical(params: &mut CertificateParams) {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4, 5], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
}

/// Certificates that are trusted themselves.
fn pinned() -> Vec<Case> {
    let pin = |name, is_trusted, change: &dyn Fn(&mut CertificateParams)| {
        let pinned = self_signed("pinned", |params| {
            names(params);
            change(params);
        });
        let copy = Signed {
            params: pinned.params.clone(),
            key: KeyPair::from_pem(&pinned.key.serialize_pem()).unwrap(),
            certificate: pinned.certificate.clone(),
        };
        case(name, is_trusted, &[&pinned], vec![copy])
    };
    let end_entity = self_signed("pinned", names);
    let under = end_entity.sign("under", names);
    let private = self_signed("private", ca);
    let leaf = private.sign("leaf", names);
    let pem = leaf.certificate.pem();
    let mut by_leaf = case("pinned-leaf-of-an-unknown-ca", true, &[], vec![leaf]);
    by_leaf.trusted.push(pem);
    let old = self_signed("old", |params| {
        ca(params);
        dates(params, -9, -1);
    });
    let leaf = old.sign("leaf", names);
    let pem = leaf.certificate.pem();
    let mut by_old = case("pinned-leaf-of-an-expired-root", true, &[&old], vec![leaf]);
    by_old.trusted.push(pem);
    vec![
        pin("pinned", true, &|_| {}),
        pin("pinned-ca", true, &ca),
        pin("pinned-expired", false, &|params| dates(params, -9, -1)),
        pin("pinned-not-yet-valid", false, &|params| dates(params, 1, 9)),
        pin("pinned-ca-expired", false, &|params| {
            ca(params);
            dates(params, -9, -1);
        }),
        pin("pinned-other-host", false, &|params| params.subject_alt_names.clear()),
        pin("pinned-for-clients", false, &|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]
        }),
        pin("pinned-crl-sign", true, &|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]),
        pin("pinned-critical-extension", false, &critical),
        case("signed-by-a-pinned-certificate", false, &[&end_entity], vec![under]),
        by_leaf,
        by_old,
    ]
}

/// Roots that must not sign servers.
fn roots() -> Vec<Case> {
    let root = |name, is_trusted, change: &dyn Fn(&mut CertificateParams)| {
        let root = self_signed("root", |params| {
            ca(params);
            change(params);
        });
        let leaf = root.sign("leaf", names);
        case(name, is_trusted, &[&root], vec![leaf])
    };
    let subtree = |name: &str| {
        Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(name.to_owned())],
            excluded_subtrees: Vec::new(),
        })
    };
    let old = self_signed("root", |params| {
        ca(params);
        dates(params, -9, -1);
    });
    let new = old.renewed(|params| dates(params, -1, 9));
    let under = [old.sign("leaf", names), old.sign("leaf", names)];
    let [one, two] = under;
    vec![
        root("root-expired", false, &|params| dates(params, -9, -1)),
        root("root-not-yet-valid", false, &|params| dates(params, 1, 9)),
        root("root-renewed-elsewhere", true, &|params| dates(params, -1, 9)),
        case("root-expired-and-renewed", true, &[&old, &new], vec![one]),
        case("root-renewed-and-expired", true, &[&new, &old], vec![two]),
        root("root-cert-sign", true, &|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
        root("root-without-cert-sign", false, &|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        root("root-no-ca", false, &|params| params.is_ca = IsCa::ExplicitNoCa),
        root("root-without-constraints", false, &|params| params.is_ca = IsCa::NoCa),
        root("root-for-clients", false, &|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]
        }),
        root("root-for-servers", true, &|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
        }),
        root("root-path-length-0", true, &|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
        root("root-excludes-the-host", false, &|params| params.name_constraints = subtree("example.org")),
        root("root-permits-the-host", true, &|params| params.name_constraints = subtree("example.com")),
    ]
}

/// Paths with intermediate certificates, all of one root.
fn intermediates() -> Vec<Case> {
    let limit =
        |most| move |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most));
    let path =
        |name, is_trusted, root: &dyn Fn(&mut CertificateParams), between: &[&dyn Fn(&mut CertificateParams)]| {
            let root = self_signed("root", |params| root(params));
            let mut chain: Vec<Signed> = Vec::new();
            for (at, change) in between.iter().enumerate() {
                let issuer = chain.first().unwrap_or(&root);
                let next = issuer.sign(&format!("intermediate {at}"), |params| change(params));
                chain.insert(0, next);
            }
            let leaf = chain.first().unwrap_or(&root).sign("leaf", names);
            chain.insert(0, leaf);
            case(name, is_trusted, &[&root], chain)
        };
    let mut incomplete = path("intermediate-not-shown", false, &ca, &[&ca]);
    incomplete.chain.truncate(1);
    vec![
        path("intermediate", true, &ca, &[&ca]),
        incomplete,
        path("intermediate-no-ca", false, &ca, &[&|params| params.is_ca = IsCa::ExplicitNoCa]),
        path("intermediate-without-constraints", false, &ca, &[&|_| {}]),
        path(
            "intermediate-expired",
            false,
            &ca,
            &[&|params| {
                ca(params);
                dates(params, -9, -1);
            }],
        ),
        path(
            "intermediate-without-cert-sign",
            false,
            &ca,
            &[&|params| {
                ca(params);
                params.key_usages = vec![KeyUsagePurpose::CrlSign];
            }],
        ),
        path(
            "intermediate-for-clients",
            false,
            &ca,
            &[&|params| {
                ca(params);
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }],
        ),
        path("path-length-0-and-one", false, &limit(0), &[&ca]),
        path("path-length-1-and-one", true, &limit(1), &[&ca]),
        path("path-length-1-and-two", false, &limit(1), &[&ca, &ca]),
        path("intermediate-path-length-0-and-one", false, &ca, &[&limit(0), &ca]),
    ]
}

/// Returns the directory to which the cases are written for a comparison with Go.
fn kept_certificates() -> Option<PathBuf> {
    env::var_os("STRATA_KEEP_CERTIFICATES").map(PathBuf::from)
}

fn check(cases: Vec<Case>) {
    let world = World::new();
    world.host(HOST, |_| Answer::new(404));
    let mut wrong = Vec::new();
    for Case { name, is_trusted, trusted, chain, key } in cases {
        let roots = trusted.concat();
        if let Some(folder) = kept_certificates().map(|folder| folder.join(name)) {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("roots.pem"), &roots).unwrap();
            fs::write(folder.join("chain.pem"), chain.iter().map(Certificate::pem).collect::<String>()).unwrap();
            fs::write(folder.join("verdict"), is_trusted.to_string()).unwrap();
        }
        world.show(HOST, chain.iter().map(|certificate| certificate.der().clone()).collect(), &key);
        world.file(&format!("{name}/ca.crt"), roots);
        let result = world.run(&["manifest", "tls.example.com/app:1", "--retry-times", "0", "--cert-dir", name]);
        // The registry has no such image, which only a client that trusts it learns.
        let was_asked = !world.take_requests().is_empty();
        if result.err.contains("the registry has no") != is_trusted || was_asked != is_trusted {
            wrong.push(format!("{name} (trusted: {is_trusted}): {}", result.err));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn leaves_are_judged_as_go_does() {
    check(leaves());
}

#[test]
fn pinned_certificates_are_judged_as_go_does() {
    check(pinned());
}

#[test]
fn roots_are_judged_as_go_does() {
    check(roots());
}

#[test]
fn intermediates_are_judged_as_go_does() {
    check(intermediates());
}

#[test]
fn a_named_file_of_cas_that_is_missing_is_an_error() {
    for variable in ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"] {
        for file in ["missing.pem", "empty.pem"] {
            let mut world = World::new();
            world.host(HOST, |_| Answer::new(404));
            world.file("empty.pem", "");
            let path = world.path(file).display().to_string();
            world.set(variable, path);
            world.run(&["manifest", "tls.example.com/app:1"]).failure(file);
            assert!(world.take_requests().is_empty(), "{variable} {file}");
        }
    }
}

#[test]
fn unreadable_files_of_certs_d_are_warnings() {
    let world = World::new();
    world.host(HOST, |_| Answer::new(404));
    let folder = "home/.config/containers/certs.d/tls.example.com";
    world.file(&format!("{folder}/text.crt"), "no certificate");
    world.file(&format!("{folder}/cut.crt"), "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    std::os::unix::fs::symlink("gone", world.path(folder).join("gone.crt")).unwrap();
    let result = world.run(&["manifest", "tls.example.com/app:1"]).failure("the registry has no");
    for file in ["text.crt", "cut.crt", "gone.crt"] {
        assert_eq!(result.err.matches(file).count(), 1, "{}", result.err);
    }
}
