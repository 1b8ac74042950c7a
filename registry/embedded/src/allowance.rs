//! How much work and memory one call may take: the registry serves all clients on one thread, and keep-alives of leases
//! must not be late.

use etcd_client::proto::PbKeyValue;

use crate::refusal::Refusal;

/// The largest answer, in bytes, as [`Allowance::answer`] counts them.
pub(crate) const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a key takes in an answer beside its own bytes and those of its value, in bytes.
const RECORD_OVERHEAD: usize = 100;
/// How many steps one call may take: to look at a key is one. All of them take about a tenth of a second.
const MOST_STEPS: usize = 1_000_000;
/// To write or delete a key counts as so many steps, and so does to sort a key among others.
const STEPS_OF_A_WRITE: usize = 10;
/// A value of so many bytes is compared in one step.
const COMPARED_IN_A_STEP: usize = 1024;

/// How many keys one call may delete; and how many one lease may have, since they are deleted together when it ends.
pub(crate) const MOST_WRITES: usize = MOST_STEPS / STEPS_OF_A_WRITE;

/// What a call may still take. A call that needs more is refused before anything is copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// The bytes that the answer may have, and those that are left of them.
    most_bytes: usize,
    bytes: usize,
    /// The steps that are left; none: there is no bound.
    steps: Option<usize>,
}

impl Allowance {
    /// For a guest's call, whose answer may have so many bytes.
    pub(crate) fn of_a_guest(bytes: usize) -> Self {
        Self { most_bytes: bytes, bytes, steps: Some(MOST_STEPS) }
    }

    /// For the gateway's own calls, without a bound on steps: it lists by pages, and as in etcd each page counts all
    /// keys that follow.
    pub(crate) fn of_the_gateway() -> Self {
        Self { most_bytes: MOST_BYTES, bytes: MOST_BYTES, steps: None }
    }

    /// A key is looked at.
    pub(crate) fn look(&mut self) -> Result<(), Refusal> {
        self.step(1)
    }

    /// So many bytes are compared.
    pub(crate) fn compare(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.step(bytes / COMPARED_IN_A_STEP)
    }

    /// A key is written, or deleted.
    pub(crate) fn write(&mut self) -> Result<(), Refusal> {
        self.step(STEPS_OF_A_WRITE)
    }

    /// So many keys are sorted, by values that have so many bytes in all. Each is compared about as often as the
    /// number of keys can be halved.
    pub(crate) fn sort(&mut self, keys: usize, bytes: usize) -> Result<(), Refusal> {
        self.step(keys.saturating_mul(STEPS_OF_A_WRITE))?;
        let times = keys.checked_ilog2().map_or(0, |halvings| halvings as usize + 1);
        self.compare(bytes.saturating_mul(times))
    }

    /// The answer has this key and value.
    pub(crate) fn answer(&mut self, record: &PbKeyValue) -> Result<(), Refusal> {
        self.answer_bytes(record.key.len() + record.value.len())
    }

    /// The answer has this key.
    pub(crate) fn answer_key(&mut self, key: &[u8]) -> Result<(), Refusal> {
        self.answer_bytes(key.len())
    }

    /// What the answer takes so far, in bytes.
    pub(crate) fn answered(&self) -> usize {
        self.most_bytes - self.bytes
    }

    fn answer_bytes(&mut self, bytes: usize) -> Result<(), Refusal> {
        let left = self.bytes.checked_sub(bytes + RECORD_OVERHEAD);
        self.bytes = left.ok_or(Refusal::AnswerTooLarge)?;
        Ok(())
    }

    fn step(&mut self, steps: usize) -> Result<(), Refusal> {
        if let Some(left) = &mut self.steps {
            *left = left.checked_sub(steps).ok_or(Refusal::TooMuchAtOnce)?;
        }
        Ok(())
    }
}
