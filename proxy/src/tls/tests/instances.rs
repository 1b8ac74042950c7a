//! Handshakes with instances.

use std::net::SocketAddr;

use openssl::ssl::SslVersion;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{ClientCertificates, ClientMode, ServiceTls};
use crate::link::Tls;
use crate::tls::client::ClientTls;
use crate::tls::{Application, Event, InstanceError};

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

    async fn greet(&self, client: &ClientTls, name: &str) -> Greeting {
        greet(server(&self.config).accept().unwrap(), client, (name, "10.1.2.3:443")).await
    }
}

/// What a handshake has come to on both sides.
struct Greeting {
    server: Result<SslStream<TcpStream>, HandshakeFailure>,
    client: Result<bool, InstanceError>,
}

/// Of a client, who takes the instance for that of a name at an address. It reads what it is greeted by, and says whether it
/// has gone on with a session.
async fn greet(server: Ssl, client: &ClientTls, (name, address): (&str, &str)) -> Greeting {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = listener.local_addr().unwrap();
    let serve = async {
        let mut server = SslStream::new(server, listener.accept().await.unwrap().0).unwrap();
        match Pin::new(&mut server).accept().await {
            Ok(()) => {
                server.write_all(b"!").await.unwrap();
                Ok(server)
            }
            Err(error) => Err(HandshakeFailure::of(&error, server.ssl())),
        }
    };
    let ask = async {
        let tcp = TcpStream::connect(door).await.unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let mut tls = Tls::new(client.shake_hands(tcp, (name, address), Application::Http1).await?);
        let _ = tls.read(&mut [0]).await;
        Ok(tls.ssl().session_reused())
    };
    let (server, client) = tokio::join!(serve, ask);
    Greeting { server, client }
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
        let greeting = instance.greet(&client, name).await;
        assert_eq!(greeting.client.is_ok(), is_so, "{name}");
        if let Ok(server) = greeting.server {
            assert_eq!(server.ssl().servername(ssl::NameType::HOST_NAME), asked, "{name}");
            assert_eq!(server.ssl().selected_alpn_protocol(), Some(&b"http/1.1"[..]));
        }
    }
}

#[tokio::test]
async fn an_instance_is_not_asked_for_without_a_name() {
    let instance = Instance::new();
    let client = service(&instance.service);
    for name in ["", ".", "pay\0.net", "pay/net"] {
        let error = instance.greet(&client, name).await.client.unwrap_err();
        assert!(error.to_string().ends_with(&format!("{name:?} is not the name of a server")), "{error}");
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
    assert!(greet(ssl, &client, ("pay.net", "10.1.2.3:443")).await.client.is_err());
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
        let server = instance.greet(client, "pay.net").await.server.unwrap();
        let certificate = server.ssl().peer_certificate().unwrap();
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

/// An instance that goes on with sessions, and whether a handshake with it has done so.
struct Resuming {
    instance: Instance,
    server: Arc<ServerTls>,
    version: SslVersion,
}

const PAY: (&str, &str) = ("pay.net", "10.1.2.3:443");

impl Resuming {
    fn of_each_version() -> [Self; 2] {
        [SslVersion::TLS1_2, SslVersion::TLS1_3].map(|version| {
            let instance = Instance::new();
            let server = server(&instance.config);
            Self { instance, server, version }
        })
    }

    async fn greet(&self, client: &ClientTls, whom: (&str, &str)) -> Result<bool, String> {
        let mut ssl = self.server.accept().unwrap();
        ssl.set_max_proto_version(Some(self.version)).unwrap();
        let greeting = greet(ssl, client, whom).await;
        let is_resumed = greeting.client.map_err(|error| error.to_string())?;
        let server = greeting.server.unwrap();
        assert_eq!(server.ssl().session_reused(), is_resumed);
        assert_eq!(server.ssl().version2(), Some(self.version));
        Ok(is_resumed)
    }
}

#[tokio::test]
async fn a_session_goes_on_with_the_same_instance_by_the_same_name_alone() {
    for resuming in Resuming::of_each_version() {
        let client = service(&resuming.instance.service);
        for (whom, is_resumed) in [
            (PAY, false),
            (PAY, true),
            (("pay.net", "10.1.2.4:443"), false),
            (("pay.net", "10.1.2.3:444"), false),
            (("10.1.2.3", "10.1.2.3:443"), false),
            (("10.1.2.3", "10.1.2.3:443"), true),
            (PAY, true),
        ] {
            assert_eq!(resuming.greet(&client, whom).await, Ok(is_resumed), "{whom:?}");
        }
        for name in ["other.net", "pay.net.pay.net"] {
            let declined = Err(format!("its certificate is not for {name}"));
            for _ in 0..2 {
                assert_eq!(resuming.greet(&client, (name, PAY.1)).await, declined);
            }
        }
        assert_eq!(resuming.greet(&client, PAY).await, Ok(true));
    }
}

#[tokio::test]
async fn no_session_goes_on_when_what_is_trusted_or_shown_is_another() {
    for resuming in Resuming::of_each_version() {
        let Instance { files, authority, service: config, .. } = &resuming.instance;
        let certificate = Some(files.pair("gateway", &authority.sign(&["gateway-1"])));
        let config = ServiceTls { certificate, ..config.clone() };
        let client = service(&config);
        let twice = async |client: &ClientTls| {
            [resuming.greet(client, PAY).await.unwrap(), resuming.greet(client, PAY).await.unwrap()]
        };
        assert_eq!(twice(&client).await, [false, true]);
        files.pair("gateway", &authority.sign(&["gateway-2"]));
        assert_eq!(look_twice(&client).len(), 1);
        assert_eq!(twice(&client).await, [false, true]);
        let others = Authority::new("Others");
        files.write("ca.pem", format!("{}{}", authority.pem, others.pem));
        assert_eq!(look_twice(&client).len(), 1);
        assert_eq!(twice(&client).await, [false, true]);
        // A new configuration that says the same is no change.
        let now = SystemTime::now();
        let again = |config: &ServiceTls| {
            ClientTls::new(config, Some(&client), Expired::Refused, now).map_err(|_| ()).unwrap()
        };
        assert_eq!(twice(&again(&config)).await, [true, true]);
        let blind = ServiceTls { verify: false, ..config.clone() };
        assert_eq!(twice(&again(&blind)).await, [false, true]);
        files.write("ca.pem", &others.pem);
        assert_eq!(look_twice(&client).len(), 1);
        assert!(resuming.greet(&client, PAY).await.unwrap_err().contains("no authority that is trusted"));
    }
}

#[tokio::test]
async fn after_an_hour_an_instance_has_to_show_its_certificate_again() {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    for resuming in Resuming::of_each_version() {
        let began = SystemTime::now();
        let client =
            ClientTls::new(&resuming.instance.service, None, Expired::Used, began).map_err(|_| ()).unwrap();
        let generation = client.generation();
        assert_eq!(resuming.greet(&client, PAY).await, Ok(false));
        for (look, is_resumed) in [
            (began + HOUR - Duration::from_secs(1), true),
            (began + HOUR, false),
            (began + HOUR * 2 - Duration::from_secs(1), true),
            // The clock was set back.
            (began, false),
        ] {
            assert_eq!(client.look(look), []);
            assert_eq!(resuming.greet(&client, PAY).await, Ok(is_resumed), "{:?}", resuming.version);
        }
        assert_eq!(client.generation(), generation, "connections are kept");
    }
}

#[tokio::test]
async fn no_more_than_so_many_sessions_are_kept_and_the_latest_ones() {
    let [_, resuming] = Resuming::of_each_version();
    let client = service(&resuming.instance.service);
    let generous = async |address: &str| {
        let mut ssl = resuming.server.accept().unwrap();
        ssl.set_num_tickets(100).unwrap();
        greet(ssl, &client, ("pay.net", address)).await.client.unwrap()
    };
    for last in 1..8 {
        assert!(!generous(&format!("10.1.2.{last}:443")).await);
    }
    for (address, is_resumed) in [("10.1.2.1:443", false), ("10.1.2.3:443", true), ("10.1.2.7:443", true)] {
        assert_eq!(resuming.greet(&client, ("pay.net", address)).await, Ok(is_resumed), "{address}");
    }
}
