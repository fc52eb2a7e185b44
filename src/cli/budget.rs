//! `strata budget IMAGE FILE`: exits with 1 if the image exceeds its budget.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::source::ImageArguments;
use crate::terminal;
use crate::{
    files,
    report::{
        budget::{self, Budgets, SizeReport},
        bytes,
    },
    transport::Location,
};
use anyhow::{Context, Result, bail};

#[derive(Debug, clap::Args)]
pub struct BudgetArguments {
    /// Any source of `copy`; packages are checked only for an image.json.
    image: Location,
    /// The budget file: JSON, sizes of images and packages in bytes.
    #[arg(value_name = "FILE")]
    budgets: PathBuf,
    /// Write the image's current sizes to FILE.
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    source: ImageArguments,
}

pub fn run(arguments: &BudgetArguments) -> Result<ExitCode> {
    let path = &arguments.budgets;
    let image = arguments.source.image(&arguments.image)?;
    let (name, sizes) = (budget::name(&image), SizeReport::measure(&image));
    // Another process may update the file at the same time.
    let lock = || files::lock_directory(files::directory(path)).with_context(|| format!("locking {}", path.display()));
    let _lock = arguments.update.then(lock).transpose()?;
    let mut budgets = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && arguments.update => Budgets::default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{} does not exist; --update creates it", path.display())
        }
        read => {
            let text = read.with_context(|| format!("reading {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} contains no budgets", path.display()))?
        }
    };
    if arguments.update {
        budgets.images.insert(name.to_owned(), sizes);
        let text = format!("{:#}\n", serde_json::to_value(&budgets)?);
        files::save(path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(allowed) = budgets.images.get(name) else {
        bail!("{} has no budget for {name}; --update adds it", path.display())
    };
    let excess = sizes.excess(allowed);
    let mut out = terminal::stdout();
    if excess.is_empty() {
        writeln!(out, "{name}: {}, within its budget of {}", bytes(sizes.size), bytes(allowed.size))?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in excess {
        writeln!(out, "{name}: {line}")?;
    }
    Ok(ExitCode::FAILURE)
}
