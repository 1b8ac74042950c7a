//! When what a look has found is taken. Pure.
//!
//! Files may be seen while they are being written, one of two before the other, or while a rollout has removed them for a
//! moment. So what is new, be it that a file cannot be read, is taken only when the next look finds the same.

/// What looks have found.
#[derive(Debug, Clone)]
pub(super) struct Looks<T> {
    /// What was taken last, whatever came of it.
    taken: T,
    /// What the last look has found, where that is something else.
    new: Option<T>,
}

impl<T: PartialEq> Looks<T> {
    pub(super) fn new(taken: T) -> Self {
        Self { taken, new: None }
    }

    /// A look has found this. Whether it is taken.
    pub(super) fn found(&mut self, found: T) -> bool {
        let is_old = found == self.taken;
        let is_confirmed = self.new.as_ref() == Some(&found);
        self.new = if is_old { None } else { Some(found) };
        if is_confirmed && !is_old {
            self.new.take().into_iter().for_each(|new| self.taken = new);
            return true;
        }
        false
    }

    /// Whether the next look may change something though the files have not changed since.
    pub(super) fn is_waiting(&self) -> bool {
        self.new.is_some()
    }

    pub(super) fn taken(&self) -> &T {
        &self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(found: &[&'static str]) -> Vec<bool> {
        let mut looks = Looks::new("old");
        found.iter().map(|found| looks.found(found)).collect()
    }

    #[test]
    fn what_is_new_is_taken_when_two_looks_agree_and_once() {
        assert_eq!(taken(&["old", "new", "new", "new"]), [false, false, true, false]);
        assert_eq!(taken(&["new", "new", "old", "old"]), [false, true, false, true]);
    }

    #[test]
    fn what_is_being_written_is_not_taken() {
        assert_eq!(taken(&["n", "ne", "new", "new"]), [false, false, false, true]);
        assert_eq!(taken(&["n", "old", "n", "old"]), [false; 4]);
    }
}
