//! All goods are replaced, one after the other, as a deploy does it.

use std::time::Instant;

use anyhow::{Result, ensure};
use harness::{
    load::{Load, Running},
    stack::{Goods, Services},
};
use tokio::time::sleep;

use super::{PATIENCE, gets_and_posts, names, stack};
use crate::{
    context::{Context, shown},
    measured::Measured,
};

pub(crate) async fn run(context: &Context, measured: &mut Measured) -> Result<()> {
    let mut stack = stack(context).await?;
    let [gets, posts]: [Running; 2] = gets_and_posts(&stack.gateway, context).map(|load: Load| load.start());
    sleep(context.scale.calm).await;
    for (goods, name) in stack.goods.iter_mut().zip(names(context)) {
        let status = goods.stop(PATIENCE).await?;
        ensure!(status.success(), "{name} ended with {status}");
        *goods = Goods::start(&stack.etcd.endpoint(), &name, &["--drain", "1s"]).await?;
        let address = goods.address().to_string();
        let is_back = |services: &Services| {
            let endpoints = services.endpoints("goods");
            endpoints.iter().any(|e| e.instance == name && e.address == address && e.state == "up")
        };
        shown(&stack.gateway, "it is up again", Instant::now(), PATIENCE, is_back).await?;
        context.say(format_args!("{name} was replaced"));
    }
    sleep(context.scale.calm).await;
    measured.note(format_args!("{} replaced", stack.goods.len()));
    measured.none_failed_of("GETs", &gets.stop().await)?;
    measured.none_failed_of("POSTs", &posts.stop().await)
}
