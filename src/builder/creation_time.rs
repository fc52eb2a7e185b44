//! Creation times of images: a fixed time, or the current time.

use std::{
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::oci::{ParseTimestampError, Timestamp};

/// `now`, or a time as defined by RFC 3339.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum CreationTime {
    /// The time at which [`CreationTime::time`] is called.
    Now,
    At(Timestamp),
}

impl FromStr for CreationTime {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "now" { Ok(Self::Now) } else { text.parse().map(Self::At) }
    }
}

impl TryFrom<String> for CreationTime {
    type Error = ParseTimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl CreationTime {
    /// Returns the time.
    ///
    /// # Errors
    ///
    /// If the clock is before 1970.
    pub fn time(self) -> Result<Timestamp> {
        match self {
            Self::At(time) => Ok(time),
            Self::Now => Timestamp::from_unix(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
                .context("the clock is out of range"),
        }
    }
}
