//! Retries: temporary errors are retried after growing delays, other errors are returned at once.

use std::{
    hash::{BuildHasher, RandomState},
    thread,
    time::{Duration, SystemTime},
};

use super::HttpError;

/// The longest delay before a retry, also if the server requests a longer one.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The approximate delay after the first failure. It doubles with each further failure.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The number of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The maximum number of attempts, at least 1.
    pub tries: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self { tries: 5 }
    }
}

impl Retry {
    /// Repeats `attempt` until it succeeds or fails with a permanent error.
    ///
    /// # Errors
    ///
    /// The error of the last attempt.
    pub fn run<T, E>(self, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E>
    where
        for<'a> &'a E: Into<Option<&'a HttpError>>,
    {
        for failed in 1..self.tries {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(error) => match (&error).into().and_then(HttpError::passes_after) {
                    Some(least) => wait(failed, least),
                    None => return Err(error),
                },
            }
        }
        attempt()
    }
}

/// Waits after the `failed`th failure in a row: twice as long each time, or as long as the server requests.
pub fn wait(failed: u32, least: Duration) {
    thread::sleep(pause(failed, least, RandomState::new().hash_one(failed)));
}

/// Returns a random delay between half of the delay and all of it, so that clients that failed together do not retry
/// together.
fn pause(failed: u32, least: Duration, random: u64) -> Duration {
    let whole = FIRST_WAIT * (1 << failed.clamp(1, 9).saturating_sub(1));
    let part = (random % 1024) as u32;
    let jittered = whole / 2 + whole / 2 * part / 1024;
    jittered.max(least).min(LONGEST_WAIT)
}

/// Parses `Retry-After`: seconds, or a date ([RFC 9110,
/// 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(httpdate::parse_http_date(value.trim()).ok()?.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        for failed in 1..6 {
            let (least, most) = (pause(failed, Duration::ZERO, 0), pause(failed, Duration::ZERO, 1023));
            assert!(least < most, "{failed}");
            assert!(most <= pause(failed + 1, Duration::ZERO, 0) + Duration::from_millis(1), "{failed}");
        }
        assert_eq!(pause(30, Duration::ZERO, 1023).min(LONGEST_WAIT), pause(9, Duration::ZERO, 1023));
        assert_eq!(pause(1, Duration::from_secs(7), 0), Duration::from_secs(7));
        assert_eq!(pause(1, Duration::from_secs(7000), 0), LONGEST_WAIT);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:28:30 GMT", now), Some(Duration::from_secs(30)));
        // A date in the past means no delay.
        assert_eq!(parse_retry_after("Wed, 21 Oct 2015 07:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("soon", now), None);
    }
}
