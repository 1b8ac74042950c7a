//! Which of the routes of one host takes a path.

use std::collections::BTreeMap;

use crate::config::{Expression, Match, Part, PathPattern, PathRank, Rank, below};

/// The routes of one host, by their paths. Each is known by its place in the file.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Sorted by their texts: most hosts have a handful, which a search finds sooner than a hash.
    nodes: Vec<Node>,
    /// In the order in which they are tried.
    expressions: Vec<(Expression, usize)>,
    /// Those that name no path.
    any: Vec<usize>,
}

/// The routes of one text. (The root's, as a prefix, is empty.) Each list is in the order in which they are tried.
#[derive(Debug, Default)]
struct Node {
    text: Box<str>,
    /// The longest other text that this one begins with, be it within a segment.
    parent: Option<usize>,
    /// Those that take this path alone.
    exact: Vec<usize>,
    /// Those that take what names a service below it.
    services: Vec<usize>,
    /// Those that take it and all below it.
    whole: Vec<usize>,
}

impl Paths {
    /// `ranks`: the places of the host's routes, in their order. `routes`: what all routes take.
    pub(super) fn new(ranks: &[Rank<'_>], routes: &[&Match]) -> Self {
        let mut paths = Self::default();
        let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
        for rank in ranks {
            let list = match rank.path {
                PathRank::Exact(text) => &mut nodes.entry(text).or_default().exact,
                PathRank::Prefix(_, Part::Service, text) => &mut nodes.entry(text).or_default().services,
                PathRank::Prefix(_, Part::Whole, text) => &mut nodes.entry(text).or_default().whole,
                PathRank::Regex => {
                    if let Some(PathPattern::Regex(expression)) = routes.get(rank.number).map(|m| &m.path) {
                        paths.expressions.push((expression.clone(), rank.number));
                    }
                    continue;
                }
                PathRank::Any => &mut paths.any,
            };
            list.push(rank.number);
        }
        for (text, node) in nodes {
            let parent = paths.last_that_begins(text);
            paths.nodes.push(Node { text: text.into(), parent, ..node });
        }
        paths
    }

    /// The longest text so far that this one, which is to follow, begins with: all of these are the last one or above it.
    fn last_that_begins(&self, text: &str) -> Option<usize> {
        let mut at = self.nodes.len().checked_sub(1);
        while let Some(node) = at.and_then(|at| self.nodes.get(at)) {
            if text.starts_with(&*node.text) {
                break;
            }
            at = node.parent;
        }
        at
    }

    /// The first that takes the path and of which all else holds, too.
    pub(super) fn find(&self, path: &str, holds: impl Fn(usize) -> bool) -> Option<usize> {
        let first = |routes: &[usize]| routes.iter().copied().find(|number| holds(*number));
        // The last text that is not behind the path: each with which the path begins is this one or above it.
        let mut at = self.nodes.partition_point(|node| *node.text <= *path).checked_sub(1);
        let last = at.and_then(|at| self.nodes.get(at)).filter(|node| *node.text == *path);
        if let Some(found) = last.and_then(|node| first(&node.exact)) {
            return Some(found);
        }
        while let Some(node) = at.and_then(|at| self.nodes.get(at)) {
            if below(&node.text, path).is_some()
                && let Some(found) = first(&node.services).or_else(|| first(&node.whole))
            {
                return Some(found);
            }
            at = node.parent;
        }
        let mut expressions = self.expressions.iter().filter(|(takes, _)| takes.takes(path.as_bytes()));
        let found = expressions.find(|(_, number)| holds(*number)).map(|(_, number)| *number);
        found.or_else(|| first(&self.any))
    }
}
