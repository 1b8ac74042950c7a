//! Files that change.

use std::os::unix::fs::symlink;

use openssl::ssl::SslFiletype;

use super::*;
use crate::config::{ClientCertificates, ClientMode, ServiceTls};
use crate::tls::client::ClientTls;
use crate::tls::{Event, TlsError};

/// What two looks, of which the second one takes what both have found, come to.
fn look_twice(server: &ServerTls, now: SystemTime) -> Vec<Event> {
    let mut events = server.look(now);
    events.extend(server.look(now));
    events
}

fn renewed(events: &[Event]) -> bool {
    matches!(events, [Event::Renewed { .. }])
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_shown_when_two_looks_agree() {
    let (files, old, new) = (Files::new(), Authority::new("Old"), Authority::new("New"));
    let pair = files.pair("shop", &old.sign(&["shop.net"]));
    let server = server(&listener(vec![pair.clone()]));
    let now = SystemTime::now();
    assert_eq!(look_twice(&server, now), []);
    files.pair("shop", &new.sign(&["shop.net", "www.shop.net"]));
    assert_eq!(server.look(now), []);
    assert!(handshake(server.accept().unwrap(), ask(client(&old), "shop.net")).await.server.is_ok());
    let events = server.look(now);
    let state = &server.states()[0];
    let renewed = Event::Renewed {
        file: pair.cert.display().to_string(),
        names: vec!["shop.net".to_owned(), "www.shop.net".to_owned()],
        not_after: state.not_after,
    };
    assert_eq!(events, [renewed]);
    assert_eq!(state.names, ["shop.net", "www.shop.net"]);
    assert!(handshake(server.accept().unwrap(), ask(client(&new), "www.shop.net")).await.server.is_ok());
    assert_eq!(server.look(now), []);
}

/// As a Secret that Kubernetes mounts: each file is a link into a directory, which is a link itself; that one is replaced.
#[test]
fn a_certificate_behind_links_is_renewed_when_one_of_them_is_replaced() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    for directory in ["1", "2"] {
        std::fs::create_dir(files.path(directory)).unwrap();
        files.pair(&format!("{directory}/tls"), &authority.sign(&["shop.net"]));
    }
    symlink("1", files.path("data")).unwrap();
    for file in ["tls.pem", "tls.key"] {
        symlink(format!("data/{file}"), files.path(file)).unwrap();
    }
    let server =
        server(&listener(vec![CertificateFiles { cert: files.path("tls.pem"), key: files.path("tls.key") }]));
    symlink("2", files.path("next")).unwrap();
    std::fs::rename(files.path("next"), files.path("data")).unwrap();
    assert!(renewed(&look_twice(&server, SystemTime::now())));
}

#[test]
fn a_pair_is_not_taken_while_only_one_of_its_files_is_new() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let pair = files.pair("shop", &authority.sign(&["shop.net"]));
    let server = server(&listener(vec![pair]));
    let (now, next) = (SystemTime::now(), authority.sign(&["shop.net"]));
    files.write("shop.pem", &next.cert);
    assert_eq!(server.look(now), []);
    files.write("shop.key", &next.key);
    assert_eq!(server.look(now), []);
    assert!(renewed(&server.look(now)));
}

#[test]
fn files_that_are_gone_are_told_and_files_that_are_back() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let (signed, now) = (authority.sign(&["shop.net"]), SystemTime::now());
    let pair = files.pair("shop", &signed);
    let server = server(&listener(vec![pair.clone()]));
    std::fs::remove_file(&pair.key).unwrap();
    assert_eq!(server.look(now), []);
    let events = server.look(now);
    let why = format!("cannot read {}: No such file or directory (os error 2)", pair.key.display());
    let file = pair.cert.display().to_string();
    assert_eq!(events, [Event::Refused { file: file.clone(), why }]);
    assert_eq!(look_twice(&server, now), []);
    files.pair("shop", &signed);
    assert_eq!(look_twice(&server, now), [Event::Recovered { file }]);
}

#[test]
fn one_that_has_expired_is_used_at_a_start_and_told_but_not_taken_later() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let end = |parameters: &mut CertificateParams| parameters.not_after = (SystemTime::now() - DAY).into();
    let expired = listener(vec![files.pair("old", &authority.sign_with(&["old.net"], end))]);
    let before = server(&expired);
    let now = SystemTime::now();
    assert!(matches!(&before.look(now)[..], [Event::Ended { names, .. }] if names == &["old.net"]));
    assert_eq!(look_twice(&before, now), []);
    // What was used goes on to be.
    let after = Arc::new(
        ServerTls::new(&expired, true, Some(&before), Expired::Refused, now).map_err(|_| ()).unwrap(),
    );
    assert_eq!(look_twice(&after, now), []);
    let more = listener(vec![files.pair("more", &authority.sign_with(&["more.net"], end))]);
    let error = ServerTls::new(&more, true, Some(&before), Expired::Refused, now).err().unwrap();
    assert!(matches!(error, TlsError::Expired { place: 1, .. }), "{error}");
}

#[test]
fn one_that_is_not_valid_yet_is_taken_when_it_is() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let server = server(&listener(vec![files.pair("shop", &authority.sign(&["shop.net"]))]));
    let now = SystemTime::now();
    let later = authority.sign_with(&["shop.net"], |parameters| parameters.not_before = (now + DAY).into());
    files.pair("shop", &later);
    assert!(matches!(&look_twice(&server, now)[..], [Event::Refused { .. }]));
    assert_eq!(look_twice(&server, now), []);
    assert!(renewed(&look_twice(&server, now + 2 * DAY)));
}

#[test]
fn an_end_is_told_and_forgotten_when_the_certificate_is_renewed() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let now = SystemTime::now();
    let for_days = |days: u32| {
        authority.sign_with(&["shop.net"], |parameters| parameters.not_after = (now + days * DAY).into())
    };
    let server = server(&listener(vec![files.pair("shop", &for_days(10))]));
    assert!(matches!(&look_twice(&server, now)[..], [Event::EndsSoon { days: 9, .. }]));
    files.pair("shop", &for_days(90));
    assert!(renewed(&look_twice(&server, now)));
    assert!(matches!(&look_twice(&server, now + 80 * DAY)[..], [Event::EndsSoon { days: 9, .. }]));
}

#[test]
fn a_new_configuration_takes_over_what_is_made_of_the_same_files() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let now = SystemTime::now();
    let pair = files.pair("shop", &authority.sign(&["shop.net"]));
    let before = server(&listener(vec![pair.clone()]));
    files.write("shop.key", "");
    assert!(matches!(&look_twice(&before, now)[..], [Event::Refused { .. }]));
    let more = files.pair("more", &authority.sign(&["more.net"]));
    let config = listener(vec![more.clone(), pair.clone()]);
    let after = ServerTls::new(&config, true, Some(&before), Expired::Refused, now)
        .map_err(|error| error.to_string())
        .unwrap();
    assert_eq!(after.states()[0].refused, None);
    assert_eq!(after.states()[1], before.states()[0]);
    assert!(after.states()[1].refused.is_some());
    assert_eq!(look_twice(&after, now), []);
    // Whoever has no last good one cannot go on with it.
    assert!(ServerTls::new(&config, true, None, Expired::Used, now).is_err());
    files.write("more.key", "");
    assert!(ServerTls::new(&config, true, Some(&before), Expired::Refused, now).is_err());
}

#[tokio::test]
async fn clients_authorities_are_renewed_and_the_last_good_ones_are_kept() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let ca = files.write("clients.pem", &old.pem);
    let demand = ClientCertificates { ca: ca.clone(), crl: None, mode: ClientMode::Required };
    let config = listener(vec![files.pair("shop", &authority.sign(&["shop.net"]))]);
    let server = server(&ListenerTls { client: Some(demand.clone()), ..config.clone() });
    let greet = async |clients: &Authority| {
        let shown = files.pair("ann", &clients.sign(&["ann"]));
        let mut client = client(&authority);
        client.set_certificate_file(&shown.cert, SslFiletype::PEM).unwrap();
        client.set_private_key_file(&shown.key, SslFiletype::PEM).unwrap();
        handshake(server.accept().unwrap(), ask(client, "shop.net")).await.server.is_ok()
    };
    let now = SystemTime::now();
    assert_eq!((greet(&old).await, greet(&new).await), (true, false));
    files.write("clients.pem", "");
    let file = ca.display().to_string();
    assert!(matches!(&look_twice(&server, now)[..], [Event::Refused { file: said, .. }] if *said == file));
    let state = server.states().into_iter().find(|state| state.file == file).unwrap();
    assert!(state.refused.is_some_and(|why| why.contains("no certificate")));
    assert_eq!((greet(&old).await, greet(&new).await), (true, false));
    // Though they have to be shown no more.
    let optional = ClientCertificates { mode: ClientMode::Optional, ..demand };
    let optional = ListenerTls { client: Some(optional), ..config };
    let after = ServerTls::new(&optional, true, Some(&server), Expired::Refused, now)
        .map_err(|error| error.to_string())
        .unwrap();
    handshake(after.accept().unwrap(), ask(client(&authority), "shop.net")).await.server();
    files.write("clients.pem", &new.pem);
    assert_eq!(look_twice(&server, now), [Event::Renewed { file, names: Vec::new(), not_after: None }]);
    assert_eq!((greet(&old).await, greet(&new).await), (false, true));
}

#[tokio::test]
async fn what_is_taken_while_a_new_configuration_is_made_ready_is_taken_by_it_too() {
    let (files, old, new) = (Files::new(), Authority::new("Old"), Authority::new("New"));
    let (clients, now) = (Authority::new("Clients"), SystemTime::now());
    let ca = files.write("clients.pem", &clients.pem);
    let demand = ClientCertificates { ca, crl: None, mode: ClientMode::Optional };
    let certificates = vec![files.pair("shop", &old.sign(&["shop.net"]))];
    let before = server(&ListenerTls { certificates: certificates.clone(), client: Some(demand.clone()) });
    let required = ClientCertificates { mode: ClientMode::Required, ..demand };
    let next = ListenerTls { certificates, client: Some(required) };
    let [after, last] = [&before, &before]
        .map(|before| Arc::new(ServerTls::new(&next, true, Some(before), Expired::Refused, now).unwrap()));
    files.pair("shop", &new.sign(&["shop.net"]));
    files.write("clients.pem", Authority::new("Others").pem);
    assert_eq!(look_twice(&before, now).len(), 2);
    assert_eq!(after.look(now), [], "it was told");
    let greet = async |server: &ServerTls, authority| {
        handshake(server.accept().unwrap(), ask(client(authority), "shop.net")).await
    };
    assert_eq!(greet(&after, &new).await.failure(), &HandshakeFailure::NoClientCertificate);
    assert_eq!(after.states()[0].not_after, before.states()[0].not_after);
    // So it is if one follows upon the other without a look.
    let latest = ServerTls::new(&next, false, Some(&last), Expired::Refused, now).unwrap();
    assert_eq!(greet(&latest, &new).await.failure(), &HandshakeFailure::NoClientCertificate);
}

#[test]
fn only_a_process_that_starts_takes_one_that_has_expired() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let end = |parameters: &mut CertificateParams| parameters.not_after = (SystemTime::now() - DAY).into();
    let pair = files.pair("old", &authority.sign_with(&["old.net"], end));
    let service = ServiceTls { certificate: Some(pair.clone()), ..ServiceTls::default() };
    for (expired, is_taken) in [(Expired::Used, true), (Expired::Refused, false)] {
        let now = SystemTime::now();
        let server = ServerTls::new(&listener(vec![pair.clone()]), true, None, expired, now);
        assert_eq!(server.is_ok(), is_taken, "{expired:?}");
        assert_eq!(ClientTls::new(&service, None, expired, now).is_ok(), is_taken, "{expired:?}");
    }
}
