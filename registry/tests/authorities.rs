//! Whom a connection with a `ca` of its own trusts.

mod support;

use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::impostor::{Heard, Impostor};
use harness::wait::eventually;
use leaseway_registry::connect::{ConnectionSettings, Tls, authorities};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use support::{PATIENCE, Picture};
use tempfile::TempDir;

/// Certificates as etcd's operators have them: a root has authorised an authority, and this the server.
struct Chain {
    root: String,
    authority: String,
    server: String,
    key: String,
}

fn parameters(name: &str, is_authority: bool) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.use_authority_key_identifier_extension = true;
    if is_authority {
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    }
    Ok(parameters)
}

impl Chain {
    fn new() -> Result<Self> {
        let keys = [KeyPair::generate()?, KeyPair::generate()?, KeyPair::generate()?];
        let [root_key, authority_key, server_key] = keys;
        let root = parameters("Root", true)?.self_signed(&root_key)?;
        let by_root = Issuer::new(parameters("Root", true)?, root_key);
        let authority = parameters("Authority", true)?.signed_by(&authority_key, &by_root)?;
        let by_authority = Issuer::new(parameters("Authority", true)?, authority_key);
        let server = parameters("Server", false)?.signed_by(&server_key, &by_authority)?;
        let [root, authority, server] = [root, authority, server].map(|certificate| certificate.pem());
        Ok(Self { root, authority, server, key: server_key.serialize_pem() })
    }
}

/// Files of a test.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// What becomes of the first handshakes of a client that trusts this file.
async fn handshakes(impostor: &Impostor, ca: &Path) -> Result<Heard> {
    let before = impostor.heard();
    let tls = Tls { ca: Some(ca.to_owned()), ..Tls::default() };
    let _picture = Picture::follow(ConnectionSettings {
        tls: Some(tls),
        ..ConnectionSettings::to([impostor.endpoint()])
    });
    eventually("it connects", PATIENCE, async || {
        let heard = impostor.heard();
        let (refused, accepted) = (heard.refused - before.refused, heard.accepted - before.accepted);
        ensure!(refused + accepted > 0, "it does not");
        Ok(Heard { refused, accepted, ..Heard::default() })
    })
    .await
}

#[tokio::test]
async fn each_certificate_of_the_file_is_trusted_by_itself() -> Result<()> {
    let (place, chain, other) = (Place::new()?, Chain::new()?, Chain::new()?);
    let shown = place.write("shown.pem", &format!("{}{}", chain.server, chain.authority))?;
    let impostor = Impostor::start(&shown, &place.write("server.key", &chain.key)?)?;
    for (case, trusted) in [
        ("the root", chain.root.clone()),
        ("several, and words between them", format!("# ours\n{}\n# and\n{}", other.root, chain.root)),
        ("an authority that another has authorised", chain.authority.clone()),
        ("the server's own", chain.server.clone()),
        ("twice the same", chain.root.repeat(2)),
    ] {
        let heard = handshakes(&impostor, &place.write("ca.pem", &trusted)?).await?;
        assert_eq!(heard.refused, 0, "{case}");
    }
    for (case, trusted) in [
        ("another root of this name", other.root),
        ("another authority of this name", other.authority),
        ("another server of this name", other.server),
    ] {
        let heard = handshakes(&impostor, &place.write("ca.pem", &trusted)?).await?;
        assert_eq!(heard.accepted, 0, "{case}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_has_signed_its_own_certificate_is_trusted_where_the_file_has_it() -> Result<()> {
    let (place, key) = (Place::new()?, KeyPair::generate()?);
    let own = |key: &KeyPair| anyhow::Ok(parameters("Server", false)?.self_signed(key)?.pem());
    let shown = place.write("server.pem", &own(&key)?)?;
    let impostor = Impostor::start(&shown, &place.write("server.key", &key.serialize_pem())?)?;
    assert_eq!(handshakes(&impostor, &shown).await?.refused, 0);
    let other = place.write("other.pem", &own(&KeyPair::generate()?)?)?;
    assert_eq!(handshakes(&impostor, &other).await?.accepted, 0);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_named_by_an_ipv6_address_must_have_it_in_its_certificate() -> Result<()> {
    for (case, names, is_taken) in [
        ("its address", ["::1", "etcd.example"], true),
        ("another address", ["::2", "127.0.0.1"], false),
        ("names that only look like its address", ["[::1]", "::1.example"], false),
    ] {
        let (place, key) = (Place::new()?, KeyPair::generate()?);
        let mut parameters = CertificateParams::new(names.map(str::to_owned))?;
        parameters.distinguished_name.push(DnType::CommonName, "::1");
        let shown = place.write("server.pem", &parameters.self_signed(&key)?.pem())?;
        let key = place.write("server.key", &key.serialize_pem())?;
        let impostor = Impostor::start_at(Ipv6Addr::LOCALHOST.into(), &shown, &key)?;
        let heard = handshakes(&impostor, &shown).await?;
        assert_eq!((heard.accepted > 0, heard.refused == 0), (is_taken, is_taken), "{case}: {heard:?}");
    }
    Ok(())
}

#[test]
fn a_store_has_the_certificates_of_its_file_and_no_others() -> Result<()> {
    let (place, one, other) = (Place::new()?, Chain::new()?, Chain::new()?);
    let file = place.write("ca.pem", &(one.root + &other.root))?;
    assert_eq!(authorities(&file)?.all_certificates().len(), 2);
    let empty = place.write("empty.pem", "no certificate")?;
    let told = authorities(&empty).err().context("taken")?.to_string();
    assert!(told.contains("empty.pem") && told.contains("has no certificate in PEM format"), "{told}");
    Ok(())
}
