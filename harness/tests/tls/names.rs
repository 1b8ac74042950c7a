//! Which certificate a client is shown: by the name that it asks for.

use anyhow::Result;
use harness::link::TlsClient;

use super::{Place, shown, tls};

/// An exact name goes before a wildcard, whichever certificate stands first; what none is for gets the first one.
#[tokio::test]
async fn a_certificate_is_chosen_by_the_names_inside_and_the_first_one_is_the_default() -> Result<()> {
    let place = Place::new().await?;
    let names: [(&str, &[&str]); 4] = [
        ("first", &["first.example"]),
        ("shop", &["shop.example", "www.shop.example"]),
        ("wild", &["*.wild.example"]),
        ("exact", &["exact.wild.example"]),
    ];
    let (mut files, mut fingerprints) = (Vec::new(), Vec::new());
    for (name, names) in names {
        let certificate = place.authority.server(names)?;
        files.push(place.write(&certificate, name)?);
        fingerprints.push((certificate.fingerprint()?, name));
    }
    let _gateway = place.gateway(tls(&files.iter().collect::<Vec<_>>())).await?;
    let anybody = TlsClient::new(place.authority.pem())?;
    for (asked, expected) in [
        (Some("first.example"), "first"),
        (Some("shop.example"), "shop"),
        (Some("www.shop.example"), "shop"),
        (Some("WWW.Shop.Example"), "shop"),
        (Some("any.wild.example"), "wild"),
        (Some("exact.wild.example"), "exact"),
        (Some("two.labels.wild.example"), "first"),
        (Some("wild.example"), "first"),
        (Some("unknown.example"), "first"),
        (Some("localhost"), "first"),
        (None, "first"),
    ] {
        let client = asked.map_or_else(|| anybody.clone(), |name| anybody.naming(name));
        let shown = shown(place.door, &client).await?;
        let found = fingerprints.iter().find(|(fingerprint, _)| *fingerprint == shown);
        assert_eq!(found.map(|(_, name)| *name), Some(expected), "who asks for {asked:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_chain_is_shown_whole() -> Result<()> {
    let place = Place::new().await?;
    let certificate = place.authority.below("Between")?.below("Between them")?.server(&[super::SHOP])?;
    assert_eq!(certificate.chain.len(), 3);
    let files = place.write(&certificate, "shop")?;
    let _gateway = place.gateway(tls(&[&files])).await?;
    // The client has the topmost authority alone.
    assert_eq!(place.ask(&place.client()?).await?.status, 200);
    Ok(())
}
