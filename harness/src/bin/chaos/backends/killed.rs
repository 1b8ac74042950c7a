//! One of the goods is killed. Its lease keeps it in the registry for some seconds.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use harness::process::Signal;
use tokio::time::sleep;

use super::{PATIENCE, calm, gets_and_posts, names, stack};
use crate::{
    access_log::{self, Request},
    context::Context,
    measured::{Measured, bound},
};

/// How long after its first refusal requests may still be sent to it.
const GOAL: Duration = Duration::from_millis(100);
/// Half of the default `ejection/base` and `ejection/longest`: jitter takes off a quarter, and the log has the
/// end of a request, not that of its attempt.
const SHORTEST_EJECTION: Duration = Duration::from_millis(250);
const LONGEST_EJECTION: Duration = Duration::from_secs(2);
const KILLED: &str = "goods-1";

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = stack(context).await?;
    let [gets, posts] = gets_and_posts(&stack.gateway, context).map(|load| load.start());
    calm(&gets, context).await?;
    stack.goods[0].process().signal(Signal::SIGKILL)?;
    stack.goods[0].wait_exit(PATIENCE).await?;
    context.say(format_args!("{KILLED} is dead"));
    let names = names(context);
    let others: Vec<_> = names.iter().map(String::as_str).filter(|&name| name != KILLED).collect();
    stack.gateway.wait_instances("goods", &others).await?;
    context.say("its lease has run out");
    sleep(context.scale.calm).await;
    let (gets, posts) = (gets.stop().await, posts.stop().await);
    stack.gateway.stop(PATIENCE).await?;

    ensure!(gets.instance(KILLED) > 0, "it did not serve before: {:?}", gets.by_instance);
    measured.none_failed_of("GETs", &gets)?;
    let requests = access_log::requests(stack.gateway.process())?;
    let in_flight = requests.iter().filter(|request| was_cut_off(request)).count() as u64;
    let failed = posts.failed + posts.refused;
    measured.note(format_args!("{failed} of {} POSTs failed, {in_flight} were in flight on it", posts.sent));
    ensure!(failed <= in_flight, "{failed} POSTs failed: {:?}", posts.errors);
    check_attempts(&requests, measured)
}

/// Whether it is a POST that failed because it had been sent.
fn was_cut_off(request: &Request) -> bool {
    let cut_off =
        request.failed.iter().any(|attempt| attempt.instance == KILLED && attempt.reason != "refused");
    cut_off && request.method == "POST" && request.status >= 500
}

/// An attempt after [`GOAL`] is a trial if the ejection before it can have ended; each is longer than the last.
fn check_attempts(requests: &[Request], measured: &mut Measured) -> Result<()> {
    let mut attempts: Vec<_> = refusals(requests).collect();
    attempts.sort_unstable();
    let first = *attempts.first().context("no request was refused: nothing is shown")?;
    let (mut trials, mut late) = (0, Vec::new());
    let mut shortest = SHORTEST_EJECTION;
    for pair in attempts.windows(2) {
        let (after_last, after_first) = (pair[1].duration_since(pair[0])?, pair[1].duration_since(first)?);
        if after_last >= shortest {
            trials += 1;
            shortest = (2 * shortest).min(LONGEST_EJECTION);
        } else if after_first > GOAL {
            late.push(after_first);
        }
    }
    let verdict = if late.is_empty() { "" } else { " (goal MISSED)" };
    measured.note(format_args!(
        "later than {GOAL:?} after the first refusal: {} attempts and {trials} trials{verdict}",
        late.len()
    ));
    let too_late = late.iter().filter(|&&after_first| after_first > bound(GOAL)).count();
    ensure!(too_late == 0, "{too_late} attempts later than {:?}: {late:?}", bound(GOAL));
    Ok(())
}

/// When those requests ended of which the killed one refused an attempt.
fn refusals(requests: &[Request]) -> impl Iterator<Item = SystemTime> {
    let refused = |request: &&Request| {
        request.failed.iter().any(|attempt| attempt.instance == KILLED && attempt.reason == "refused")
    };
    requests.iter().filter(refused).map(|request| request.ended)
}
