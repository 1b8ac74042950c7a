//! What etcd does, case by case, asserted of real etcds and of the embedded registry alike.

mod cluster;
mod encoding;
mod kv;
mod lease;
mod malformed;
mod txn;
mod watch;

use std::{panic::AssertUnwindSafe, pin::Pin};

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, Error, GetOptions, KeyValue, ResponseHeader};
use futures_util::FutureExt;
use tokio::{join, time::timeout};
use tonic::{Code, transport::Channel};

use crate::{
    raw,
    subject::{PATIENCE, Release, Subject},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_registry_does_what_real_etcds_do() -> Result<()> {
    // Side by side: most of it is waiting for leases to end.
    let outcomes = join!(check(Release::Embedded), check(Release::V3_4), check(Release::V3_5));
    let outcomes = [outcomes.0, outcomes.1, outcomes.2].into_iter();
    let failures: Vec<_> = outcomes.filter_map(|outcome| Some(format!("{:#}", outcome.err()?))).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// What a case has: a registry, and keys of its own in it.
struct Scene {
    release: Release,
    client: Client,
    channel: Channel,
    prefix: String,
}

type Case = for<'a> fn(&'a mut Scene) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// The cases by name.
macro_rules! cases {
    ($($module:ident: $($case:ident),+ $(,)?;)+) => {
        &[$($((
            concat!(stringify!($module), "::", stringify!($case)),
            (|scene| Box::pin($module::$case(scene))) as Case,
        ),)+)+]
    };
}

const CASES: &[(&str, Case)] = cases! {
    kv:
        a_put_counts_revisions_and_versions,
        a_deleted_key_starts_anew,
        a_range_is_one_key_or_a_stretch_or_all_that_follow,
        a_limit_says_whether_there_is_more_and_how_many_in_all,
        keys_only_and_count_only_leave_the_rest_out,
        ranges_are_sorted_as_asked,
        a_limit_without_an_order_cuts_before_it_sorts,
        filters_on_revisions_leave_the_count_alone,
        a_past_revision_is_read_as_it_was,
        a_put_says_what_was_there,
        a_put_may_keep_the_value_or_the_lease,
        a_delete_says_how_many_and_what_they_were,
        what_is_compacted_or_to_come_cannot_be_read;
    txn:
        every_target_is_compared_in_every_way,
        a_missing_key_compares_as_zero_but_for_its_value,
        a_comparison_of_a_range_holds_for_all_of_it,
        a_side_runs_in_order_and_sees_its_own_writes,
        comparisons_come_before_every_write,
        a_transaction_is_one_revision_and_an_idle_one_none,
        what_cannot_be_done_undoes_all,
        headers_within_carry_a_revision_alone;
    lease:
        an_id_is_taken_or_chosen,
        a_ttl_has_bounds,
        a_revoked_lease_takes_its_keys_in_one_revision,
        an_expired_lease_takes_its_keys_in_one_revision,
        keeping_alive_postpones_the_end,
        what_is_gone_has_no_time_to_live,
        a_key_hangs_on_its_last_lease,
        leases_are_listed;
    watch:
        it_tells_what_comes_in_order,
        it_tells_of_the_past_first,
        what_is_caught_up_comes_a_thousand_revisions_at_a_time,
        a_large_past_comes_in_fragments,
        it_filters_and_says_what_was_there,
        a_transaction_comes_at_once_and_in_its_order,
        what_is_deleted_and_put_at_once_was_nothing_before,
        a_compacted_start_is_created_then_cancelled,
        a_start_in_the_future_waits_for_it,
        ids_are_counted_or_given,
        a_cancelled_watch_is_silent,
        progress_is_told_when_asked,
        an_empty_range_cannot_be_watched,
        a_negative_start_is_no_start,
        no_key_watches_from_the_first,
        many_watches_of_a_stream_hear_the_same,
        a_large_answer_comes_in_fragments,
        a_client_that_asks_no_more_still_hears;
    malformed:
        keys_must_be_given,
        put_must_not_contradict_itself,
        a_transaction_has_at_most_128_operations,
        a_key_is_written_once_in_a_transaction,
        what_may_overlap_in_a_transaction,
        what_no_client_sends_is_survived,
        the_largest_write_is_a_mebibyte_and_a_half,
        a_message_has_a_size,
        what_is_unknown_is_named,
        authentication_is_off,
        a_made_up_token_is_refused,
        a_watch_with_a_made_up_token_is_cancelled;
    encoding:
        gzip_is_answered_with_gzip_and_nothing_else_is,
        a_compressed_message_has_a_size,
        another_encoding_is_refused;
    cluster:
        it_is_one_healthy_member,
        it_says_that_it_serves;
};

/// All cases, one after another: some count revisions.
async fn check(release: Release) -> Result<()> {
    let subject = Subject::start(release).await.with_context(|| format!("starting {release:?}"))?;
    let mut failures = Vec::new();
    for (name, case) in CASES {
        let prefix = format!("{name}/");
        let (client, channel) = (subject.client().await?, subject.channel().await?);
        let mut scene = Scene { release, client, channel, prefix };
        // One that fails its assertion must not keep the others from being tried.
        let outcome = timeout(PATIENCE, AssertUnwindSafe(case(&mut scene)).catch_unwind()).await;
        match outcome {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => failures.push(format!("{name}: {error:#}")),
            Ok(Err(_)) => failures.push(format!("{name}: an assertion, see above")),
            Err(_) => failures.push(format!("{name}: it takes too long")),
        }
    }
    if !failures.is_empty() {
        bail!("{release:?}: {} of {} cases fail:\n{}", failures.len(), CASES.len(), failures.join("\n"));
    }
    println!("{release:?}: {} cases", CASES.len());
    Ok(())
}

impl Scene {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn put(&mut self, name: &str, value: &str) -> Result<i64> {
        revision(self.client.put(self.key(name), value, None).await?.header())
    }

    async fn put_all(&mut self, names: &[&str]) -> Result<Vec<i64>> {
        let mut revisions = Vec::new();
        for name in names {
            revisions.push(self.put(name, name).await?);
        }
        Ok(revisions)
    }

    async fn delete(&mut self, name: &str) -> Result<i64> {
        revision(self.client.delete(self.key(name), None).await?.header())
    }

    async fn get(&mut self, name: &str) -> Result<Option<KeyValue>> {
        Ok(self.client.get(self.key(name), None).await?.take_kvs().pop())
    }

    /// The names that a range finds, without the scene's prefix.
    async fn names(&mut self, name: &str, options: GetOptions) -> Result<Vec<String>> {
        let found = self.client.get(self.key(name), Some(options)).await?;
        found.kvs().iter().map(|kv| self.name(kv)).collect()
    }

    fn name(&self, kv: &KeyValue) -> Result<String> {
        let key = kv.key_str()?;
        Ok(key.strip_prefix(&self.prefix).with_context(|| format!("{key} is another case's"))?.to_owned())
    }

    async fn revision(&mut self) -> Result<i64> {
        revision(self.client.get("none", None).await?.header())
    }
}

fn revision(header: Option<&ResponseHeader>) -> Result<i64> {
    Ok(header.context("no header")?.revision())
}

/// Code and text of a refusal.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Error>) -> (Code, String) {
    match answer {
        Err(Error::GRpcStatus(status)) => raw::refusal(&status),
        other => panic!("expected a refusal, not {other:?}"),
    }
}

fn invalid(text: &str) -> (Code, String) {
    (Code::InvalidArgument, format!("etcdserver: {text}"))
}
