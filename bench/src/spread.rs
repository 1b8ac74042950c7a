//! Values of several rounds, shown as median [min - max].

use std::fmt;

use harness::quantile::quantile;

/// One value per round, of the rounds that have one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spread {
    ascending: Vec<f64>,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut ascending: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        ascending.sort_by(f64::total_cmp);
        Self { ascending }
    }

    /// Of one value over the other, round by round. A round in which one of both is missing has no ratio.
    pub(crate) fn of_ratios(values: &[Option<f64>], beside: &[Option<f64>]) -> Self {
        Self::of(values.iter().zip(beside).filter_map(|pair| match pair {
            (Some(value), Some(beside)) => Some(value / beside),
            _ => None,
        }))
    }

    /// None without values.
    pub(crate) fn median(&self) -> Option<f64> {
        quantile(&self.ascending, 0.5)
    }

    pub(crate) fn least(&self) -> Option<f64> {
        self.ascending.first().copied()
    }

    pub(crate) fn most(&self) -> Option<f64> {
        self.ascending.last().copied()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(median), Some(least), Some(most)) = (self.median(), self.least(), self.most()) else {
            return formatter.write_str("-");
        };
        // Counts.
        let is_whole = self.ascending.iter().all(|value| value.fract() == 0.0);
        let shown = |value: f64| if is_whole { with_commas(value as i64) } else { number(value) };
        formatter.write_str(&shown(median))?;
        match self.ascending.len() {
            1 => Ok(()),
            _ => write!(formatter, " [{} - {}]", shown(least), shown(most)),
        }
    }
}

/// Three digits that say something, and commas between thousands.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 99.95 {
        return with_commas(value.round() as i64);
    }
    let decimals = if size >= 9.995 { 1 } else { 2 };
    format!("{value:.decimals$}")
}

fn with_commas(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_before_the_least_and_the_most() {
        assert_eq!(Spread::of([3.1, 1.0, 2.0]).to_string(), "2.00 [1.00 - 3.10]");
        assert_eq!(Spread::of([5.5]).to_string(), "5.50");
        assert_eq!(Spread::of([2000.0, 0.0, 10.0]).to_string(), "10 [0 - 2,000]", "counts");
        assert_eq!(Spread::of([]).to_string(), "-");
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        assert_eq!(Spread::of([f64::NAN, 1.0, f64::INFINITY]), Spread::of([1.0]));
    }

    #[test]
    fn ratios_are_taken_round_by_round_and_not_of_medians() {
        let ratios = Spread::of_ratios(&[Some(10.0), Some(40.0), None], &[Some(20.0), Some(20.0), Some(1.0)]);
        assert_eq!((ratios.least(), ratios.most()), (Some(0.5), Some(2.0)));
        assert_eq!(Spread::of_ratios(&[Some(1.0)], &[Some(0.0)]).median(), None);
        assert_eq!(Spread::of_ratios(&[Some(1.0)], &[None]).median(), None);
    }

    #[test]
    fn numbers_have_three_digits_or_all_there_are() {
        for (value, text) in [
            (0.0, "0.00"),
            (0.756, "0.76"),
            (9.994, "9.99"),
            (9.996, "10.0"),
            (13.74, "13.7"),
            (99.94, "99.9"),
            (99.96, "100"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-12_345.0, "-12,345"),
            (-0.5, "-0.50"),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
    }
}
