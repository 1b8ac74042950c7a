//! A backend of one service is gone, and another service has its address.

use std::time::Instant;

use anyhow::{Result, ensure};
use harness::{
    backend::Reply,
    etcd::key,
    load::Load,
    stack::{GatewayOptions, Services},
};

use super::{Fleet, PATIENCE, calm, gets, is_in_state};
use crate::{
    context::{Context, shown},
    measured::Measured,
};

const MOVED: &str = "0";

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let options = GatewayOptions::default().route("/other", "other");
    let fleet = Fleet::start(context, &Reply::ok(""), options).await?;
    let running = gets(&fleet.gateway, context).start();
    calm(&running, context).await?;
    let moved = &fleet.backends[0];
    fleet.etcd.delete(&key("goods", MOVED)).await?;
    fleet.etcd.put(&key("other", "new"), moved.address().to_string()).await?;
    let has_moved =
        |services: &Services| !is_in_state(services, MOVED, "up") && services.endpoints("other").len() == 1;
    shown(&fleet.gateway, "its address has moved", Instant::now(), PATIENCE, has_moved).await?;
    context.say("another service has the address of one");
    let before = running.stop().await;
    ensure!(before.instance(MOVED) > 0, "it had no connection before: {:?}", before.by_instance);

    let each = context.scale.requests / 2;
    let load = |path: &str| Load::get(fleet.gateway.address(), path).run_count(each);
    let (goods, other) = tokio::join!(load("/goods/list"), load("/other"));
    let misrouted = goods.instance(MOVED) + (other.status(200) - other.instance(MOVED));
    measured.note(format_args!("{misrouted} of {} misrouted", goods.sent + other.sent));
    ensure!(misrouted == 0, "by instance: {:?}, {:?}", goods.by_instance, other.by_instance);
    measured.none_failed(&before)?;
    measured.none_failed_of("of the former service", &goods)?;
    measured.none_failed_of("of the other", &other)
}
