//! When a file that is looked at again and again is taken. Pure.
//!
//! A file may be seen while it is being written: what is read then is a part of it, which may even be valid. So what
//! is new is taken only when the next look finds the same. An editor or a rollout may remove the file for a moment: so
//! that it cannot be read is told only when the next look cannot read it either, and then once.

use super::Revision;

/// What the looks have found so far.
#[derive(Debug)]
pub(super) struct Looks {
    /// What was considered last, be it that it serves now or that it was rejected.
    considered: Revision,
    last: Last,
    /// Whether that the file cannot be read is the last that was told.
    told_unreadable: bool,
}

/// What the last look found.
#[derive(Debug, PartialEq, Eq)]
enum Last {
    Considered,
    New(Revision),
    Unreadable,
}

/// What is to be done after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// The content is new and whole, or there again: it is to be considered.
    Consider,
    /// Tell that the file cannot be read.
    TellUnreadable,
}

impl Looks {
    /// `considered`: the content that serves now.
    pub(crate) fn new(considered: Revision) -> Self {
        Self { considered, last: Last::Considered, told_unreadable: false }
    }

    /// A look has found this content; none: the file cannot be read.
    pub(super) fn found(&mut self, content: Option<&Revision>) -> Step {
        let Some(content) = content else {
            let is_news = self.last == Last::Unreadable && !self.told_unreadable;
            self.last = Last::Unreadable;
            self.told_unreadable |= is_news;
            return if is_news { Step::TellUnreadable } else { Step::Rest };
        };
        if *content == self.considered {
            self.last = Last::Considered;
            return if self.told_unreadable { Step::Consider } else { Step::Rest };
        }
        let is_whole = self.last == Last::New(content.clone());
        self.last = Last::New(content.clone());
        if is_whole { Step::Consider } else { Step::Rest }
    }

    /// That the file cannot be read was told, though no look has found it so.
    pub(crate) fn told_unreadable(&mut self) {
        self.told_unreadable = true;
    }

    /// This content was considered, whatever came of it.
    pub(crate) fn considered(&mut self, content: Revision) {
        self.considered = content;
        self.last = Last::Considered;
        self.told_unreadable = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks() -> Looks {
        Looks::new(Revision::of(b"served"))
    }

    /// What the looks come to that find these contents one after the other. What is to be considered is.
    fn steps(contents: &[Option<&str>]) -> Vec<Step> {
        let mut looks = looks();
        let look = |content: &Option<&str>| {
            let content = content.map(|content| Revision::of(content.as_bytes()));
            let step = looks.found(content.as_ref());
            if step == Step::Consider {
                looks.considered(content.unwrap());
            }
            step
        };
        contents.iter().map(look).collect()
    }

    #[test]
    fn what_is_new_is_considered_when_two_looks_agree_and_once() {
        use Step::{Consider, Rest};
        let found = [Some("served"), Some("new"), Some("new"), Some("new"), Some("served"), Some("served")];
        assert_eq!(steps(&found), [Rest, Rest, Consider, Rest, Rest, Consider]);
    }

    #[test]
    fn a_file_that_is_being_written_is_not_considered_until_it_is_whole() {
        use Step::{Consider, Rest};
        let found = [Some("n"), Some("ne"), Some("new"), Some("new")];
        assert_eq!(steps(&found), [Rest, Rest, Rest, Consider]);
        assert_eq!(steps(&[Some("n"), Some("served"), Some("n")]), [Rest; 3]);
    }

    #[test]
    fn a_file_that_is_gone_for_a_moment_is_not_told() {
        assert_eq!(steps(&[None, Some("served"), None, Some("served")]), [Step::Rest; 4]);
    }

    #[test]
    fn a_file_that_stays_away_is_told_once_and_so_is_its_return() {
        use Step::{Consider, Rest, TellUnreadable};
        let found = [None, None, None, None, Some("served"), Some("served"), None, None];
        assert_eq!(steps(&found), [Rest, TellUnreadable, Rest, Rest, Consider, Rest, Rest, TellUnreadable]);
        // Though it is being written in between.
        let found = [None, None, Some("ser"), Some("served"), Some("served")];
        assert_eq!(steps(&found), [Rest, TellUnreadable, Rest, Consider, Rest]);
        let found = [None, None, Some("new"), Some("new")];
        assert_eq!(steps(&found), [Rest, TellUnreadable, Rest, Consider]);
    }
}
