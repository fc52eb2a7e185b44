//! `strata rebuild IMAGE`: builds an image again from its flake, and compares the result.
//!
//! ```text
//! IMAGE ──▶ signed provenance ──▶ flake, commit, attribute ──▶ derivation ──▶ build ──▶ build again, and compare outputs
//!                                 must be those of --flake                                 │
//! store paths, configuration ──▶ NAR hashes ──▶ diff_ids ──▶ manifest and blobs ◀──────────┘
//!                                                            └─▶ statement (--attest)
//! ```
//!
//! The exit code is 0 if the image is reproduced, 1 if it differs, and 2 on errors.

mod blobs;
mod differences;
mod explain;
mod links;
mod named;
mod origins;
mod print;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::{
    attach,
    attached::{AttachmentTarget, Signer},
    flake::derivation::Evaluated,
    nix_store::Nix,
    source::ImageArguments,
};
use crate::{
    attest::{
        BuildClaim, Statement, VerifyingKey,
        rebuild::{BuilderIdentity, ImageSource, Rebuild},
        statement::predicate,
    },
    closure::StorePath,
    image::Image,
    oci::{Descriptor, Reference},
    terminal::{self, note},
    transport::{
        Location, ReadOptions,
        registry::{Client, Purpose, signatures::SignatureReader},
    },
};
use named::{NamedFlake, Pinned};

#[derive(Debug, Args)]
pub struct RebuildArguments {
    /// The image, any source of `copy`, for example docker://HOST/NAME@DIGEST.
    #[arg(required_unless_present = "compare")]
    image: Option<Location>,
    /// The flake to evaluate and build. With --key, its commit and attribute come from the image's provenance.
    #[arg(long, value_name = "FLAKE[#ATTRIBUTE]", conflicts_with = "compare")]
    flake: Option<String>,
    /// The commit of the flake.
    #[arg(long, value_name = "COMMIT", requires = "flake")]
    revision: Option<String>,
    /// The public key that signed the image's provenance.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Build every store path of the image, and take none from a binary cache.
    #[arg(long, requires = "flake")]
    full: bool,
    /// If the image is reproduced, attach a signed statement about it.
    #[arg(long, requires = "flake")]
    attest: bool,
    /// Sign the statement with this key; COSIGN_PASSWORD decrypts it.
    #[arg(long, value_name = "FILE", requires = "attest", conflicts_with = "sign_with")]
    sign_key: Option<PathBuf>,
    /// Sign with a shell command, which reads the payload from stdin and writes the signature to stdout.
    #[arg(hide_short_help = true, long, value_name = "COMMAND", requires = "attest")]
    sign_with: Option<String>,
    /// The builder's identity in the statement.
    #[arg(long, value_name = "URI", requires = "attest")]
    builder_id: Option<String>,
    /// Compare two images that exist, without building.
    #[arg(long, num_args = 2, value_names = ["IMAGE", "IMAGE"], conflicts_with = "image")]
    compare: Vec<Location>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: ImageArguments,
}

pub fn run(arguments: &RebuildArguments) -> Result<ExitCode> {
    if let [first, second] = arguments.compare.as_slice() {
        return explain::run(arguments, first, second);
    }
    let location = arguments.image.as_ref().context("no image is given")?;
    let signer = attach::open_signer(arguments.sign_key.as_deref(), arguments.sign_with.as_deref())?;
    if arguments.attest {
        ensure!(signer.is_some(), "--attest signs the statement with --sign-key or --sign-with; give one");
        ensure!(
            location.registry_host().is_some(),
            "--attest: {location} is not in a registry; give docker://HOST/NAME"
        );
    }
    let options = arguments.source.source.options(&[location])?;
    let opened = arguments.source.source.open_with(location, location, &options)?;
    let image = opened.image(arguments.source.platform.as_ref())?;
    let claim = arguments.key.as_ref().map(|key| read_claim(location, &image, key, &options)).transpose()?;
    let pinned = pinned(arguments, location, claim.as_ref())?;

    let flake = Evaluated::parse(&pinned.flake, pinned.has_commit, !arguments.full)?;
    let nix = Nix::create(!arguments.full)?.isolated(!flake.is_own());
    let version = nix.version()?;
    let derivation = evaluate(&flake, &pinned)?;
    if let Some(message) = claim.as_ref().and_then(|claim| other_derivation(claim, &derivation)) {
        note!("{message}");
    }
    let (rebuilt, origins, system) = origins::build(&nix, &derivation, arguments.full)?;
    let differences = differences::find(&image, claim.as_ref(), &rebuilt)?;
    let source = ImageSource { flake: pinned.flake, attribute: pinned.attribute, derivation };
    let is_reproduced = differences.is_empty();
    print::rebuilt(location, &image, &source, &origins, &differences, arguments.json)?;
    if !is_reproduced {
        return Ok(ExitCode::FAILURE);
    }
    if let Some(signer) = &signer {
        let builder = BuilderIdentity {
            id: arguments.builder_id.clone(),
            strata: env!("CARGO_PKG_VERSION").to_owned(),
            nix: version,
        };
        let id = image.config_descriptor().digest;
        let rebuild = Rebuild::reproduced(source, system, id, origins, builder);
        attest(location, &image, &rebuild, signer, &options)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the flake to evaluate: that which the user named, at the version of the provenance.
fn pinned(arguments: &RebuildArguments, location: &Location, claim: Option<&BuildClaim>) -> Result<Pinned> {
    let claimed = claim.map(claimed).transpose()?;
    let Some(flake) = &arguments.flake else {
        match claimed {
            Some(NamedFlake { source, .. }) => bail!(
                "the provenance of {location} is about the flake {source}; evaluating it runs its expressions: name it with --flake {source}"
            ),
            None => bail!(
                "{location}: which flake is it from? Name it with --flake FLAKE#ATTRIBUTE, and the commit with --revision"
            ),
        }
    };
    let mut named = NamedFlake::parse("--flake", flake)?;
    if let Some(revision) = &arguments.revision {
        named.revision = Some(named::check_commit("--revision", revision)?);
    }
    let pinned = match claimed {
        Some(claimed) => named.with_claim(&claimed)?.pinned()?,
        None => named.pinned()?,
    };
    ensure!(
        pinned.has_commit || !arguments.attest,
        "--attest: {} has no commit, so that the statement would name a source that can change; name a repository of git",
        pinned.flake
    );
    Ok(pinned)
}

/// Returns the derivation of the image.
fn evaluate(flake: &Evaluated, pinned: &Pinned) -> Result<StorePath> {
    let name = format!("{}#{}", pinned.flake, pinned.attribute);
    let text = flake.derivation(&pinned.flake, &pinned.attribute);
    let text = text.with_context(|| format!("evaluating {name} failed"))?;
    let path = StorePath::parse(&text).ok().filter(|path| path.name().ends_with(".drv"));
    path.with_context(|| format!("{name} is not a derivation: {text:?}"))
}

/// Returns a message if the provenance names another derivation.
fn other_derivation(claim: &BuildClaim, derivation: &StorePath) -> Option<String> {
    let claimed = claim.derivation.as_deref().filter(|claimed| *claimed != derivation.as_str())?;
    // The text is not trusted.
    let claimed = terminal::line(claimed);
    Some(format!("the derivation is {derivation}, not {claimed} as in the provenance"))
}

/// Returns the flake of a provenance.
fn claimed(claim: &BuildClaim) -> Result<NamedFlake> {
    let flake = claim.flake.as_deref().context("the provenance has no flake; omit --key, and name flake and commit")?;
    let mut named = NamedFlake::parse("the flake of the provenance", flake)?;
    if let Some(revision) = &claim.revision {
        named.revision = Some(named::check_commit("the commit of the provenance", revision)?);
    }
    Ok(named)
}

/// Reads the build from the provenance of an image that the key signed.
fn read_claim(location: &Location, image: &Image, key: &std::path::Path, options: &ReadOptions) -> Result<BuildClaim> {
    let key = VerifyingKey::open(key)?;
    let reference = super::trust::reference(location)?;
    let client = Client::for_purpose(Purpose::ReadOriginal, &reference, &options.registry)?;
    let signatures = SignatureReader { client: &client, key: &key, limit: usize::MAX };
    let statements = signatures.statements(&image.digest(), &mut Vec::new())?;
    let is_provenance = |statement: &&Statement| statement.predicate_type == predicate::PROVENANCE;
    let mut claims: Vec<BuildClaim> = Vec::new();
    let mut others = 0;
    for statement in statements.iter().filter(is_provenance) {
        match BuildClaim::from_predicate(&statement.predicate) {
            Some(claim) if claims.contains(&claim) => {}
            Some(claim) => claims.push(claim),
            None => others += 1,
        }
    }
    match claims.len() {
        1 => Ok(claims.remove(0)),
        0 if others > 0 => bail!(
            "{location} has no provenance of strata signed with this key, but {others} of other tools; omit --key, and name flake and commit"
        ),
        0 => bail!(
            "{location} has no provenance signed with this key; strata copy --provenance --sign-key FILE attaches one"
        ),
        count => bail!(
            "{location} has {count} different provenances signed with this key; omit --key, and name flake and commit"
        ),
    }
}

fn attest(location: &Location, image: &Image, rebuild: &Rebuild, signer: &Signer, options: &ReadOptions) -> Result<()> {
    let reference: Reference = super::trust::reference(location)?;
    let client = Client::for_purpose(Purpose::Write, &reference, &options.registry)?;
    let subject = Descriptor::new(&image.media_type, image.digest(), image.manifest.len() as u64);
    let name = format!("{}/{}", reference.host, reference.repository);
    let statement = Statement::new(&name, &subject.digest, predicate::REBUILD, rebuild.to_value());
    let registry = AttachmentTarget { client: &client, reference: &reference, signer: Some(signer) };
    registry.attest(&subject, &statement).with_context(|| format!("attaching the statement to {}", subject.digest))?;
    note!("{}: statement attached", subject.digest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivations_of_provenances_are_printed_in_one_line() {
        let derivation = StorePath::parse(&format!("/nix/store/{}-x.drv", "a".repeat(32))).unwrap();
        let claim = |text: &str| BuildClaim { derivation: Some(text.to_owned()), ..BuildClaim::default() };
        assert_eq!(other_derivation(&claim(derivation.as_str()), &derivation), None);
        let message = other_derivation(&claim("x\nreproduced: y\u{1b}[2J"), &derivation).unwrap();
        assert!(message.contains("reproduced: y") && !message.chars().any(char::is_control), "{message:?}");
    }

    #[test]
    fn statements_name_a_commit() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let pin = |extra: &[&str]| {
            let command = RebuildArguments::augment_args(clap::Command::new("rebuild"));
            let matches = command.try_get_matches_from([&["rebuild", "docker://h/x:1"], extra].concat()).unwrap();
            let arguments = <RebuildArguments as clap::FromArgMatches>::from_arg_matches(&matches).unwrap();
            pinned(&arguments, arguments.image.as_ref().unwrap(), None)
        };
        let repository = format!("github:o/r/{commit}#i");
        for flake in ["path:/x#i", "https://h/x.tar.gz#i", "tarball+file:///x.tar#i"] {
            assert!(!pin(&["--flake", flake]).unwrap().has_commit);
            let error = pin(&["--flake", flake, "--attest"]).unwrap_err().to_string();
            assert!(error.contains("has no commit, so that the statement"), "{error}");
        }
        assert!(pin(&["--flake", &repository, "--attest"]).unwrap().has_commit);
    }
}
