//! How long a call may take, as its client says: `grpc-timeout`.

use std::time::Duration;

/// A field that says no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Malformed;

/// So many digits there may be.
const DIGITS: usize = 8;
/// The letters, and how many nanoseconds each stands for, the finest first.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3_600 * 1_000_000_000),
];

/// How long a call may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Timeout(pub(in crate::gateway) Duration);

impl Timeout {
    /// What the field says. (A time of 0 is over at once: the specification asks for more than that, and servers take it.)
    pub(in crate::gateway) fn of_value(value: &[u8]) -> Result<Self, Malformed> {
        let (unit, digits) = value.split_last().ok_or(Malformed)?;
        if digits.is_empty() || digits.len() > DIGITS {
            return Err(Malformed);
        }
        let (_, nanos) = UNITS.into_iter().find(|(letter, _)| letter == unit).ok_or(Malformed)?;
        let mut number = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(Malformed);
            }
            number = 10 * number + u64::from(digit - b'0');
        }
        // Seconds and what is left of one, as 64 bits hold no nanoseconds of so many hours.
        let in_a_second = 1_000_000_000;
        let time = if nanos >= in_a_second {
            Duration::from_secs(number * (nanos / in_a_second))
        } else {
            Duration::from_nanos(number * nanos)
        };
        Ok(Self(time))
    }

    /// The field that says it: in the finest unit in which it has no more digits than it may, and never less than it is,
    /// so that no instance gives up before the gateway does.
    pub(in crate::gateway) fn value(self) -> String {
        let most = 10_u128.pow(8) - 1;
        let nanos = self.0.as_nanos().max(1);
        let of_unit = |(letter, unit): (u8, u64)| (nanos.div_ceil(unit.into()), char::from(letter));
        let fitting = UNITS.into_iter().map(of_unit).find(|(number, _)| *number <= most);
        let (number, letter) = fitting.unwrap_or((most, 'H'));
        format!("{number}{letter}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_time_is_up_to_eight_digits_and_a_unit() {
        for (value, expected) in [
            ("1n", Duration::from_nanos(1)),
            ("20u", Duration::from_micros(20)),
            ("00000300m", Duration::from_millis(300)),
            ("5S", Duration::from_secs(5)),
            ("2M", Duration::from_secs(120)),
            ("99999999H", Duration::from_secs(99_999_999 * 3_600)),
            ("0S", Duration::ZERO),
        ] {
            assert_eq!(Timeout::of_value(value.as_bytes()), Ok(Timeout(expected)), "{value}");
        }
        for value in
            ["", "S", "5", "5s", "5h", "123456789n", "000000001S", "-1S", "+1S", "1.5S", " 1S", "1 S", "1S "]
        {
            assert_eq!(Timeout::of_value(value.as_bytes()), Err(Malformed), "{value}");
        }
    }

    #[test]
    fn what_is_sent_on_is_in_the_finest_unit_that_holds_it_and_rounded_up() {
        for (time, expected) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_nanos(100_000_001), "100001u"),
            (Duration::from_secs(30), "30000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::new(100, 1), "100001m"),
            (Duration::from_secs(99_999_999 * 3_600), "99999999H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(Timeout(time).value(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_on_is_read_as_no_less_and_hardly_more(seconds in 0_u64..400_000_000, nanos in 0_u32..1_000_000_000) {
            let time = Duration::new(seconds, nanos).max(Duration::from_nanos(1));
            let Timeout(read) = Timeout::of_value(Timeout(time).value().as_bytes()).unwrap();
            prop_assert!(read >= time && read - time <= time / 100_000, "{time:?} as {read:?}");
        }

        #[test]
        fn whatever_stands_there_is_read_or_malformed(value in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(Timeout(time)) = Timeout::of_value(&value) {
                prop_assert!((2..=9).contains(&value.len()) && time <= Duration::from_secs(99_999_999 * 3_600));
            }
        }
    }
}
