//! What is counted under names, and for as long as somebody counts under them.

use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What is counted under one name.
pub(crate) trait Counts: Sized {
    /// What those of all names are made of.
    type Common: Debug;

    fn new(name: &str, common: &Self::Common) -> Self;

    /// The last who counted under this name is gone. Called while the list is locked: one of the same name is made only
    /// afterwards.
    fn gone(name: &str, common: &Self::Common);
}

/// What is counted under a name. It is there for as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct Named<T: Counts> {
    name: Arc<str>,
    counts: T,
    /// The list of all, from which it removes itself when it is dropped.
    of: Arc<Counted<T>>,
}

impl<T: Counts> Named<T> {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl<T: Counts> Deref for Named<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counts
    }
}

impl<T: Counts> Drop for Named<T> {
    fn drop(&mut self) {
        self.of.forget(&self.name);
    }
}

/// The names under which somebody counts.
#[derive(Debug)]
pub(super) struct Counted<T: Counts> {
    names: Mutex<Names<T>>,
    common: T::Common,
}

type Names<T> = HashMap<Arc<str>, Weak<Named<T>>>;

impl<T: Counts> Counted<T> {
    pub(super) fn new(common: T::Common) -> Arc<Self> {
        Arc::new(Self { names: Mutex::default(), common })
    }

    /// The one object that counts under a name, which is made if nobody holds it.
    pub(super) fn of(this: &Arc<Self>, name: &Arc<str>) -> Arc<Named<T>> {
        let mut names = this.lock();
        if let Some(living) = names.get(name).and_then(Weak::upgrade) {
            return living;
        }
        // If the former one is just being dropped, and has not removed itself yet, it finds that it was replaced.
        this.remove(&mut names, name);
        let counts = T::new(name, &this.common);
        let named = Arc::new(Named { name: name.clone(), counts, of: this.clone() });
        names.insert(name.clone(), Arc::downgrade(&named));
        named
    }

    /// None: nobody counts under this name.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Named<T>>> {
        self.lock().get(name).and_then(Weak::upgrade)
    }

    /// For one that is being dropped.
    fn forget(&self, name: &str) {
        let mut names = self.lock();
        let is_replaced = names.get(name).is_some_and(|named| named.strong_count() > 0);
        if !is_replaced {
            self.remove(&mut names, name);
        }
    }

    fn remove(&self, names: &mut Names<T>, name: &str) {
        if names.remove(name).is_some() {
            T::gone(name, &self.common);
        }
    }

    /// All of them. They are returned rather than visited under the lock, which is taken when one of them is dropped.
    pub(super) fn living(&self) -> Vec<Arc<Named<T>>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Names<T>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
