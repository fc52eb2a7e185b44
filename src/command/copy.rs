//! `strata copy IMAGE DEST`

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result};
use serde_json::json;
use strata::{
    content::Content,
    layer::compress::Compression,
    sink::{WriteOptions, Written},
    source,
};

use super::progress::Display;
use crate::cli::CopyArguments;

pub fn run(arguments: &CopyArguments) -> Result<ExitCode> {
    let CopyArguments { image, destination, access, .. } = arguments;
    if arguments.all {
        destination.check_holds_index()?;
    }
    let from = arguments.substituters.access(access.source()?)?;
    let opened = image.open(&source::Access { engine: access.source_engine(), ..from })?;
    let content: Content =
        if arguments.all { opened.content()? } else { opened.image(arguments.platform.as_ref())?.into() };
    let display = Display::choose(arguments.quiet, arguments.json);
    let options = WriteOptions {
        additional_tags: arguments.additional_tag.clone(),
        compression: if arguments.preserve_digests { Compression::None } else { arguments.compression.into() },
        level: arguments.compression_level,
        mount_from: arguments.mount_from.clone(),
        cache_from: arguments.cache_from.clone(),
        registry: access.destination()?,
        engine: access.destination_engine(),
        progress: Arc::<Display>::clone(&display),
    };
    let written = destination.write(&content, &options).map_err(anyhow::Error::from_boxed);
    if written.is_err() {
        display.abandon();
    }
    let written = written.with_context(|| format!("copying to {destination}"))?;
    display.finish(written.act);
    report(&written, arguments)?;
    Ok(ExitCode::SUCCESS)
}

/// The digest, or under which name an engine runs it, on stdout; all else on stderr.
fn report(written: &Written, arguments: &CopyArguments) -> Result<()> {
    if arguments.json {
        let copied =
            || json!({ "event": "copied", "destination": arguments.destination.to_string(), "digest": written.digest });
        writeln!(io::stderr(), "{}", written.event.clone().unwrap_or_else(copied))?;
    } else if !arguments.quiet {
        written.says.iter().try_for_each(|line| writeln!(io::stderr(), "{line}"))?;
    }
    if !written.on_stdout {
        match &written.reference {
            Some(reference) => writeln!(io::stdout(), "{reference}")?,
            None => writeln!(io::stdout(), "{}", written.digest)?,
        }
    }
    Ok(())
}
