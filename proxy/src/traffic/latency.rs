//! How long an endpoint takes to its first byte: usually, and at its worst of late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A sample of this age counts 1/e of a new one.
const TIME_CONSTANT: f64 = 10.0;

/// The most that one sample weighs, however long nothing came before it: after a pause, one odd answer
/// must not stand for all.
const HEAVIEST: f64 = 0.05;

/// The least that a sample weighs which is shorter than the peak: a few dozen of them bring the peak down, however fast
/// they come. If samples weighed by time alone, the peak of a busy endpoint would be the worst of some thousand
/// answers, and such a one every endpoint has. And after a moment in which the gateway itself stood still, all
/// endpoints would look equally slow for seconds, so that those that really are slow could not be told from the others.
const REFUTED: f64 = 1.0 / 16.0;

/// The weight of the first sample, which has no time before it. Low, so that the slow first answer of a
/// cold instance is soon outweighed.
const FIRST: f64 = 0.001;

/// A sample counts as at most so many times what was usual before it...
const OUTLIER: f64 = 10.0;

/// ...but up to this many seconds it always counts as it is.
const NEVER_OUTLIER: f64 = 1.0;

/// Seconds; a longer sample counts as this. No attempt lasts so long.
const LONGEST: f64 = 86_400.0;

/// The times to the first byte over the last ten seconds or so, weighted by time.
///
/// [`usual`](Self::usual) is a mean that a single sample moves little: the requests that a stopped process
/// answers when it goes on must not make its next stop look usual. It starts from nothing, without a bias
/// towards its first samples (as Adam's moments do: the mean is divided by the weight it has gathered).
///
/// [`peak`](Self::peak) is Finagle's peak EWMA (`PeakEwma.scala`; linkerd and tower have it too): a longer
/// time counts at once and wholly, shorter ones bring it down slowly. Balance is to leave a slow endpoint at
/// the first sign, and to come back with care. Unlike there, a shorter one has a least weight.
///
/// Readers and writers are lock-free; [`record`](Self::record) is four atomic writes. All are relaxed: each
/// number stands for itself.
#[derive(Debug)]
pub struct Latency {
    origin: Instant,
    /// When the last sample came, in nanoseconds since `origin`.
    sampled: AtomicU64,
    /// When the youngest of the requests that were answered was sent, likewise; 0: none was answered.
    youngest: AtomicU64,
    /// A [`Mean`]'s bits.
    mean: AtomicU64,
    /// Seconds, as an `f64`'s bits; not a number before the first sample.
    peak: AtomicU64,
}

impl Latency {
    /// One without a sample. `origin` is any moment before the first.
    pub(crate) fn new(origin: Instant) -> Self {
        let (mean, peak) = (Mean::default().to_bits(), f64::NAN.to_bits());
        Self {
            origin,
            sampled: AtomicU64::new(0),
            youngest: AtomicU64::new(0),
            mean: mean.into(),
            peak: peak.into(),
        }
    }

    /// Takes the time that a request waited for the first byte of its answer; `now` is when it came.
    ///
    /// Samples of one nanosecond share the weight of the first of them.
    pub fn record(&self, waited: Duration, now: Instant) {
        let now = self.since_origin(now);
        let sent = now.saturating_sub(u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
        self.youngest.fetch_max(sent, Ordering::Relaxed);
        let before = self.sampled.fetch_max(now, Ordering::Relaxed);
        let recency = recency(now.saturating_sub(before));
        let waited = waited.as_secs_f64().min(LONGEST);
        let weight = recency.min(HEAVIEST);
        update(&self.mean, |bits| Mean::from_bits(bits).with(waited, weight).to_bits());
        update(&self.peak, |bits| peak(f64::from_bits(bits), waited, recency).to_bits());
    }

    /// The mean; none before the first sample.
    pub(crate) fn usual(&self) -> Option<Duration> {
        let mean = Mean::from_bits(self.mean.load(Ordering::Relaxed));
        (mean.weight > 0.0).then(|| Duration::from_secs_f32(mean.seconds))
    }

    /// When the youngest of the requests that were answered was sent; none before the first sample. A request that was
    /// sent before that and still waits has been overtaken.
    pub(crate) fn youngest(&self) -> Option<Instant> {
        let nanos = self.youngest.load(Ordering::Relaxed);
        (nanos > 0).then(|| self.origin + Duration::from_nanos(nanos))
    }

    /// The peak in seconds; none before the first sample. It decays to 0 while no samples come, so that an endpoint
    /// that was slow is tried again some time.
    pub(crate) fn peak(&self, now: Instant) -> Option<f64> {
        let peak = f64::from_bits(self.peak.load(Ordering::Relaxed));
        let silence = self.since_origin(now).saturating_sub(self.sampled.load(Ordering::Relaxed));
        (!peak.is_nan()).then(|| peak * (1.0 - recency(silence)))
    }

    /// Nanoseconds.
    fn since_origin(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What a sample weighs, from 0 to 1, if it comes so many nanoseconds after the one before.
fn recency(nanoseconds: u64) -> f64 {
    -(-Duration::from_nanos(nanoseconds).as_secs_f64() / TIME_CONSTANT).exp_m1()
}

fn peak(peak: f64, sample: f64, recency: f64) -> f64 {
    if peak >= sample { peak + (sample - peak) * recency.max(REFUTED) } else { sample }
}

fn update(number: &AtomicU64, change: impl Fn(u64) -> u64) {
    // An `Err` is impossible: the change is never declined.
    let _ = number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some(change(bits)));
}

/// Both halves fit an atomic, so that they change together.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    seconds: f32,
    /// What the samples weigh together: from 0, none, up to 1.
    weight: f32,
}

impl Mean {
    fn with(self, sample: f64, weight: f64) -> Self {
        let (mean, gathered) = (f64::from(self.seconds), f64::from(self.weight));
        if gathered == 0.0 {
            return Self { seconds: sample as f32, weight: FIRST as f32 };
        }
        let sample = sample.min((mean * OUTLIER).max(NEVER_OUTLIER));
        let gathered = gathered * (1.0 - weight) + weight;
        Self { seconds: (mean + (sample - mean) * weight / gathered) as f32, weight: gathered as f32 }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.seconds.to_bits()) << 32 | u64::from(self.weight.to_bits())
    }

    fn from_bits(bits: u64) -> Self {
        Self { seconds: f32::from_bits((bits >> 32) as u32), weight: f32::from_bits(bits as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Meeting;
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// Samples of `waited`, one each `gap`.
    fn run(latency: &Latency, now: &mut Instant, waited: Duration, gap: Duration, samples: u32) {
        for _ in 0..samples {
            *now += gap;
            latency.record(waited, *now);
        }
    }

    fn usual(latency: &Latency) -> Duration {
        latency.usual().expect("a sample came")
    }

    #[test]
    fn nothing_is_usual_before_the_first_sample() {
        let now = Instant::now();
        let latency = Latency::new(now);
        assert_eq!(latency.usual(), None);
        latency.record(20 * MS, now);
        assert_eq!(usual(&latency).as_millis(), 20);
    }

    #[test]
    fn a_lasting_change_is_followed_by_its_time_constant() {
        let mut now = Instant::now();
        let latency = Latency::new(now);
        run(&latency, &mut now, 100 * MS, 10 * MS, 10_000);
        assert_eq!(usual(&latency).as_millis(), 100);
        run(&latency, &mut now, 200 * MS, 10 * MS, 1_000);
        // 100 + 100 (1 - 1/e)
        assert!((160..=166).contains(&usual(&latency).as_millis()), "{:?}", usual(&latency));
    }

    #[test]
    fn the_rate_of_samples_does_not_matter() {
        let means = [10_u32, 100, 10_000].map(|rate| {
            let mut now = Instant::now();
            let latency = Latency::new(now);
            run(&latency, &mut now, 100 * MS, SECOND / rate, 60 * rate);
            run(&latency, &mut now, 200 * MS, SECOND / rate, 5 * rate);
            usual(&latency).as_secs_f64()
        });
        assert!(means.iter().all(|mean| (mean - means[0]).abs() < 0.002), "{means:?}");
    }

    #[test]
    fn a_slow_first_answer_is_soon_outweighed() {
        let mut now = Instant::now();
        let latency = Latency::new(now);
        latency.record(2 * SECOND, now);
        run(&latency, &mut now, 5 * MS, 10 * MS, 100);
        assert!(usual(&latency) < 50 * MS, "{:?}", usual(&latency));
    }

    #[test]
    fn answers_after_a_pause_do_not_make_the_next_pause_usual() {
        let mut now = Instant::now();
        let latency = Latency::new(now);
        run(&latency, &mut now, 5 * MS, 20 * MS, 1_000);
        now += 60 * SECOND;
        for _ in 0..50 {
            now += MS / 100;
            latency.record(60 * SECOND, now);
        }
        assert!(usual(&latency) < 150 * MS, "{:?}", usual(&latency));
    }

    #[test]
    fn a_service_that_is_slow_from_now_on_is_believed() {
        let mut now = Instant::now();
        let latency = Latency::new(now);
        run(&latency, &mut now, 5 * MS, 20 * MS, 1_000);
        run(&latency, &mut now, 5 * SECOND, SECOND, 60);
        assert!(usual(&latency) > 4 * SECOND, "{:?}", usual(&latency));
    }

    #[test]
    fn a_peak_counts_at_once_and_a_few_dozen_shorter_samples_refute_it() {
        let start = Instant::now();
        let latency = Latency::new(start);
        assert_eq!(latency.peak(start), None);
        let mut now = start;
        run(&latency, &mut now, 5 * MS, 20 * MS, 100);
        assert_near(latency.peak(now), 0.005);
        run(&latency, &mut now, 50 * MS, 20 * MS, 1);
        assert_near(latency.peak(now), 0.05);
        run(&latency, &mut now, 5 * MS, MS, 32);
        assert_near(latency.peak(now), 0.005 + 0.045 * (1.0 - REFUTED).powi(32));
    }

    #[test]
    fn the_longer_nothing_came_the_more_a_shorter_sample_weighs_against_a_peak() {
        let start = Instant::now();
        let latency = Latency::new(start);
        latency.record(50 * MS, start);
        latency.record(5 * MS, start + 10 * SECOND);
        assert_near(latency.peak(start + 10 * SECOND), 0.005 + 0.045 / std::f64::consts::E);
    }

    #[test]
    fn without_samples_a_peak_decays_to_nothing() {
        let start = Instant::now();
        let latency = Latency::new(start);
        latency.record(50 * MS, start);
        assert_near(latency.peak(start + 10 * SECOND), 0.05 / std::f64::consts::E);
        assert!(latency.peak(start + 1_000_000 * SECOND).is_some_and(|peak| peak < 1e-9));
    }

    fn assert_near(peak: Option<f64>, expected: f64) {
        assert!(peak.is_some_and(|peak| (peak - expected).abs() < 1e-6), "{peak:?} is not {expected}");
    }

    #[test]
    fn the_youngest_request_that_was_answered_is_not_the_last_one_whose_answer_came() {
        let origin = Instant::now();
        let latency = Latency::new(origin);
        assert_eq!(latency.youngest(), None);
        latency.record(20 * MS, origin + SECOND);
        latency.record(900 * MS, origin + 2 * SECOND - 200 * MS);
        assert_eq!(latency.youngest(), Some(origin + SECOND - 20 * MS));
        latency.record(900 * MS, origin + 2 * SECOND);
        assert_eq!(latency.youngest(), Some(origin + 2 * SECOND - 900 * MS));
    }

    #[test]
    fn a_gap_between_samples_counts_once_when_two_threads_end_it() {
        const STEPS: u32 = 2_000;
        let origin = Instant::now();
        let latency = Latency::new(origin);
        latency.record(100 * MS, origin);
        let meeting = Meeting::default();
        let record = || {
            for step in 1..=STEPS {
                meeting.meet(step);
                latency.record(100 * MS, origin + step * MS);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(record);
            scope.spawn(record);
        });
        let span = f64::from(STEPS) / 1e3;
        let expected = 1.0 - (1.0 - FIRST) * (-span / TIME_CONSTANT).exp();
        let gathered = f64::from(Mean::from_bits(latency.mean.load(Ordering::Relaxed)).weight);
        // Half of what a single gap weighs, counted twice or lost.
        assert!((gathered - expected).abs() < 0.00004, "{gathered} instead of {expected}");
    }

    proptest! {
        #[test]
        fn the_mean_stays_between_the_least_and_the_greatest_sample(
            samples in prop::collection::vec((0_u64..100_000, 0_u64..20_000_000), 1..200),
        ) {
            let mut now = Instant::now();
            let latency = Latency::new(now);
            for (waited, gap) in &samples {
                now += Duration::from_micros(*gap);
                latency.record(Duration::from_millis(*waited), now);
            }
            let bounds = samples.iter().map(|(waited, _)| *waited as f64 / 1e3);
            let least = bounds.clone().fold(f64::INFINITY, f64::min);
            let greatest = bounds.fold(0.0, f64::max);
            let mean = usual(&latency).as_secs_f64();
            prop_assert!(mean >= least * 0.9999 && mean <= greatest * 1.0001, "{least} {mean} {greatest}");
        }

        #[test]
        fn the_peak_is_never_below_the_last_sample_nor_above_the_greatest(
            samples in prop::collection::vec((0_u64..100_000, 0_u64..20_000_000), 1..200),
        ) {
            let mut now = Instant::now();
            let latency = Latency::new(now);
            let mut greatest = 0.0_f64;
            for (waited, gap) in samples {
                now += Duration::from_micros(gap);
                let waited = Duration::from_millis(waited);
                latency.record(waited, now);
                greatest = greatest.max(waited.as_secs_f64());
                let peak = latency.peak(now).expect("a sample came");
                prop_assert!(peak >= waited.as_secs_f64() * 0.9999 && peak <= greatest * 1.0001, "{peak}");
            }
        }

        #[test]
        fn extremes_neither_panic_nor_poison_it(waited in prop::collection::vec(any::<u64>(), 0..20)) {
            let now = Instant::now();
            let latency = Latency::new(now + SECOND);
            for seconds in waited {
                latency.record(Duration::from_secs(seconds), now);
                prop_assert!(latency.usual().is_some());
                prop_assert!(latency.peak(now).is_some_and(f64::is_finite));
            }
            latency.record(MS, now + 3600 * SECOND);
            prop_assert!(latency.usual().is_some());
        }
    }
}
