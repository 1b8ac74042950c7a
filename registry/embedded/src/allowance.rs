//! What one call may take: the registry serves everybody on one thread, and a lease's keep-alive must not wait.

use etcd_client::proto::PbKeyValue;

use crate::refusal::Refusal;

/// The largest answer, in bytes, as [`Allowance::answer`] counts them.
pub(crate) const MOST_BYTES: usize = 16 * 1024 * 1024;
/// What a key takes in an answer beside its bytes and its value's: its revisions, and what holds them together in
/// memory and in JSON.
const RECORD_OVERHEAD: usize = 100;
/// How many steps one call may take: to look at a key is one. All of them take a machine a tenth of a second.
const MOST_STEPS: usize = 1_000_000;
/// To write or delete a key takes so many steps, and to sort one among others.
const STEPS_OF_A_WRITE: usize = 10;
/// A value of so many bytes is compared in one step.
const COMPARED_IN_A_STEP: usize = 1024;

/// How many keys one call may delete, and one lease may have: they end in one call.
pub(crate) const MOST_WRITES: usize = MOST_STEPS / STEPS_OF_A_WRITE;

/// What a call may still take. Whoever goes beyond it is refused, before anything is copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    /// Of the answer, what was allowed and what is left.
    most_bytes: usize,
    bytes: usize,
    /// None: as many as it takes.
    steps: Option<usize>,
}

impl Allowance {
    /// That of a guest's call, whose answer may have so many bytes.
    pub(crate) fn of_a_guest(bytes: usize) -> Self {
        Self { most_bytes: bytes, bytes, steps: Some(MOST_STEPS) }
    }

    /// That of the gateway's own calls: it lists by pages, and for each page all keys that follow are counted.
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

    /// So many keys are sorted, by what has so many bytes in all: each is compared about as often as the keys can be
    /// halved.
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
