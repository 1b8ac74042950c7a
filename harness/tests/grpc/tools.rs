//! Programs that many have at hand, as clients of HTTP/2: h2load, nghttp and curl, in clear and under TLS, in front of
//! instances of HTTP/1 and of HTTP/2.

use std::{ffi::OsStr, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use harness::{
    backend::{Backend, Reply},
    grpc::{Act, GrpcBackend, Step},
    ports::free_address,
    process::{Process, Stdout},
    stack::{Gateway, GatewayOptions},
    tls::TlsFiles,
    wire::Instance,
};
use serde_json::json;
use tempfile::TempDir;

/// What a program may take, which is told to it where it can be: its own limits are shorter.
const PATIENCE: Duration = Duration::from_secs(120);
/// What `h2load` asks for at a time: ten connections of twenty streams.
const LOAD: [&str; 8] = ["-n", "2000", "-c", "10", "-m", "20", "-T", "60"];
const REQUESTS: usize = 2000;
/// Text, as the programs write bodies among their own lines.
const LINE: &str = "what a body of many lines has in each of them";

/// A gateway in clear and under TLS, whose `/one` leads to an instance of HTTP/1 and `/two` to one of HTTP/2.
struct Place {
    gateway: Gateway,
    door: SocketAddr,
    files: TlsFiles,
    directory: TempDir,
}

impl Place {
    async fn new(one: SocketAddr, two: SocketAddr) -> Result<Self> {
        let (directory, door) = (tempfile::tempdir()?, free_address()?);
        let files = TlsFiles::generate(directory.path())?;
        let certificate = json!({ "cert": files.server_cert, "key": files.server_key });
        let listener = json!({ "http2": true, "tls": { "certificates": [certificate] } });
        let options = GatewayOptions::without_routes()
            .route("/one", "one")
            .route("/two", "two")
            .set("gateway/services/one/addresses", json!([one.to_string()]))
            .set("gateway/services/two/addresses", json!([two.to_string()]))
            .set("gateway/services/two/protocol", "h2c")
            .also_listening_with(door, listener);
        let gateway = Gateway::start_with_registry(options).await?;
        Ok(Self { gateway, door, files, directory })
    }

    /// Its addresses, and its instances.
    fn urls(&self) -> Vec<String> {
        let origins = [format!("http://{}", self.gateway.address()), format!("https://{}", self.door)];
        origins.iter().flat_map(|origin| ["/one", "/two"].map(|path| format!("{origin}{path}"))).collect()
    }

    /// A file of so many lines, and what it says.
    fn file(&self, lines: usize) -> Result<(PathBuf, String)> {
        let (path, text) = (self.directory.path().join("body"), format!("{LINE}\n").repeat(lines));
        std::fs::write(&path, &text)?;
        Ok((path, text))
    }
}

/// Instances that send back what they get.
async fn echoes() -> Result<(Place, Backend, GrpcBackend)> {
    let (one, two) = (Backend::start("one", Reply::Echo).await?, GrpcBackend::start("two").await?);
    two.always(Act::default().head(&[]).step(Step::Echo).step(Step::End));
    let place = Place::new(one.address(), two.address()).await?;
    Ok((place, one, two))
}

/// The same for a body of `hello`, which they ask for first, and answer when they have it: nghttp sends none once the answer
/// has begun. (hyper asks by itself, as soon as a body is read.)
async fn echoes_that_ask() -> Result<(Place, Backend, GrpcBackend)> {
    let (place, one, two) = echoes().await?;
    two.always(Act(vec![Step::Interim(100)]).and(Act::http(200, &[], "hello")));
    Ok((place, one, two))
}

/// Instances that have one page.
async fn pages(text: &str) -> Result<(Place, Backend, GrpcBackend)> {
    let page = Reply::Answer(200, vec![("x-page", "a page".to_owned())], text.to_owned().into());
    let (one, two) = (Backend::start("one", page).await?, GrpcBackend::start("two").await?);
    two.always(Act::http(200, &[("x-page", "a page")], text.to_owned()));
    let place = Place::new(one.address(), two.address()).await?;
    Ok((place, one, two))
}

/// What a program writes, if it ends well.
async fn run(program: &str, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<Vec<String>> {
    let mut command = Command::new(program);
    command.args(arguments);
    let mut process = Process::start(command, Stdout::Kept)?;
    let status = process.wait_exit(PATIENCE).await?;
    ensure!(status.success(), "{program}: {status}\n{}", process.tail());
    Ok(process.lines())
}

/// Runs h2load, and checks that all has been answered well, with so many bytes of bodies in all.
async fn load(url: &str, arguments: &[&str], bytes: usize) -> Result<()> {
    let said = run("h2load", LOAD.iter().chain(arguments).chain([&url])).await?;
    let said = said.join("\n");
    let spoken = if url.starts_with("https") { "h2" } else { "h2c" };
    for expected in [
        format!("Application protocol: {spoken}\n"),
        format!(
            "{REQUESTS} total, {REQUESTS} started, {REQUESTS} done, {REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout"
        ),
        format!("status codes: {REQUESTS} 2xx, 0 3xx, 0 4xx, 0 5xx"),
        format!("({bytes}) data"),
    ] {
        ensure!(said.contains(&expected), "{url}: {expected:?} is missing in\n{said}");
    }
    Ok(())
}

/// What nghttp writes. Its status is no failure where requests have not been answered.
async fn nghttp(arguments: &[&str], urls: &[&str]) -> Result<Vec<String>> {
    let said = run("nghttp", ["-y", "-t", "60"].iter().chain(arguments).chain(urls)).await?;
    let is_failure = |line: &String| line.starts_with("[ERROR]") || line.starts_with("Some requests");
    ensure!(!said.iter().any(is_failure), "{urls:?}: {said:#?}");
    Ok(said)
}

/// Whether a frame or a field came.
fn came(said: &[String], what: &str) -> bool {
    said.iter().any(|line| line.contains(" recv ") && line.contains(what))
}

/// What an exchange of curl's has come to.
struct Got {
    /// The version of HTTP and the status.
    said: String,
    /// The heads, interim ones too.
    heads: String,
    body: Vec<u8>,
}

impl Place {
    async fn curl(&self, arguments: &[&str], url: &str) -> Result<Got> {
        let [body, heads] = ["answer", "heads"].map(|name| self.directory.path().join(name));
        std::fs::write(&body, "")?;
        let mut all = vec!["-sS".into(), "--max-time".into(), "60".into(), "-o".into(), body.clone().into()];
        all.extend([
            "-D".into(),
            heads.clone().into_os_string(),
            "--cacert".into(),
            self.files.ca.clone().into(),
        ]);
        all.extend(["-w", "%{http_version} %{response_code}\n"].map(Into::into));
        all.extend(arguments.iter().chain([&url]).map(Into::into));
        let said = run("curl", all).await.with_context(|| url.to_owned())?;
        Ok(Got { said: said.join("\n"), heads: std::fs::read_to_string(heads)?, body: std::fs::read(body)? })
    }
}

/// What makes curl speak HTTP/2: in clear it has to know, under TLS ALPN says it.
fn by_http2(url: &str) -> &'static str {
    if url.starts_with("https") { "--http2" } else { "--http2-prior-knowledge" }
}

#[tokio::test]
async fn h2load_has_all_its_requests_answered() -> Result<()> {
    let (place, one, two) = pages("hello").await?;
    for url in place.urls() {
        load(&url, &[], REQUESTS * "hello".len()).await?;
    }
    assert_eq!((one.count(), two.count()), (2 * REQUESTS, 2 * REQUESTS));
    Ok(())
}

#[tokio::test]
async fn h2load_has_all_its_bodies_sent_back() -> Result<()> {
    let (place, one, two) = echoes().await?;
    let (file, text) = place.file(200)?;
    let file = file.to_str().context("a path that is text")?;
    for url in place.urls() {
        load(&url, &["-d", file], REQUESTS * text.len()).await?;
    }
    ensure!(one.requests().iter().all(|request| request.body == text), "/one has got something else");
    ensure!(two.calls().iter().all(|call| call.received == text.len()), "/two has got something else");
    Ok(())
}

#[tokio::test]
async fn nghttp_gets_a_page_and_its_head() -> Result<()> {
    let (place, _one, _two) = pages(&format!("{LINE}\n")).await?;
    for url in place.urls() {
        let said = nghttp(&["-v"], &[&url]).await?;
        for what in [":status: 200", "x-page: a page", "trace_id: "] {
            assert!(came(&said, what), "{url}: no {what} in {said:#?}");
        }
        assert!(said.iter().any(|line| line == LINE), "{url}: {said:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn nghttp_gets_an_instances_trailers_and_sends_its_own() -> Result<()> {
    let one = Instance::recording(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-End: of all\r\n\r\n"
            .into()
    })
    .await?;
    let two = GrpcBackend::start("two").await?;
    two.always(Act::default().step(Step::Read).head(&[]).data("hello").trailers(&[("x-end", "of all")]));
    let place = Place::new(one.address(), two.address()).await?;
    let (file, _) = place.file(1)?;
    let file = file.to_str().context("a path that is text")?;
    for url in place.urls() {
        let sent = ["-nv", "-d", file, "--no-content-length", "--trailer", "x-last: word"];
        let said = nghttp(&sent, &[&url]).await?;
        assert!(came(&said, "x-end: of all"), "{url}: {said:#?}");
    }
    for request in one.requests() {
        assert_eq!(request.trailers.get("x-last"), Some("word"));
    }
    for call in two.calls() {
        assert_eq!(call.trailers.context("no trailers came")?["x-last"], "word");
    }
    Ok(())
}

#[tokio::test]
async fn nghttp_has_a_body_sent_back_whatever_its_frames_and_windows_are() -> Result<()> {
    let (place, _one, _two) = echoes().await?;
    let (file, text) = place.file(40_000)?;
    let file = file.to_str().context("a path that is text")?;
    let ways: [&[&str]; 5] = [
        &[],
        &["-b", "200"],
        &["-w", "14", "-W", "16"],
        &["-w", "16", "-b", "255"],
        &["--no-content-length", "--no-rfc7540-pri"],
    ];
    for url in place.urls() {
        for way in ways {
            let said = nghttp(&[way, &["-d", file]].concat(), &[&url]).await?;
            ensure!(
                said.len() == 40_000 && said.iter().all(|line| line == LINE),
                "{url} {way:?}: {} lines, of {} bytes for {}",
                said.len(),
                said.concat().len(),
                text.len()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn nghttp_is_told_to_go_on_with_a_body_that_waits() -> Result<()> {
    let (place, _one, _two) = echoes_that_ask().await?;
    let (file, _) = place.file(1)?;
    let file = file.to_str().context("a path that is text")?;
    for url in place.urls() {
        let said = nghttp(&["-nv", "--expect-continue", "-d", file], &[&url]).await?;
        assert!(came(&said, ":status: 100") && came(&said, ":status: 200"), "{url}: {said:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn nghttp_gets_several_pages_over_one_connection() -> Result<()> {
    let (place, one, two) = pages("hello").await?;
    let urls = place.urls();
    for pair in urls.chunks(2) {
        let again = format!("{}/again", pair[0]);
        let missing = pair[0].replace("/one", "/nowhere");
        let said = nghttp(&["-nv", "-m", "3"], &[&pair[0], &pair[1], &again, &missing]).await?;
        let count = |what: &str| said.iter().filter(|line| line.contains(what)).count();
        assert_eq!((count(":status: 200"), count(":status: 404")), (9, 3), "{said:#?}");
        assert_eq!(count("Connected"), 1, "{said:#?}");
    }
    assert_eq!((one.count(), two.count()), (12, 6));
    Ok(())
}

#[tokio::test]
async fn curl_gets_a_page_and_its_head_alone() -> Result<()> {
    let (place, _one, _two) = pages("hello").await?;
    for url in place.urls() {
        let got = place.curl(&[by_http2(&url)], &url).await?;
        assert_eq!((got.said.as_str(), &got.body[..]), ("2 200", &b"hello"[..]), "{url}: {}", got.heads);
        assert!(got.heads.contains("x-page: a page\r\n"), "{url}: {}", got.heads);
        let got = place.curl(&[by_http2(&url), "--head"], &url.replace("two", "one")).await?;
        assert_eq!(got.said, "2 200", "{url}: {}", got.heads);
        assert!(got.heads.contains("content-length: 5\r\n"), "{url}: {}", got.heads);
    }
    Ok(())
}

#[tokio::test]
async fn curl_hears_by_http2_that_nothing_leads_there() -> Result<()> {
    let (place, one, two) = pages("hello").await?;
    for url in place.urls() {
        let got = place.curl(&[by_http2(&url)], &format!("{url}s")).await?;
        assert_eq!(got.said, "2 404", "{url}: {}", got.heads);
        assert!(got.heads.contains("trace_id: ") && !got.body.is_empty(), "{url}: {}", got.heads);
    }
    assert_eq!((one.count(), two.count()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn curl_has_what_it_uploads_sent_back() -> Result<()> {
    let (place, _one, _two) = echoes().await?;
    let (file, text) = place.file(100_000)?;
    let file = file.to_str().context("a path that is text")?;
    for url in place.urls() {
        for how in [&["-T", file][..], &["--data-binary", &format!("@{file}")]] {
            let got = place.curl(&[&[by_http2(&url)], how].concat(), &url).await?;
            assert_eq!(got.said, "2 200", "{url} {how:?}: {}", got.heads);
            ensure!(got.body == text.as_bytes(), "{url} {how:?}: {} bytes of {}", got.body.len(), text.len());
        }
    }
    Ok(())
}

#[tokio::test]
async fn curl_is_told_to_go_on_with_a_body_that_waits() -> Result<()> {
    let (place, _one, _two) = echoes_that_ask().await?;
    // It would wait for longer than it may take.
    let waits = ["-H", "Expect: 100-continue", "--expect100-timeout", "300", "-d", "hello"];
    for url in place.urls() {
        for version in [by_http2(&url), "--http1.1"] {
            let got = place.curl(&[&waits[..], &[version]].concat(), &url).await?;
            assert!(got.said.ends_with(" 200") && got.body == b"hello", "{url} {version}: {}", got.heads);
            assert!(got.heads.contains(" 100"), "{url} {version}: {}", got.heads);
        }
    }
    Ok(())
}

#[tokio::test]
async fn curl_that_asks_in_clear_whether_there_is_http2_is_answered_by_http1() -> Result<()> {
    let (place, one, two) = echoes().await?;
    for (url, body) in place.urls()[..2].iter().zip(["hello", "hallo"]) {
        let got = place.curl(&["--http2", "-d", body], url).await?;
        assert_eq!((got.said.as_str(), &got.body[..]), ("1.1 200", body.as_bytes()), "{url}: {}", got.heads);
        assert!(!got.heads.contains("101"), "{url}: {}", got.heads);
    }
    for name in ["upgrade", "http2-settings", "connection"] {
        assert_eq!((one.last()?.headers.get(name), two.last()?.headers.get(name)), (None, None), "{name}");
    }
    Ok(())
}
