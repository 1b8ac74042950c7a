//! The admin port, as kubelet, Prometheus and others come to it.

use anyhow::Result;
use bytes::Bytes;
use harness::http::{self, Method, Request};

use super::Place;

const PAGES: [&str; 5] = ["/livez", "/readyz", "/metrics", "/services", "/routes"];

async fn status(
    admin: std::net::SocketAddr,
    method: Method,
    path: &str,
    fields: &[(&str, &str)],
) -> Result<u16> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    Ok(http::send(admin, request.body(Bytes::new())?).await?.status)
}

/// As kubelet probes a pod: by its address, with these fields; and Prometheus likewise.
#[tokio::test]
async fn probes_on_the_pods_address_are_answered() -> Result<()> {
    let place = Place::new().await?;
    let (gateway, _files) = place.serving().await?;
    let kubelet = [("host", "10.244.1.17:9090"), ("user-agent", "kube-probe/1.31"), ("accept", "*/*")];
    let prometheus = [("host", "[fd00::17]:9090"), ("user-agent", "Prometheus/3.0.0")];
    for path in ["/livez", "/readyz"] {
        assert_eq!(status(gateway.admin_address(), Method::GET, path, &kubelet).await?, 200, "{path}");
    }
    assert_eq!(status(gateway.admin_address(), Method::GET, "/metrics", &prometheus).await?, 200);
    for host in ["evil.example", "10.244.1.17.evil.example:9090", "gateway.etcd-demo.svc"] {
        for path in PAGES {
            assert_eq!(status(gateway.admin_address(), Method::GET, path, &[("host", host)]).await?, 421);
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_on_the_admin_port_changes_anything() -> Result<()> {
    let place = Place::new().await?;
    let (gateway, _files) = place.serving().await?;
    for path in PAGES.into_iter().chain(["/", "/nothing-here"]) {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let status = status(gateway.admin_address(), method.clone(), path, &[]).await?;
            assert_eq!(status, 405, "{method} {path}");
        }
    }
    for path in PAGES {
        assert_eq!(status(gateway.admin_address(), Method::HEAD, path, &[]).await?, 200, "{path}");
    }
    let answer = http::send(gateway.admin_address(), Request::post("/readyz").body(Bytes::new())?).await?;
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    Ok(())
}
