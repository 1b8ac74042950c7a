//! Values of several rounds, shown as median [min - max].

use std::{fmt, time::Duration};

use harness::quantile::quantile;

/// One value per round.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    sorted: Vec<f64>,
    unit: &'static str,
}

impl Spread {
    /// Values of this unit, which is printed as it stands after the number.
    pub(crate) fn of(unit: &'static str, values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted, unit }
    }

    pub(crate) fn of_times(times: impl IntoIterator<Item = Duration>) -> Self {
        Self::of(" ms", times.into_iter().map(|time| time.as_secs_f64() * 1000.0))
    }

    /// NaN without values: it compares false with every bound.
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.sorted, 0.5).unwrap_or(f64::NAN)
    }

    /// As text, with whether the median is at most `goal`.
    pub(crate) fn against(&self, goal: f64) -> String {
        let verdict = if self.median() <= goal { "met" } else { "MISSED" };
        format!("{self}   (goal: at most {goal}{}: {verdict})", self.unit)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(least), Some(most)) = (self.sorted.first(), self.sorted.last()) else {
            return formatter.write_str("nothing was measured");
        };
        let (median, unit) = (self.median(), self.unit);
        write!(formatter, "{median:.2}{unit} [{least:.2} - {most:.2}]")
    }
}
