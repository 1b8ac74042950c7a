//! The client and the server of TLS that other tests stand on.

use anyhow::{Result, ensure};
use bytes::Bytes;
use harness::{
    backend::{Backend, Reply},
    certificates::{Authority, Certificate, Wanted},
    http::{Connection, Request},
    link::{TlsClient, TlsServer},
    load::Load,
    wire::Wire,
};
use openssl::{
    ssl::SslVersion,
    x509::{X509, X509Crl},
};

const NAME: &str = "shop.example";

async fn backend(certificate: &Certificate) -> Result<Backend> {
    Backend::start_tls("a", Reply::ok("hello"), TlsServer::new(certificate)?).await
}

async fn status(backend: &Backend, client: &TlsClient) -> Result<u16> {
    let mut connection = Connection::open_tls(backend.address(), client).await?;
    Ok(connection.send(Request::get("/").body(Bytes::new())?).await?.status)
}

#[tokio::test]
async fn a_client_takes_the_certificate_that_it_asks_for_and_no_other() -> Result<()> {
    let authority = Authority::new("An authority")?;
    let backend = backend(&authority.server(&[NAME, "*.wild.example", "127.0.0.1"])?).await?;
    let client = TlsClient::new(authority.pem())?;
    for asked in [NAME, "a.wild.example"] {
        assert_eq!(status(&backend, &client.asking_for(asked)).await?, 200);
        let greeting = backend.last()?.greeting;
        assert_eq!(greeting.and_then(|greeting| greeting.name).as_deref(), Some(asked));
    }
    assert!(status(&backend, &client.asking_for("other.example")).await.is_err());
    assert_eq!(status(&backend, &client.naming("other.example")).await?, 200);
    assert_eq!(status(&backend, &client).await?, 200);
    let stranger = TlsClient::new(Authority::new("An authority")?.pem())?;
    assert!(status(&backend, &stranger.asking_for(NAME)).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_client_of_one_version_speaks_no_other() -> Result<()> {
    let authority = Authority::new("An authority")?;
    let backend = backend(&authority.server(&[NAME])?).await?;
    for (version, is_spoken) in
        [(SslVersion::TLS1_1, false), (SslVersion::TLS1_2, true), (SslVersion::TLS1_3, true)]
    {
        let client = TlsClient::with(authority.pem(), |builder| {
            builder.set_cipher_list("ALL:@SECLEVEL=0")?;
            builder.set_min_proto_version(Some(version))?;
            builder.set_max_proto_version(Some(version))
        })?;
        let shaken = client.connect(backend.address()).await;
        ensure!(shaken.is_ok() == is_spoken, "{version:?}: {shaken:?}");
        if let Ok(link) = shaken {
            assert_eq!(link.ssl().and_then(|ssl| ssl.version2()), Some(version));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_server_may_demand_a_certificate_and_learns_whose_it_is() -> Result<()> {
    let (authority, clients) = (Authority::new("Servers")?, Authority::new("Clients")?);
    let backend = backend(&authority.below("Between")?.server(&[NAME])?).await?;
    backend.shake_hands(TlsServer::demanding(&authority.server(&[NAME])?, clients.pem())?);
    let alice = clients.sign(&Wanted::subject("alice").uri("spiffe://example/alice"))?;
    let client = TlsClient::showing(authority.pem(), &alice)?.asking_for(NAME);
    assert_eq!(status(&backend, &client).await?, 200);
    let greeting = backend.last()?.greeting;
    assert_eq!(greeting.and_then(|greeting| greeting.certificate), Some(alice.fingerprint()?));
    assert!(status(&backend, &TlsClient::new(authority.pem())?).await.is_err());
    let stranger = Authority::new("Clients")?.sign(&Wanted::subject("alice"))?;
    assert!(status(&backend, &TlsClient::showing(authority.pem(), &stranger)?).await.is_err());
    assert_eq!((backend.count(), backend.failed_handshakes() >= 1), (1, true));
    Ok(())
}

#[tokio::test]
async fn a_chain_leads_to_the_topmost_authority() -> Result<()> {
    let authority = Authority::new("An authority")?;
    let certificate = authority.below("Between")?.below("Between them")?.server(&[NAME])?;
    assert_eq!(certificate.chain.len(), 3);
    let whole = backend(&certificate).await?;
    let client = TlsClient::new(authority.pem())?.asking_for(NAME);
    assert_eq!(status(&whole, &client).await?, 200);
    let alone = Certificate { chain: certificate.chain[..1].to_vec(), ..certificate };
    assert!(status(&backend(&alone).await?, &client).await.is_err());
    Ok(())
}

#[test]
fn a_list_of_revocations_has_those_that_were_named() -> Result<()> {
    let authority = Authority::new("An authority")?;
    let [kept, revoked] = [authority.server(&["kept.example"])?, authority.server(&["revoked.example"])?];
    let list = X509Crl::from_pem(authority.revoking(&[&revoked])?.as_bytes())?;
    assert!(list.verify(X509::from_pem(authority.pem().as_bytes())?.public_key()?.as_ref())?);
    for (certificate, is_listed) in [(&kept, false), (&revoked, true)] {
        let certificate = X509::from_pem(certificate.chain[0].as_bytes())?;
        let found = !matches!(list.get_by_cert(&certificate), openssl::x509::CrlStatus::NotRevoked);
        assert_eq!(found, is_listed);
    }
    Ok(())
}

#[tokio::test]
async fn raw_bytes_and_loads_go_over_tls_as_well() -> Result<()> {
    let authority = Authority::new("An authority")?;
    let backend = backend(&authority.server(&[NAME])?).await?;
    let client = TlsClient::new(authority.pem())?.asking_for(NAME);
    let mut wire = Wire::connect_tls(backend.address(), &client).await?;
    assert_eq!(wire.get("/", "").await?.head.status(), 200);
    let load = Load::get(backend.address(), "/").tls(&client).connections(2);
    for (load, connections) in [(load.clone(), 3), (load.fresh(), 3 + 40)] {
        let outcome = load.run_count(40).await;
        assert_eq!((outcome.status(200), outcome.failed), (40, 0), "{:?}", outcome.errors);
        assert_eq!(backend.connections().accepted, connections);
    }
    Ok(())
}

#[test]
fn a_hello_is_one_record_that_begins_a_handshake() -> Result<()> {
    let client = TlsClient::new(Authority::new("An authority")?.pem())?.asking_for(NAME);
    let hello = client.hello()?;
    // RFC 8446, 5.1: handshake, a version, the length of all that follows.
    assert_eq!((hello[0], usize::from(u16::from_be_bytes([hello[3], hello[4]]))), (0x16, hello.len() - 5));
    assert!(hello.windows(NAME.len()).any(|part| part == NAME.as_bytes()), "the name is in clear");
    Ok(())
}
