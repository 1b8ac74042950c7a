//! An outline of a configuration's keys, from which its documents are written.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::key::Key;
use crate::kind::{Kind, List};
use crate::visitor::Visitor;

/// What there is at one level, in the order of the declarations.
#[derive(Debug, Default)]
pub struct Outline {
    pub(crate) entries: Vec<Entry>,
    is_fixed: bool,
}

#[derive(Debug)]
pub(crate) enum Entry {
    /// A title.
    Heading(&'static str),
    /// A sentence.
    Aside(&'static str),
    /// A key with a value.
    Leaf(Leaf),
    /// A key with keys below it.
    Branch(Branch),
}

#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) key: Key,
    /// As it is written in a file.
    pub(crate) default: Option<String>,
    pub(crate) schema: Json,
    pub(crate) takes: String,
    pub(crate) is_fixed: bool,
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) key: Key,
    pub(crate) form: Form,
    pub(crate) below: Vec<Entry>,
    pub(crate) is_fixed: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It is always there, also if the file does not have it.
    Section,
    /// It is there only if the file has it.
    Optional,
    /// It can be `off`. Whether it is on if the file does not have it.
    OrOff { on: bool },
    /// A list of such.
    List,
    /// A list of such, or of values of the first of their keys: how such a list is described.
    ListBy { schema: Json, takes: String },
    /// Each has a name.
    Named,
}

impl Outline {
    fn branch(&mut self, key: Key, form: Form, keys: impl FnOnce(&mut Self)) {
        let is_fixed = self.is_fixed || key.fixed;
        let mut below = Self { is_fixed, ..Self::default() };
        keys(&mut below);
        self.entries.push(Entry::Branch(Branch { key, form, below: below.entries, is_fixed }));
    }

    fn leaf<N, K: Kind<N>>(&mut self, key: Key, kind: &K, default: Option<String>) {
        let is_without = key.required.is_some() || key.default.is_some();
        let leaf = Leaf {
            key,
            default: default.filter(|_| !is_without),
            schema: kind.schema(),
            takes: kind.takes(),
            is_fixed: self.is_fixed || key.fixed,
        };
        self.entries.push(Entry::Leaf(leaf));
    }
}

impl<N> Visitor<N> for Outline {
    fn key<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut K::Value) {
        let default = kind.show(slot);
        self.leaf(key, &kind, Some(default));
    }

    fn optional<K: Kind<N>>(&mut self, key: Key, kind: K, slot: &mut Option<K::Value>) {
        let default = slot.as_ref().map(|value| kind.show(value));
        self.leaf(key, &kind, default);
    }

    fn section(&mut self, key: Key, keys: impl FnOnce(&mut Self)) {
        self.branch(key, Form::Section, keys);
    }

    fn optional_section<T>(
        &mut self,
        key: Key,
        _slot: &mut Option<T>,
        new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    ) {
        self.branch(key, Form::Optional, |below| keys(&mut new(), below));
    }

    fn section_or_off<T>(
        &mut self,
        key: Key,
        slot: &mut Option<T>,
        new: impl FnOnce() -> T,
        keys: impl FnOnce(&mut T, &mut Self),
    ) {
        let on = slot.is_some();
        self.branch(key, Form::OrOff { on }, |below| keys(slot.get_or_insert_with(new), below));
    }

    fn list<T>(
        &mut self,
        key: Key,
        _slot: &mut Vec<T>,
        new: impl Fn() -> T,
        mut keys: impl FnMut(&mut T, &mut Self),
    ) {
        self.branch(key, Form::List, |below| keys(&mut new(), below));
    }

    fn list_by<T, K: Kind<N>>(
        &mut self,
        key: Key,
        (by, plain): (Key, List<K>),
        _slot: &mut Vec<T>,
        place: impl Fn(&mut T) -> &mut K::Value,
        new: impl Fn() -> T,
        mut keys: impl FnMut(&mut T, &mut Self),
    ) {
        let mut item = new();
        let default = plain.item().show(place(&mut item));
        let form = Form::ListBy { schema: plain.schema(), takes: plain.takes() };
        self.branch(key, form, |below| {
            below.leaf(by, plain.item(), Some(default));
            keys(&mut item, below);
        });
    }

    fn named<T>(
        &mut self,
        key: Key,
        _slot: &mut BTreeMap<String, T>,
        new: impl Fn() -> T,
        mut keys: impl FnMut(&str, &mut T, &mut Self),
    ) {
        self.branch(key, Form::Named, |below| keys("NAME", &mut new(), below));
    }

    fn heading(&mut self, text: &'static str) {
        self.entries.push(Entry::Heading(text));
    }

    fn aside(&mut self, text: &'static str) {
        self.entries.push(Entry::Aside(text));
    }
}
