//! Sends a request whose attempt has failed to another endpoint, where [`retry`] decides so.

use std::time::Instant;

use super::attempt::Chosen;
use super::cause::Cause;
use super::choose;
use super::head::Head;
use super::request::Request;
use super::retry::{self, Among, Next, Reach, Replay, Search, Situation, Why};

/// Whether a request goes on to another attempt after one that failed for this reason; it is chosen then.
pub(super) fn goes_on(
    request: &mut Request,
    head: &impl Head,
    (cause, reach): (Cause, Reach),
    replay: Replay,
    now: Instant,
) -> bool {
    let Some(route) = request.route().cloned() else { return false };
    let tries = request.tries(now);
    let mut situation = Situation { cause, reach, replay, tries, search: Search::NotBegun, budget: None };
    let mut chosen = None;
    loop {
        match retry::next(&situation) {
            Next::Choose(among) => {
                if among == Among::OthersAndSame {
                    request.forgive();
                }
                chosen = choose::another(&route, head, &request.client, request.tried(), now).ok();
                situation.search = found(chosen.as_ref(), among);
            }
            Next::AskBudget => situation.budget = Some(route.health.budget.retry(&route.budget, now)),
            Next::Again => {
                let Some(chosen) = chosen else { return false };
                route.metrics.retried(cause.as_str());
                request.goes_to(chosen, retry::wants_new_connection(cause), now);
                return true;
            }
            Next::Answer(why) => {
                if why == Why::Budget {
                    route.metrics.retry_denied();
                }
                return false;
            }
        }
    }
}

fn found(chosen: Option<&Chosen>, among: Among) -> Search {
    chosen.map_or(Search::Nobody(among), |chosen| Search::Found { doubted: chosen.doubted })
}
