//! A real etcd and an embedded registry that go through the same operations.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::{time::timeout, try_join};

use super::{
    operation::{KEYS, Operation, Watch},
    side::{Line, Side},
};
use crate::subject::Release;

/// Bounds one sequence.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Pair {
    embedded: Line,
    etcd: Line,
    /// How many sequences there were: each has keys and leases of its own.
    sequences: u32,
    /// How far both are compacted, in etcd's revisions.
    compacted: i64,
}

/// One sequence.
struct Sequence<'a> {
    embedded: Side,
    etcd: Side,
    compacted: &'a mut i64,
    watches: Vec<Living>,
    /// The watches that began too far back: they hear nothing, but are there.
    compacted_watches: Vec<i64>,
}

/// A watch that hears.
struct Living {
    id: i64,
    watch: Watch,
    /// In etcd's revisions; 0 is whatever comes.
    start: i64,
}

impl Pair {
    pub async fn start(release: Release) -> Result<Self> {
        let (embedded, etcd) = try_join!(Line::to(Release::Embedded), Line::to(release))?;
        let mut pair = Self { embedded, etcd, sequences: 0, compacted: 0 };
        // A past that both have, and that both have compacted.
        let mut sequence = pair.sequence().await?;
        for _ in 0..10 {
            sequence.settle().await?;
        }
        sequence.perform(&Operation::Compact { revision: 0 }).await?;
        Ok(pair)
    }

    /// Goes through a sequence of operations; an error is a difference.
    pub async fn compare(&mut self, operations: &[Operation]) -> Result<()> {
        let compared = async {
            let mut sequence = self.sequence().await?;
            for (n, operation) in operations.iter().enumerate() {
                let performed = sequence.perform(operation).await;
                performed.with_context(|| format!("operation {n}, {operation:?}"))?;
            }
            sequence.finish().await.context("at the end")
        };
        timeout(PATIENCE, compared).await.context("one of them is silent")?
    }

    async fn sequence(&mut self) -> Result<Sequence<'_>> {
        self.sequences += 1;
        let (embedded, etcd) =
            try_join!(Side::open(&self.embedded, self.sequences), Side::open(&self.etcd, self.sequences))?;
        Ok(Sequence {
            embedded,
            etcd,
            compacted: &mut self.compacted,
            watches: Vec::new(),
            compacted_watches: Vec::new(),
        })
    }
}

impl Sequence<'_> {
    async fn perform(&mut self, operation: &Operation) -> Result<()> {
        match operation {
            Operation::Watch(watch) => self.watch(watch).await,
            Operation::Cancel { watch } => self.cancel(*watch).await,
            Operation::Compact { revision } => {
                // What a real etcd has not told yet when it compacts is told or not, by chance.
                self.settle().await?;
                let target = self.etcd.newest() + revision;
                if self.both(operation).await? {
                    *self.compacted = target;
                }
                Ok(())
            }
            other => self.both(other).await.map(drop),
        }
    }

    /// Everybody hears of everything, then what was heard is compared.
    async fn finish(mut self) -> Result<()> {
        self.settle().await?;
        for id in self.embedded.heard().keys().chain(self.etcd.heard().keys()) {
            let (embedded, etcd) = (self.embedded.heard().get(id), self.etcd.heard().get(id));
            ensure!(embedded == etcd, "watch {id} heard {embedded:#?}\nand of etcd {etcd:#?}");
        }
        try_join!(self.embedded.close(), self.etcd.close())?;
        Ok(())
    }

    /// Whether it was done rather than refused.
    async fn both(&mut self, operation: &Operation) -> Result<bool> {
        let (embedded, etcd) = try_join!(self.embedded.perform(operation), self.etcd.perform(operation))?;
        ensure!(embedded == etcd, "the embedded registry answers {embedded:#?}\nand etcd {etcd:#?}");
        Ok(etcd.is_ok())
    }

    async fn watch(&mut self, watch: &Watch) -> Result<()> {
        let mut watch = watch.clone();
        if watch.start.is_some_and(|start| self.etcd.newest() + start == *self.compacted) {
            // Of a deletion at the very revision that is compacted, only newer releases tell.
            watch.start = watch.start.map(|start| start + 1);
        }
        let start = watch.start.map_or(0, |start| self.etcd.newest() + start);
        let (embedded, etcd) = try_join!(self.embedded.watch(&watch), self.etcd.watch(&watch))?;
        ensure!(embedded == etcd, "a watch is answered {embedded:?}, and by etcd {etcd:?}");
        if etcd.is_cancelled {
            return Ok(());
        }
        if start != 0 && start < *self.compacted {
            let (embedded, etcd) = try_join!(self.embedded.control(), self.etcd.control())?;
            ensure!(embedded == etcd, "a compacted start is answered {embedded:?}, and by etcd {etcd:?}");
            self.compacted_watches.push(etcd.id);
            return Ok(());
        }
        self.watches.push(Living { id: etcd.id, watch, start });
        Ok(())
    }

    async fn cancel(&mut self, id: i64) -> Result<()> {
        let hears = self.watches.iter().any(|living| living.id == id);
        if hears {
            // What was not told yet may be told or not.
            self.settle().await?;
        }
        try_join!(self.embedded.cancel(id), self.etcd.cancel(id))?;
        if hears || self.compacted_watches.contains(&id) {
            let (embedded, etcd) = try_join!(self.embedded.control(), self.etcd.control())?;
            ensure!(embedded == etcd, "a cancel is answered {embedded:?}, and by etcd {etcd:?}");
            self.watches.retain(|living| living.id != id);
            self.compacted_watches.retain(|compacted| *compacted != id);
        }
        Ok(())
    }

    /// Puts and deletes every key, and waits until every watch has heard of it.
    async fn settle(&mut self) -> Result<()> {
        try_join!(self.embedded.put_all(), self.etcd.put_all())?;
        let put = self.etcd.newest();
        try_join!(self.embedded.delete_all(), self.etcd.delete_all())?;
        let offset = self.embedded.newest() - self.etcd.newest();
        for living in &self.watches {
            let last = match living.watch.hears() {
                (_, true) => put + 1,
                (true, false) => put,
                (false, false) => continue,
            };
            if last < living.start || !(0..KEYS).any(|key| living.watch.span.contains(key)) {
                continue;
            }
            let heard = try_join!(
                self.embedded.hear_through(living.id, last + offset),
                self.etcd.hear_through(living.id, last)
            );
            heard.with_context(|| format!("watch {} waits for its last event", living.id))?;
        }
        Ok(())
    }
}
