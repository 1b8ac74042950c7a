//! What was measured: by case, by proxy, by round.

use serde_json::{Value, json};

use crate::{
    case::{Case, Cases, Column, Measure, Scale},
    machine::Machine,
    measure::Figures,
    peer::{CONTROL, HTTP2_CONTROL, Missing, SECOND_CONTROL},
    spread::Spread,
};

/// A proxy that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) duties: &'static str,
    pub(crate) cases: Cases,
}

/// All figures of a run.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) machine: Machine,
    pub(crate) scale: Scale,
    pub(crate) cases: Vec<Case>,
    pub(crate) proxies: Vec<Proxy>,
    /// Those that are not there, and why.
    pub(crate) missing: Vec<Missing>,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
    rounds: Vec<Round>,
}

/// One case of one proxy in one round.
#[derive(Debug)]
struct Round {
    case: Case,
    proxy: &'static str,
    round: usize,
    figures: Figures,
}

impl Results {
    pub(crate) fn new(machine: Machine, scale: Scale, cases: Vec<Case>) -> Self {
        Self {
            machine,
            scale,
            cases,
            proxies: Vec::new(),
            missing: Vec::new(),
            failures: Vec::new(),
            rounds: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, case: Case, proxy: &'static str, round: usize, figures: Figures) {
        self.rounds.push(Round { case, proxy, round, figures });
    }

    /// A value per round; none of a round that failed.
    fn values(&self, case: Case, proxy: &str, measure: Measure) -> Vec<Option<f64>> {
        let value = |round: usize| {
            let is_it = |found: &&Round| found.case == case && found.proxy == proxy && found.round == round;
            let found = self.rounds.iter().find(is_it)?;
            found.figures.iter().find(|(name, _)| *name == measure).map(|(_, value)| *value)
        };
        (0..self.scale.rounds).map(value).collect()
    }

    /// Those that are measured in this case.
    pub(crate) fn proxies_in(&self, case: Case) -> impl Iterator<Item = &Proxy> {
        self.proxies.iter().filter(move |proxy| proxy.cases.has(case))
    }

    /// What a column of a table shows of a proxy.
    pub(crate) fn spread(&self, case: Case, proxy: &str, column: Column) -> Spread {
        let beside = |measure, control| {
            Spread::of_ratios(&self.values(case, proxy, measure), &self.values(case, control, measure))
        };
        match column {
            Column::Of(measure) => Spread::of(self.values(case, proxy, measure).into_iter().flatten()),
            Column::Beside(measure) => beside(measure, CONTROL),
            Column::BesideHaproxy(measure) => beside(measure, SECOND_CONTROL),
            Column::BesideEnvoy(measure) => beside(measure, HTTP2_CONTROL),
        }
    }

    /// As JSON: every value of every round, and null for those that failed.
    pub(crate) fn json(&self) -> Value {
        let proxies = self
            .proxies
            .iter()
            .map(|proxy| json!({ "name": proxy.name, "version": proxy.version, "duties": proxy.duties }));
        let missing = self.missing.iter().map(|(name, why)| json!({ "name": name, "why": why }));
        let cases = self.cases.iter().map(
            |case| json!({ "case": case.name(), "title": case.title(), "proxies": self.case_json(*case) }),
        );
        json!({
            "date": self.machine.date,
            "commit": self.machine.commit,
            "processor": self.machine.processor,
            "kernel": self.machine.kernel,
            "rounds": self.scale.rounds,
            "seconds": self.scale.load.as_secs_f64(),
            "proxies": proxies.collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(),
            "failures": self.failures,
            "cases": cases.collect::<Vec<_>>(),
        })
    }

    fn case_json(&self, case: Case) -> Value {
        let measures = || {
            case.columns().iter().filter_map(|column| match column {
                Column::Of(measure) => Some(*measure),
                Column::Beside(_) | Column::BesideHaproxy(_) | Column::BesideEnvoy(_) => None,
            })
        };
        let proxies = self.proxies_in(case).map(|proxy| {
            let values =
                measures().map(|measure| (measure.name(), self.values(case, proxy.name, measure).into()));
            (proxy.name, Value::from_iter(values.collect::<Vec<(&str, Value)>>()))
        });
        Value::from_iter(proxies.collect::<Vec<_>>())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::case::FULL;

    /// Two rounds of two proxies, of which one failed in the second.
    pub(crate) fn example() -> Results {
        let machine =
            Machine { date: "2026-11-30".to_owned(), commit: "abc & <def>".to_owned(), ..Machine::default() };
        let scale = Scale { rounds: 2, ..FULL };
        let mut results = Results::new(machine, scale, vec![Case::Small, Case::Busy]);
        for (name, version, cases) in [
            ("Leaseway", "0.1.0", Cases::All),
            (CONTROL, "1.22.1", Cases::All),
            ("Envoy", "", Cases::InClear),
            (SECOND_CONTROL, "", Cases::Only(Case::Busy)),
        ] {
            let version = version.to_owned();
            results.proxies.push(Proxy { name, version, duties: "request id", cases });
        }
        results.missing.push(("Caddy", "`tools/setup.sh bench` installs it".to_owned()));
        results.failures.push("Envoy, small, round 2: it ended".to_owned());
        for (proxy, round, user, kernel) in [
            ("Leaseway", 0, 3.0, 12.0),
            (CONTROL, 0, 5.0, 15.0),
            ("Envoy", 0, 40.0, 20.0),
            (CONTROL, 1, 5.0, 20.0),
            ("Leaseway", 1, 3.0, 22.0),
        ] {
            let figures = [(Measure::Cpu, user + kernel), (Measure::User, user), (Measure::Kernel, kernel)];
            results.add(Case::Small, proxy, round, figures.into());
        }
        results
    }

    #[test]
    fn a_figure_is_that_of_its_case_proxy_and_measure() {
        let results = example();
        let spread = |proxy, column| results.spread(Case::Small, proxy, column).to_string();
        assert_eq!(spread("Leaseway", Column::Of(Measure::Cpu)), "15 [15 - 25]");
        assert_eq!(spread("Leaseway", Column::Of(Measure::User)), "3 [3 - 3]");
        assert_eq!(spread("Envoy", Column::Of(Measure::Cpu)), "60");
        assert_eq!(spread("Envoy", Column::Of(Measure::P99)), "-");
        assert_eq!(results.spread(Case::Busy, "Leaseway", Column::Of(Measure::Cpu)).to_string(), "-");
    }

    #[test]
    fn a_ratio_is_that_of_its_round() {
        let ratio = |proxy| example().spread(Case::Small, proxy, Column::Beside(Measure::Cpu)).to_string();
        assert_eq!(ratio("Leaseway"), "0.75 [0.75 - 1.00]");
        assert_eq!(ratio("Envoy"), "3");
        assert_eq!(ratio(CONTROL), "1 [1 - 1]");
        let mut results = example();
        results.add(Case::Small, SECOND_CONTROL, 1, vec![(Measure::Cpu, 50.0)]);
        let second = results.spread(Case::Small, "Leaseway", Column::BesideHaproxy(Measure::Cpu));
        assert_eq!(second.to_string(), "0.50");
    }

    #[test]
    fn the_json_has_every_round_and_null_where_one_failed() {
        let json = example().json();
        assert_eq!(json["rounds"], 2);
        assert_eq!(json["cases"][0]["proxies"]["Envoy"]["cpu_us"], json!([60.0, null]));
        assert_eq!(json["cases"][0]["proxies"][CONTROL]["kernel_us"], json!([15.0, 20.0]));
        assert!(json["cases"][0]["proxies"].get(SECOND_CONTROL).is_none(), "it is not in this case");
        assert!(json["cases"][1]["proxies"].get(SECOND_CONTROL).is_some());
        assert_eq!(json["missing"][0]["name"], "Caddy");
        assert_eq!(json["failures"][0], "Envoy, small, round 2: it ended");
    }
}
