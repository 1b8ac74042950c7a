//! Durations as people write them: a whole number and its unit, `250ms`, `3s`, `1m`, `1h`.

use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Why a text is not a duration. Its text (`Display`) reads on after the text that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number without a unit: only its author knows whether it means seconds or milliseconds.
    #[error("has no unit: write {0}s for seconds, {0}ms for milliseconds")]
    NoUnit(u64),
    /// Anything else that is not a number with a unit.
    #[error("is not a duration: write a whole number and its unit (ms, s, m or h), such as 250ms or 3s")]
    Malformed,
    /// More milliseconds than 64 bits hold.
    #[error("is longer than any duration can be")]
    TooLong,
}

/// Reads a duration.
///
/// # Errors
/// When the text is not a whole number that is directly followed by `ms`, `s`, `m` or `h`.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::Malformed);
    }
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
    if unit.is_empty() {
        return Err(DurationError::NoUnit(number));
    }
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Malformed)?;
    number.checked_mul(*millis).map(Duration::from_millis).ok_or(DurationError::TooLong)
}

/// Writes a duration of whole milliseconds in the largest unit that holds it exactly.
#[must_use]
pub fn show(duration: Duration) -> String {
    let total = duration.as_millis();
    let (unit, millis) = UNITS
        .into_iter()
        .rev()
        .find(|(_, millis)| total > 0 && total.is_multiple_of(u128::from(*millis)))
        .unwrap_or(("s", 1_000));
    format!("{}{unit}", total / u128::from(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_unit_is_read() {
        for (text, millis) in [("250ms", 250), ("3s", 3_000), ("1m", 60_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_bare_number_is_told_which_unit_is_missing() {
        assert_eq!(parse("60"), Err(DurationError::NoUnit(60)));
        assert_eq!(
            DurationError::NoUnit(60).to_string(),
            "has no unit: write 60s for seconds, 60ms for milliseconds"
        );
    }

    #[test]
    fn what_is_not_one_number_with_one_unit_is_refused() {
        for text in
            ["", "s", "3 s", " 3s", "3s ", "1.5s", "-1s", "+1s", "1m30s", "3S", "3sec", "1d", "٣s", "3µs"]
        {
            assert_eq!(parse(text), Err(DurationError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_number_that_overflows_is_an_error() {
        for text in ["99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(parse(text), Err(DurationError::TooLong), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0..=86_400_000_u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse(&text);
        }
    }
}
