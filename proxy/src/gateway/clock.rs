//! The date that answers have.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::fmt_http_date;

/// A date as HTTP writes it (RFC 9110, 5.6.7), written once a second.
#[derive(Debug)]
pub(super) struct Clock(Mutex<(u64, Date)>);

/// `Sun, 06 Nov 1994 08:49:37 GMT`
pub(super) type Date = [u8; 29];

impl Clock {
    pub(super) fn new() -> Self {
        Self(Mutex::new((0, written(0))))
    }

    pub(super) fn date(&self, now: SystemTime) -> Date {
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != second {
            *last = (second, written(second));
        }
        last.1
    }
}

fn written(second: u64) -> Date {
    let text = fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    text.as_bytes().try_into().unwrap_or([b' '; 29])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_that_of_its_second() {
        let clock = Clock::new();
        let date = |millis| clock.date(UNIX_EPOCH + Duration::from_millis(millis));
        assert_eq!(&date(784_111_777_000), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&date(784_111_777_999), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&date(784_111_778_000), b"Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(&date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
