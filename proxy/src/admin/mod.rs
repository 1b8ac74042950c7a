//! What operators ask: `/livez`, `/readyz`, `/metrics`, `/services`, `/routes`.

mod configuration;
mod door;
mod readiness;
mod routes;
mod services;

use std::sync::Arc;

use async_trait::async_trait;
use http::{Method, Response, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use registry::watch::WatchStatus;
use tokio::sync::watch;

use readiness::Readiness;
use services::Moment;

use crate::config::Guard;
use crate::directory::Directory;
use crate::lifecycle::Lifecycle;
use crate::logging::Output;
use crate::metrics::Metrics;
use crate::site::{Current, StatusCell};

#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) site: Arc<Current>,
    pub(crate) directory: Arc<Directory>,
    /// How the watch is.
    pub(crate) status: watch::Receiver<WatchStatus>,
    /// Which configuration serves.
    pub(crate) configuration: StatusCell,
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Names by which it may be reached, in small letters.
    pub(crate) hosts: Vec<String>,
    /// How long what vanished is doubted and held.
    pub(crate) guard: Guard,
    pub(crate) metrics: Arc<Metrics>,
    /// Where lines go, and whether any were dropped.
    pub(crate) output: Arc<Output>,
}

impl Admin {
    fn readiness(&self) -> Response<Vec<u8>> {
        let readiness = Readiness::of(self);
        let status = if readiness.ready { 200 } else { 503 };
        answer_json(status, serde_json::to_vec(&readiness))
    }

    fn services(&self) -> Response<Vec<u8>> {
        answer_json(200, services::page(&self.directory, &self.status.borrow(), &self.guard, Moment::now()))
    }

    fn routes(&self) -> Response<Vec<u8>> {
        answer_json(200, routes::page(&self.site.get(), &self.directory))
    }

    fn metrics(&self) -> Response<Vec<u8>> {
        let status = self.status.borrow().clone();
        let site = self.site.get();
        self.metrics.of_routes(site.without_endpoint(), site.left_out());
        self.metrics.in_flight().set(self.lifecycle.requests_in_flight().into());
        match self.metrics.render(&self.directory, &status, self.output.dropped()) {
            Ok(text) => answer(200, "text/plain; version=0.0.4", text),
            Err(error) => answer(500, "text/plain", format!("could not write the metrics: {error}\n").into()),
        }
    }
}

fn answer_json(status: u16, page: serde_json::Result<Vec<u8>>) -> Response<Vec<u8>> {
    match page {
        Ok(mut page) => {
            page.push(b'\n');
            answer(status, "application/json", page)
        }
        Err(error) => answer(500, "text/plain", format!("could not write this page: {error}\n").into()),
    }
}

fn answer(status: u16, content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = status.try_into().unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, length.into());
    response
}

/// Nothing here changes anything, whoever asks.
fn not_allowed() -> Response<Vec<u8>> {
    let mut response =
        answer(405, "text/plain", b"nothing is changed here: GET and HEAD are answered\n".to_vec());
    response.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    response
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        if let Err((status, text)) = door::admit(request, &self.hosts) {
            return answer(status, "text/plain", format!("{text}\n").into());
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return not_allowed();
        }
        match request.uri.path() {
            "/livez" => answer(200, "text/plain", b"ok\n".to_vec()),
            "/readyz" => self.readiness(),
            "/metrics" => self.metrics(),
            "/services" => self.services(),
            "/routes" => self.routes(),
            _ => answer(404, "text/plain", b"there are /livez /readyz /metrics /services /routes\n".to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{self, ProbeResult, Writer};
    use crate::logging::Form;
    use crate::site::{Rejected, Revision, Site};
    use registry::contract::{Instance, Record};
    use registry::watch::{Change, Update};
    use serde_json::{Value, json};
    use std::time::{Instant, SystemTime};

    fn admin() -> (Admin, Writer) {
        let (directory, writer) = directory::new([]);
        let (_, status) = watch::channel(WatchStatus { audits: 3, repaired: 2, ..WatchStatus::default() });
        let metrics = Arc::new(Metrics::new().unwrap());
        let output = Output::new(Form::Json, false);
        (
            Admin {
                site: Arc::new(Current::new(Site::default())),
                directory,
                status,
                configuration: StatusCell::new(Revision::of(b""), SystemTime::UNIX_EPOCH),
                lifecycle: Arc::default(),
                hosts: Vec::new(),
                guard: Guard::default(),
                metrics,
                output,
            },
            writer,
        )
    }

    fn instance() -> Instance {
        let record = Record::new(([10, 0, 0, 1], 80).into());
        Instance { service: "goods".into(), id: "a".into(), record, lease: 7, revision: 3 }
    }

    fn json(response: &Response<Vec<u8>>) -> Value {
        serde_json::from_slice(response.body()).unwrap()
    }

    #[test]
    fn a_stale_picture_is_ready_and_says_so() {
        let (admin, mut writer) = admin();
        assert_eq!(admin.readiness().status(), 503);
        let endpoints = writer.stage_stale(vec![instance()], 3);
        writer.probed(&endpoints[0], ProbeResult::Passed);
        writer.publish(Instant::now);
        let ready = admin.readiness();
        assert_eq!(ready.status(), 200);
        let body = json(&ready);
        assert_eq!((&body["stale"], &body["synced"]), (&json!(true), &json!(false)));
        let endpoint = &json(&admin.services())["services"]["goods"][0];
        assert_eq!((&endpoint["state"], &endpoint["probe"]), (&json!("stale"), &json!("passed")));
    }

    #[test]
    fn a_configuration_that_was_rejected_is_shown_beside_the_one_that_serves() {
        let (admin, _writer) = admin();
        let serving = json!({"revision": "e3b0c44298fc1c14", "loaded": "1970-01-01T00:00:00.000Z"});
        assert_eq!(json(&admin.readiness())["config"], serving);
        let mistakes = ["conf.yaml:3: no".to_owned()];
        admin.configuration.rejected(Rejected::new(None, SystemTime::UNIX_EPOCH, &mistakes));
        let shown = json!({"at": "1970-01-01T00:00:00.000Z", "mistakes": mistakes});
        assert_eq!(json(&admin.readiness())["config"]["rejected"], shown);
    }

    #[test]
    fn what_the_guard_holds_is_told() {
        let (admin, mut writer) = admin();
        writer.hear(Update::Reset { instances: vec![instance()], refused: Vec::new(), revision: 3 });
        writer.publish(Instant::now);
        let endpoint = &json(&admin.services())["services"]["goods"][0];
        assert_eq!((&endpoint["state"], &endpoint["probe"]), (&json!("up"), &Value::Null));

        let gone = Change::Delete { service: "goods".into(), id: "a".into(), revision: 4 };
        writer.hear(Update::Apply { changes: vec![gone], revision: 4 });
        let later = Instant::now() + std::time::Duration::from_secs(60);
        writer.publish(|| later);
        admin.metrics.guard_held().set(1);
        let body = json(&admin.readiness());
        assert_eq!((&body["stale"], &body["guard_held"]), (&json!(false), &json!(1)));
        let endpoint = &json(&admin.services())["services"]["goods"][0];
        assert_eq!((&endpoint["state"], &endpoint["probe"]), (&json!("suspect"), &json!("pending")));
    }

    #[test]
    fn metrics_count_what_audits_found() {
        let (admin, _writer) = admin();
        let text = String::from_utf8(admin.metrics().into_body()).unwrap();
        for line in ["leaseway_registry_audits_total 3", "leaseway_registry_repaired_keys_total 2"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
    }
}
