//! A watch that must miss nothing.

use anyhow::{Context, Result, ensure};
use etcd_client::WatchStream;
use tokio::time::timeout;

use crate::subject::PATIENCE;

/// What ends the reading of a watch of `/service/`.
pub const LAST: &str = "/service/~last";

/// How the reading of a watch ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With the put of [`LAST`], at this revision.
    Last(i64),
    /// With the news that everything before this revision is compacted.
    Compacted(i64),
}

/// Reads a watch to its end. Fails if it is not told every revision after `base`.
pub async fn follow(watch: &mut WatchStream, base: i64) -> Result<End> {
    let mut heard = base;
    loop {
        let answer = timeout(PATIENCE, watch.message()).await.context("the stream is silent")??;
        let answer = answer.context("the stream ended")?;
        if answer.canceled() {
            ensure!(heard < answer.compact_revision(), "after {heard}, {answer:?}");
            return Ok(End::Compacted(answer.compact_revision()));
        }
        for kv in answer.events().iter().filter_map(|event| event.kv()) {
            ensure!(kv.mod_revision() == heard + 1, "after {heard} comes {}", kv.mod_revision());
            heard += 1;
            if kv.key() == LAST.as_bytes() {
                return Ok(End::Last(heard));
            }
        }
    }
}
