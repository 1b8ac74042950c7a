//! The date that answers have, and the time that lines of the log have.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use httpdate::fmt_http_date;
use humantime::format_rfc3339_micros;

/// The time as text, which is written once a second.
#[derive(Debug)]
pub(super) struct Clock(Mutex<(u64, Written)>);

/// A second.
#[derive(Debug, Clone, Copy)]
struct Written {
    date: Date,
    stamp: Stamp,
}

/// As HTTP writes it (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`
pub(super) type Date = [u8; 29];
/// As lines of the log have it (RFC 3339), to the microsecond: `1994-11-06T08:49:37.000000Z`
pub(super) type Stamp = [u8; 27];

impl Clock {
    pub(super) fn new() -> Self {
        Self(Mutex::new((0, Written::of(0))))
    }

    pub(super) fn date(&self, now: SystemTime) -> Date {
        self.written(since_epoch(now).as_secs()).date
    }

    pub(super) fn stamp(&self, now: SystemTime) -> Stamp {
        let now = since_epoch(now);
        let mut stamp = self.written(now.as_secs()).stamp;
        let mut micros = now.subsec_micros();
        for digit in stamp.iter_mut().rev().skip(1).take(6) {
            *digit = b'0' + (micros % 10) as u8;
            micros /= 10;
        }
        stamp
    }

    fn written(&self, second: u64) -> Written {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != second {
            *last = (second, Written::of(second));
        }
        last.1
    }
}

impl Written {
    fn of(second: u64) -> Self {
        let time = UNIX_EPOCH + Duration::from_secs(second);
        let (date, stamp) = (fmt_http_date(time), format_rfc3339_micros(time).to_string());
        Self {
            date: date.as_bytes().try_into().unwrap_or([b' '; 29]),
            stamp: stamp.as_bytes().try_into().unwrap_or([b' '; 27]),
        }
    }
}

fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
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

    #[test]
    fn a_stamp_is_that_of_its_microsecond() {
        let clock = Clock::new();
        for micros in [784_111_777_000_000, 784_111_777_000_001, 784_111_777_999_999, 784_111_778_120_030, 0]
        {
            let time = UNIX_EPOCH + Duration::from_micros(micros);
            let expected = format_rfc3339_micros(time).to_string();
            assert_eq!(std::str::from_utf8(&clock.stamp(time)), Ok(&*expected));
        }
    }
}
