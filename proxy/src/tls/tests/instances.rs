//! Handshakes with instances.

use openssl::ssl::SslVersion;

use super::*;
use crate::config::{ClientCertificates, ClientMode, ServiceTls};
use crate::tls::{ClientTls, Event, TlsError};

/// An instance, of which the certificate is for `pay.net` and an address.
struct Instance {
    files: Files,
    authority: Authority,
    config: ListenerTls,
    /// What a service says that trusts its authority.
    service: ServiceTls,
}

impl Instance {
    fn new() -> Self {
        let (files, authority) = (Files::new(), Authority::new("Pay"));
        let config = listener(vec![files.pair("pay", &authority.sign(&["pay.net", "10.1.2.3"]))]);
        let ca = Some(files.write("ca.pem", &authority.pem));
        Self { files, authority, config, service: ServiceTls { ca, ..ServiceTls::default() } }
    }

    async fn greet(&self, client: &ClientTls, name: &str) -> Outcome {
        handshake(server(&self.config).accept().unwrap(), client.connect(name).unwrap()).await
    }
}

fn service(config: &ServiceTls) -> Arc<ClientTls> {
    Arc::new(
        ClientTls::new(config, None, Expired::Used, SystemTime::now())
            .map_err(|error| error.to_string())
            .unwrap(),
    )
}

fn look_twice(client: &ClientTls) -> Vec<Event> {
    let now = SystemTime::now();
    client.look(now).into_iter().chain(client.look(now)).collect()
}

#[tokio::test]
async fn an_instance_has_to_have_the_name_or_address_that_it_is_asked_for_by() {
    let instance = Instance::new();
    let client = service(&instance.service);
    for (name, asked, is_so) in [
        ("pay.net", Some("pay.net"), true),
        ("PAY.net.", Some("PAY.net"), true),
        ("10.1.2.3", None, true),
        ("other.net", Some("other.net"), false),
        ("10.1.2.4", None, false),
        ("::1", None, false),
    ] {
        let ssl = client.connect(name).unwrap();
        let outcome = handshake(server(&instance.config).accept().unwrap(), ssl).await;
        assert_eq!(outcome.client.is_ok(), is_so, "{name}");
        if let Ok(server) = outcome.server {
            assert_eq!(server.ssl().servername(ssl::NameType::HOST_NAME), asked, "{name}");
            assert_eq!(server.ssl().selected_alpn_protocol(), Some(&b"http/1.1"[..]));
        }
    }
}

#[test]
fn an_instance_is_not_asked_for_without_a_name() {
    let client = service(&Instance::new().service);
    for name in ["", ".", "pay\0.net"] {
        let error = client.connect(name).err().unwrap();
        assert!(matches!(&error, TlsError::NotAName(said) if said == name), "{error}");
    }
}

#[tokio::test]
async fn only_the_named_authorities_are_trusted_and_the_systems_only_without_any() {
    let instance = Instance::new();
    let ca = Some(instance.files.write("others.pem", Authority::new("Others").pem));
    for untrusting in [ServiceTls { ca, ..ServiceTls::default() }, ServiceTls::default()] {
        assert!(instance.greet(&service(&untrusting), "pay.net").await.client.is_err());
        let blind = ServiceTls { verify: false, ..untrusting };
        for name in ["pay.net", "other.net", "10.9.9.9"] {
            assert!(instance.greet(&service(&blind), name).await.client.is_ok(), "{name}");
        }
    }
}

#[tokio::test]
async fn no_version_of_tls_before_1_2_is_spoken() {
    let instance = Instance::new();
    let mut old = ssl::SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
    let pair = &instance.config.certificates[0];
    old.set_certificate_chain_file(&pair.cert).unwrap();
    old.set_private_key_file(&pair.key, ssl::SslFiletype::PEM).unwrap();
    old.set_security_level(0);
    old.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    old.set_max_proto_version(Some(SslVersion::TLS1_1)).unwrap();
    let client = service(&ServiceTls { verify: false, ..instance.service });
    let ssl = Ssl::new(old.build().context()).unwrap();
    assert!(handshake(ssl, client.connect("pay.net").unwrap()).await.client.is_err());
}

#[tokio::test]
async fn the_gateway_shows_its_certificate_and_the_next_one_when_it_is_renewed() {
    let mut instance = Instance::new();
    let gateways = Authority::new("Gateways");
    let demand = ClientCertificates {
        ca: instance.files.write("gateways.pem", &gateways.pem),
        crl: None,
        mode: ClientMode::Required,
    };
    instance.config.client = Some(demand);
    assert!(instance.greet(&service(&instance.service), "pay.net").await.server.is_err());
    instance.service.certificate = Some(instance.files.pair("gateway", &gateways.sign(&["gateway-1"])));
    let client = service(&instance.service);
    let shown = async |client: &ClientTls| {
        let outcome = instance.greet(client, "pay.net").await;
        let certificate = outcome.server().peer_certificate().unwrap();
        certificate.subject_alt_names().unwrap()[0].dnsname().unwrap().to_owned()
    };
    assert_eq!(shown(&client).await, "gateway-1");
    let generation = client.generation();
    assert_eq!(look_twice(&client), []);
    assert_eq!(client.generation(), generation);
    // Its own name may be another one.
    instance.files.pair("gateway", &gateways.sign(&["gateway-2"]));
    assert!(matches!(&look_twice(&client)[..], [Event::Renewed { names, .. }] if names == &["gateway-2"]));
    assert_ne!(client.generation(), generation);
    assert_eq!(shown(&client).await, "gateway-2");
    assert_eq!(client.states()[1].names, ["gateway-2"]);
    let certificate = client.for_pingora().certificate.unwrap();
    assert_eq!(certificate.leaf().subject_alt_names().unwrap()[0].dnsname(), Some("gateway-2"));
}

#[tokio::test]
async fn authorities_are_renewed_and_the_last_good_ones_are_kept() {
    let instance = Instance::new();
    let ca = instance.files.write("ca.pem", Authority::new("Others").pem);
    let client = service(&instance.service);
    assert!(instance.greet(&client, "pay.net").await.client.is_err());
    let generation = client.generation();
    instance.files.write("ca.pem", "");
    assert!(matches!(&look_twice(&client)[..], [Event::Refused { .. }]));
    assert!(client.states()[0].refused.is_some());
    assert_eq!(client.generation(), generation);
    instance.files.write("ca.pem", &instance.authority.pem);
    let file = ca.display().to_string();
    assert_eq!(look_twice(&client), [Event::Renewed { file, names: Vec::new(), not_after: None }]);
    assert_ne!(client.generation(), generation);
    assert!(instance.greet(&client, "pay.net").await.client.is_ok());
    assert_eq!(client.for_pingora().authorities.unwrap().len(), 1);
}

#[test]
fn a_new_configuration_that_says_the_same_keeps_the_generation_and_another_one_does_not() {
    let instance = Instance::new();
    let (before, now) = (service(&instance.service), SystemTime::now());
    let again = |config: &ServiceTls| {
        ClientTls::new(config, Some(&before), Expired::Refused, now).map_err(|_| ()).unwrap()
    };
    assert_ne!(before.generation(), 0);
    assert_eq!(again(&instance.service).generation(), before.generation());
    let blind = again(&ServiceTls { verify: false, ..instance.service.clone() });
    assert_ne!(blind.generation(), before.generation());
    assert!(!blind.for_pingora().verify);
    // The file may be gone by now.
    std::fs::remove_file(instance.files.path("ca.pem")).unwrap();
    assert_eq!(again(&instance.service).for_pingora().authorities.unwrap().len(), 1);
    assert!(ClientTls::new(&instance.service, None, Expired::Used, now).is_err());
}
