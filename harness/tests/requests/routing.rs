//! Which service a path goes to.

use anyhow::Result;
use harness::{
    backend::{Backend, Reply},
    stack::GatewayOptions,
};

use super::{Fixture, assert_own_answer, malformed};

/// Routes `/goods` and `/goods/special`, each to a backend that answers its name.
async fn two_routes() -> Result<(Fixture, [Backend; 2])> {
    let options = GatewayOptions::default().route("/goods/special", "special");
    let fixture = Fixture::start(options).await?;
    let goods = Backend::start("goods", Reply::ok("goods")).await?;
    let special = Backend::start("special", Reply::ok("special")).await?;
    fixture.register("goods", &[&goods]).await?;
    fixture.register("special", &[&special]).await?;
    Ok((fixture, [goods, special]))
}

/// Who answers this path, sent as it stands: no client tidies it up first.
async fn who(fixture: &Fixture, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer =
        harness::http::raw(fixture.gateway.address(), request.as_bytes(), malformed::PATIENCE).await?;
    assert!(answer.closed, "{path}: no end of the answer: {}", answer.text());
    let text = answer.text();
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    Ok(match answer.status() {
        Some(200) => body.to_owned(),
        status => format!("{status:?}"),
    })
}

#[tokio::test]
async fn routes_match_whole_segments_and_the_longest_wins() -> Result<()> {
    let (fixture, _backends) = two_routes().await?;
    for (path, expected) in [
        ("/goods", "goods"),
        ("/goods/", "goods"),
        ("/goods?x=/goods/special", "goods"),
        ("/goods/list", "goods"),
        ("/goods/specialist", "goods"),
        ("/goods/a/special", "goods"),
        ("/goods/special", "special"),
        ("/goods/special/", "special"),
        ("/goods/special/a/b?x=1", "special"),
        ("/goods2", "Some(404)"),
        ("/good", "Some(404)"),
        ("/a/goods", "Some(404)"),
        ("/GOODS", "Some(404)"),
        ("/", "gateway"),
    ] {
        assert_eq!(who(&fixture, path).await?, expected, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn dot_segments_are_resolved_before_matching() -> Result<()> {
    let (fixture, [goods, special]) = two_routes().await?;
    for (path, expected) in [
        ("/x/../goods", "goods"),
        ("/./goods/list", "goods"),
        ("/goods/special/..", "goods"),
        ("/goods/special/../list", "goods"),
        ("/goods/./special", "special"),
        ("/goods/x/../special/y", "special"),
        ("/goods/..", "gateway"),
        ("/goods/../other", "Some(404)"),
        ("/goods/%2e%2e/other", "Some(404)"),
        ("/goods/%2E./other", "Some(404)"),
        ("/goods/...", "goods"),
        ("/goods/..a", "goods"),
    ] {
        assert_eq!(who(&fixture, path).await?, expected, "{path}");
    }
    assert_eq!((goods.count(), special.count()), (6, 2));
    Ok(())
}

#[tokio::test]
async fn a_path_that_climbs_above_the_root_is_refused() -> Result<()> {
    let (fixture, [goods, special]) = two_routes().await?;
    for path in
        ["/..", "/../goods", "/goods/../../goods", "/goods/../..", "/%2e%2e/goods", "/a/../../goods/special"]
    {
        assert_eq!(who(&fixture, path).await?, "Some(400)", "{path}");
    }
    assert_eq!((goods.count(), special.count()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn an_encoded_slash_never_splits_a_segment() -> Result<()> {
    let (fixture, [goods, _special]) = two_routes().await?;
    for (path, expected) in [
        ("/goods%2Flist", "Some(404)"),
        ("/goods%2fspecial", "Some(404)"),
        ("/goods/special%2Fx", "goods"),
        ("/goods/a%2F..%2F..%2Fb", "goods"),
        ("/goods/..%2Fother", "goods"),
        ("/x%2F..%2Fgoods", "Some(404)"),
    ] {
        assert_eq!(who(&fixture, path).await?, expected, "{path}");
    }
    let arrived: Vec<_> = goods.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(arrived, ["/goods/special%2Fx", "/goods/a%2F..%2F..%2Fb", "/goods/..%2Fother"]);
    Ok(())
}

#[tokio::test]
async fn a_path_that_nginx_reads_differently_is_refused_where_paths_are_strict() -> Result<()> {
    let (fixture, _backends) = two_routes().await?;
    let (doubtful, clear) =
        (["/goods/..%2fa", "/goods//../special", "/goods//a"], ["/goods/a/../special", "/goods/%20"]);
    for path in doubtful.into_iter().chain(clear) {
        assert_ne!(who(&fixture, path).await?, "Some(400)", "{path}");
    }
    let options = GatewayOptions::default().route("/goods/special", "special");
    fixture.gateway.reload(&options.set("gateway/paths", "strict")).await?;
    for path in doubtful {
        assert_eq!(who(&fixture, path).await?, "Some(400)", "{path}");
    }
    for path in clear {
        assert_ne!(who(&fixture, path).await?, "Some(400)", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_root_is_the_gateways_own_unless_a_route_claims_it() -> Result<()> {
    let options = GatewayOptions::default().route("/", "rest");
    let fixture = Fixture::start(options).await?;
    assert_own_answer(&fixture.gateway.get("/").await?, 503)?;
    let rest = Backend::start("rest", Reply::ok("rest")).await?;
    fixture.register("rest", &[&rest]).await?;
    for path in ["/", "/anything", "/goods2"] {
        assert_eq!(fixture.gateway.get(path).await?.text(), "rest", "{path}");
    }
    assert_own_answer(&fixture.gateway.get("/goods").await?, 503)
}

#[tokio::test]
async fn a_service_never_takes_what_another_registered() -> Result<()> {
    let fixture = Fixture::start(GatewayOptions::default()).await?;
    let other = Backend::start("other", Reply::ok("other")).await?;
    fixture.register("goods2", &[&other]).await?;
    assert_own_answer(&fixture.gateway.get("/goods").await?, 503)?;
    assert_eq!(other.count(), 0);
    Ok(())
}
