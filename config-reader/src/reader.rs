//! Collects the mistakes, remarks and notes while a tree is read.
//!
//! What cannot be read is reported and gives `None`, so that reading goes on to the next mistake.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::sync::Arc;

use crate::problem::{KEPT, LISTED, Problem};
use crate::section::Section;
use crate::tree::Node;
use crate::value::Value;

/// Collects mistakes, remarks and notes. `N` is the type of the notes: what is to be checked after reading, such as a
/// file that must be there. Each comes back with the place of its key.
#[derive(Debug)]
pub struct Reader<N> {
    file: Arc<str>,
    /// No more than [`KEPT`], however many there are.
    problems: RefCell<Vec<Problem>>,
    found: Cell<usize>,
    remarks: RefCell<Vec<Problem>>,
    notes: RefCell<Vec<(Place, N)>>,
}

/// A key and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The key with its sections: `gateway.routes[0].path`.
    pub key: String,
    /// From 1.
    pub line: usize,
}

impl<N> Reader<N> {
    /// `file` is the name of the file in all messages.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.into(),
            problems: RefCell::default(),
            found: Cell::default(),
            remarks: RefCell::default(),
            notes: RefCell::default(),
        }
    }

    /// The section that is the whole document. `None` is an empty document; one that has no keys is reported.
    pub fn root<'a>(&'a self, node: Option<&'a Node<'a>>) -> Section<'a, N> {
        let place = Place { key: String::new(), line: 1 };
        match node {
            Some(node) => Value::new(node, place, self).section(),
            None => Section::new(self, place, Some(&[])),
        }
    }

    /// Notes a mistake.
    pub fn reject(&self, place: &Place, message: impl Display) {
        self.reject_with(|| place.clone(), || message);
    }

    /// As [`reject`](Self::reject), where there may be very many: the message is made only if it is kept.
    pub(crate) fn reject_with<M: Display>(&self, place: impl FnOnce() -> Place, message: impl FnOnce() -> M) {
        self.found.set(self.found.get() + 1);
        if self.problems.borrow().len() < KEPT {
            let problem = self.problem(&place(), message());
            self.problems.borrow_mut().push(problem);
        }
    }

    /// How many mistakes were found so far.
    pub(crate) fn found(&self) -> usize {
        self.found.get()
    }

    /// Whether there are so many mistakes that a further one is not listed.
    pub(crate) fn has_many_problems(&self) -> bool {
        self.found.get() >= LISTED
    }

    /// Notes a remark: something that is to be told, but is no mistake.
    pub fn remark(&self, place: &Place, message: impl Display) {
        self.remarks.borrow_mut().push(self.problem(place, message));
    }

    fn problem(&self, place: &Place, message: impl Display) -> Problem {
        Problem {
            file: Arc::clone(&self.file),
            line: place.line,
            key: place.key.clone(),
            message: message.to_string(),
        }
    }

    pub(crate) fn note(&self, place: Place, note: N) {
        self.notes.borrow_mut().push((place, note));
    }

    /// A value that could not be read and was not reported would silently leave the default.
    pub(crate) fn read<'a, T>(
        &self,
        value: Value<'a, N>,
        read: impl FnOnce(Value<'a, N>) -> Option<T>,
    ) -> Option<T> {
        let before = self.found.get();
        let read = read(value);
        debug_assert!(read.is_some() || self.found.get() > before);
        read
    }

    /// What was noted so far, each with its place.
    pub fn notes(&self) -> Vec<(Place, N)>
    where
        N: Clone,
    {
        self.notes.borrow().clone()
    }

    /// All mistakes and all remarks, each in the order of their lines.
    pub fn into_problems_and_remarks(self) -> (Vec<Problem>, Vec<Problem>) {
        let (mut problems, mut remarks) = (self.problems.into_inner(), self.remarks.into_inner());
        problems.sort_by_key(|problem| problem.line);
        remarks.sort_by_key(|remark| remark.line);
        (problems, remarks)
    }
}
