//! What stands between a watch and its registry is told so that a person can take it away: what was attempted,
//! where, what is in the way, what to do.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};
use harness::etcd::Etcd;
use harness::ports::free_address;
use leaseway_registry::connect::{ConnectionSettings, Tls, User};
use leaseway_registry::contract::Prefix;
use leaseway_registry::register::{Registrar, Registration, RegistrationError};
use leaseway_registry::watch::WatchStatus;
use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use support::{Picture, as_reader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a watch over this connection complains of, in `/readyz` and in the log.
async fn trouble(connection: ConnectionSettings) -> Result<String> {
    let mut picture = Picture::follow(connection);
    let status: WatchStatus = picture.until_status("in trouble", |s| s.trouble.is_some()).await?;
    status.trouble.context("no trouble")
}

/// It names what was attempted and where, and says all of `expected`.
#[track_caller]
fn assert_told(trouble: &str, endpoint: &str, expected: &[&str]) {
    let attempted = format!("could not list the registrations at {endpoint}: ");
    assert!(trouble.starts_with(&attempted), "{trouble}");
    for words in expected {
        assert!(trouble.contains(words), "{words:?} is not in: {trouble}");
    }
}

/// Resets each connection upon its first bytes.
async fn start_resetting() -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What has come and is not read makes the system reset the connection.
            let _ = stream.readable().await;
        }
    });
    Ok(address)
}

/// The connection's only endpoint with this in the place of its scheme.
fn with_scheme(etcd: &Etcd, scheme: &str) -> String {
    format!("{scheme}://{}", etcd.address())
}

#[tokio::test]
async fn https_to_an_etcd_without_tls_and_http_to_one_with_it() -> Result<()> {
    let clear = Etcd::start().await?;
    let endpoint = with_scheme(&clear, "https");
    let told = trouble(ConnectionSettings::to([&*endpoint])).await?;
    assert_told(&told, &endpoint, &["speaks no TLS", "write http:// in the place of https://"]);

    // As the same etcd does when it is busy.
    let endpoint = format!("https://{}", start_resetting().await?);
    let told = trouble(ConnectionSettings::to([&*endpoint])).await?;
    assert_told(&told, &endpoint, &["speaks no TLS", "write http:// in the place of https://"]);

    let encrypted = Etcd::builder().tls().start().await?;
    let endpoint = with_scheme(&encrypted, "http");
    let told = trouble(ConnectionSettings::to([&*endpoint])).await?;
    assert_told(&told, &endpoint, &["without an answer in etcd's protocol", "write https://"]);
    Ok(())
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_of_another_authority() -> Result<()> {
    let (etcd, other) = (Etcd::builder().tls().start().await?, Etcd::builder().tls().start().await?);
    let ours = as_reader(&etcd).tls.context("no certificates")?;
    let theirs = as_reader(&other).tls.context("no certificates")?;
    let with = |tls: Tls| ConnectionSettings { tls: Some(tls), ..as_reader(&etcd) };

    let told = trouble(with(Tls { cert: None, key: None, ..ours.clone() })).await?;
    assert_told(&told, &etcd.endpoint(), &["demands a certificate of its clients", "`cert`", "`key`"]);

    let cert = theirs.cert.clone().context("no certificate")?;
    let told = trouble(with(Tls { cert: theirs.cert, key: theirs.key, ..ours.clone() })).await?;
    assert_told(&told, &etcd.endpoint(), &["does not accept our certificate", &cert.display().to_string()]);

    let told = trouble(with(Tls { ca: None, ..ours.clone() })).await?;
    assert_told(&told, &etcd.endpoint(), &["signed by an authority that is not trusted", "as `ca`"]);
    let ca = theirs.ca.context("no authority")?;
    let told = trouble(with(Tls { ca: Some(ca.clone()), ..ours })).await?;
    let none_of_them = format!("signed by none of the authorities in {}", ca.display());
    assert_told(&told, &etcd.endpoint(), &[&none_of_them, "add the one that signed it to this file"]);
    Ok(())
}

#[tokio::test]
async fn a_certificate_for_another_name() -> Result<()> {
    let etcd = Etcd::builder().tls().start().await?;
    let (listener, to) = (tokio::net::TcpListener::bind("127.0.0.2:0").await?, etcd.address());
    let endpoint = format!("https://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let Ok(mut far) = tokio::net::TcpStream::connect(to).await else { break };
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
        }
    });
    let told = trouble(ConnectionSettings { endpoints: vec![endpoint.clone()], ..as_reader(&etcd) }).await?;
    assert_told(&told, &endpoint, &["made for other names"]);
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_has_expired() -> Result<()> {
    let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    (parameters.not_before, parameters.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let key = KeyPair::generate()?;
    let pem = parameters.self_signed(&key)?.pem();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    acceptor.set_certificate(&*X509::from_pem(pem.as_bytes())?)?;
    acceptor.set_private_key(&*PKey::private_key_from_pem(key.serialize_pem().as_bytes())?)?;
    let (acceptor, listener) = (acceptor.build(), TcpListener::bind("127.0.0.1:0")?);
    let endpoint = format!("https://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = acceptor.accept(stream);
        }
    });
    let ca = tempfile::NamedTempFile::new()?;
    std::fs::write(ca.path(), pem)?;
    let tls = Tls { ca: Some(ca.path().to_owned()), ..Tls::default() };
    let told = trouble(ConnectionSettings { tls: Some(tls), ..ConnectionSettings::to([&*endpoint]) }).await?;
    assert_told(&told, &endpoint, &["certificate has expired", "renew it"]);
    Ok(())
}

/// Answers every connection with this, and closes it.
async fn server(answer: &'static [u8]) -> Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            });
        }
    });
    Ok(address)
}

#[tokio::test]
async fn an_http_server_where_etcd_was_expected() -> Result<()> {
    let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let address = server(page).await?;
    let endpoint = format!("http://{address}");
    let told = trouble(ConnectionSettings::to([&*endpoint])).await?;
    assert_told(&told, &endpoint, &["without an answer in etcd's protocol", "correct host and port"]);
    let endpoint = format!("https://{address}");
    let told = trouble(ConnectionSettings::to([&*endpoint])).await?;
    assert_told(&told, &endpoint, &["speaks no TLS", "wrong version number"]);
    Ok(())
}

#[tokio::test]
async fn nobody_there_and_no_such_name() -> Result<()> {
    let endpoint = format!("http://{}", free_address()?);
    let told = trouble(ConnectionSettings::to([&*endpoint])).await?;
    assert_told(&told, &endpoint, &["nothing listens there", "correct host and port", "Connection refused"]);
    // One letter more than a label may have: the resolver refuses it by itself, also without a network.
    let endpoint = format!("http://{}:2379", "a".repeat(64));
    let told = trouble(ConnectionSettings::to([&*endpoint])).await?;
    assert_told(&told, &endpoint, &["this host name has no address", "Name or service not known"]);
    Ok(())
}

#[tokio::test]
async fn a_wrong_an_empty_and_no_password_and_a_user_without_the_right() -> Result<()> {
    let etcd = Etcd::builder().users().start().await?;
    let password = tempfile::NamedTempFile::new()?;
    let mut connection = as_reader(&etcd);
    let name = connection.user.as_ref().map(|user| user.name.clone()).context("no user")?;
    connection.user = Some(User { name, password_file: password.path().to_owned() });
    let told = trouble(connection.clone()).await?;
    assert!(told.contains("is empty: write the user's password into it"), "{told}");
    std::fs::write(password.path(), "wrong")?;
    let told = trouble(connection.clone()).await?;
    assert!(told.starts_with(&format!("could not connect at {}: ", etcd.endpoint())), "{told}");
    assert!(told.ends_with("correct the user's name or the password file"), "{told}");

    etcd.client().await?.user_add("stranger", "secret", None).await?;
    std::fs::write(password.path(), "secret")?;
    connection.user = Some(User { name: "stranger".into(), password_file: password.path().to_owned() });
    let told = trouble(connection.clone()).await?;
    let remedy = "`etcdctl role grant-permission ROLE read /service_registry_discovery/ --prefix=true`";
    assert_told(&told, &etcd.endpoint(), &["permission denied", "grant the user's role", remedy]);

    connection.user = None;
    let told = trouble(connection).await?;
    assert_told(&told, &etcd.endpoint(), &["configure a user who may read /service_registry_discovery/"]);
    Ok(())
}

#[tokio::test]
async fn a_registrar_is_not_started_for_an_endpoint_that_is_none() -> Result<()> {
    let registration = Registration::new("goods", "goods-1", "10.0.0.5:80".parse()?);
    let start =
        |url: &str| Registrar::start(ConnectionSettings::to([url]), Prefix::default(), registration.clone());
    for (url, expected) in [
        ("127.0.0.1:2379", r#"cannot register at "127.0.0.1:2379": it must start with http:// or https://"#),
        ("http://127.0.0.1", r#"cannot register at "http://127.0.0.1": it has no port: etcd's is 2379"#),
    ] {
        let error: RegistrationError = start(url).err().context(url)?;
        assert_eq!(error.to_string(), expected);
    }
    assert!(start("http://127.0.0.1:2379/").is_ok());
    Ok(())
}
