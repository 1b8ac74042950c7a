//! One of four goods dies, or leaves, under 500 requests a second.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{
    load::{Load, Outcome},
    process::Signal,
    stack::{GatewayOptions, Goods, Stack},
};
use tokio::time::sleep;

use crate::{Scale, heading, row, spread::Spread};

const PATIENCE: Duration = Duration::from_secs(30);
const ALL: [&str; 4] = ["goods-1", "goods-2", "goods-3", "goods-4"];

pub(crate) async fn show(scale: Scale) -> Result<()> {
    let mut stack = Stack::start(4, &[], GatewayOptions::default().discard_log()).await?;
    for (what, signal, methods) in [
        ("kill -9 of one of four goods, 500 GETs a second", Signal::SIGKILL, Methods::Get),
        (
            "SIGTERM of one of four goods, 250 GETs and 250 POSTs a second",
            Signal::SIGTERM,
            Methods::GetAndPost,
        ),
    ] {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..scale.rounds {
            without.push(calm(&stack, methods, scale).await);
            with.push(departure(&mut stack, signal, methods, scale).await?);
        }
        heading(what);
        show_outcomes("with the fault", &with, &without)?;
    }
    Ok(())
}

/// Prints what became of the rounds with something, which `what` names, and of those without, and fails if any request
/// did.
pub(crate) fn show_outcomes(what: &str, with: &[Outcome], without: &[Outcome]) -> Result<()> {
    for (what, outcomes) in [(what, with), ("the same load without it", without)] {
        let sum = |count: fn(&Outcome) -> u64| outcomes.iter().map(count).sum::<u64>();
        let (sent, failed, refused) = (sum(|o| o.sent), sum(|o| o.failed), sum(|o| o.refused));
        row(&format!("{what}: failed"), format!("{} of {sent} (must be 0)", failed + refused));
        let errors: Vec<_> = outcomes.iter().flat_map(|outcome| &outcome.errors).collect();
        ensure!(failed + refused == 0, "{failed} requests failed and {refused} were refused: {errors:?}");
        ensure!(sent > 100, "only {sent} requests were sent: nothing is shown");
        if outcomes.len() >= 5 {
            for (name, share) in [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)] {
                let latencies = outcomes.iter().map(|outcome| outcome.latency(share));
                row(&format!("{what}: {name}"), Spread::of_times(latencies));
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Methods {
    Get,
    GetAndPost,
}

impl Methods {
    fn loads(self, stack: &Stack) -> Vec<Load> {
        let target = stack.gateway.address();
        let get = Load::get(target, "/goods/list");
        match self {
            Self::Get => vec![get.rate(500)],
            Self::GetAndPost => vec![get.rate(250), Load::post(target, "/goods/list", "{}").rate(250)],
        }
    }
}

async fn calm(stack: &Stack, methods: Methods, scale: Scale) -> Outcome {
    let running: Vec<_> = methods.loads(stack).iter().map(Load::start).collect();
    sleep(2 * scale.calm).await;
    let mut total = Outcome::default();
    for load in running {
        total.add(load.stop().await);
    }
    total
}

/// The load runs from well before the signal until well after the gateway knows that one is gone; then
/// that one is started again.
async fn departure(stack: &mut Stack, signal: Signal, methods: Methods, scale: Scale) -> Result<Outcome> {
    let running: Vec<_> = methods.loads(stack).iter().map(Load::start).collect();
    sleep(scale.calm).await;
    stack.goods[0].process().signal(signal)?;
    stack.goods[0].wait_exit(PATIENCE).await?;
    stack.gateway.wait_instances("goods", &ALL[1..]).await?;
    sleep(scale.calm).await;
    let mut total = Outcome::default();
    for load in running {
        total.add(load.stop().await);
    }
    ensure!(total.instance(ALL[0]) > 0, "the one that left had not served before");
    stack.goods[0] = Goods::start(&stack.etcd.endpoint(), ALL[0], &[]).await?;
    stack.gateway.wait_instances("goods", &ALL).await?;
    Ok(total)
}
