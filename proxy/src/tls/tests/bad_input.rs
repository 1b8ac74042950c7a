//! Files that cannot be used: what is said of each, and that the last good ones serve.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::{X509Builder, X509NameBuilder};

use super::*;
use crate::config::{ClientCertificates, ClientMode};
use crate::tls::Event;

/// A certificate's file, its key's, and a part of what is said.
type Case = (&'static str, Vec<u8>, Vec<u8>, String);

fn case(name: &'static str, signed: &Signed, said: &str) -> Case {
    (name, signed.cert.clone().into(), signed.key.clone().into(), said.to_owned())
}

/// One that has signed itself, however weak: rcgen makes none of those.
fn self_signed(key: &PKey<Private>, digest: MessageDigest) -> Signed {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "shop.net").unwrap();
    let name = name.build();
    let mut certificate = X509Builder::new().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    certificate.sign(key, digest).unwrap();
    let [cert, key] = [certificate.build().to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap()];
    Signed { cert: String::from_utf8(cert).unwrap(), key: String::from_utf8(key).unwrap() }
}

fn elliptic(curve: Nid) -> PKey<Private> {
    PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
}

fn cases(root: &Authority) -> Vec<Case> {
    let between = root.intermediate("Between");
    let good = between.sign(&["shop.net"]);
    let chain = |parts: &[&str]| Signed { cert: parts.concat(), key: good.key.clone() };
    let key = PKey::private_key_from_pem(good.key.as_bytes()).unwrap();
    let secret = key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret").unwrap();
    let with_key = |key: &str| Signed { cert: good.cert.clone(), key: key.to_owned() };
    let in_days = |start: i64, end: i64| {
        let at = |days: i64| match u32::try_from(days) {
            Ok(days) => SystemTime::now() + days * DAY,
            Err(_) => SystemTime::now() - u32::try_from(-days).unwrap() * DAY,
        };
        between.sign_with(&["shop.net"], |parameters| {
            (parameters.not_before, parameters.not_after) = (at(start).into(), at(end).into());
        })
    };
    let cut = |pem: &str| pem.replacen("\n", "\n!", 2);
    let rsa = |bits: u32| PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
    let sha_256 = MessageDigest::sha256();
    let p_256 = elliptic(Nid::X9_62_PRIME256V1);
    vec![
        case("no certificate", &chain(&["certificates are elsewhere"]), "no certificate is in "),
        case("only a key", &chain(&[&good.key]), "no certificate is in "),
        case("damaged certificate", &chain(&[&cut(&good.cert)]), "a certificate in "),
        case("no key", &with_key(""), "no private key is in "),
        case("a certificate for a key", &with_key(&good.cert), "no private key is in "),
        case("damaged key", &with_key(&cut(&good.key)), "the private key in "),
        case("pass phrase", &with_key(std::str::from_utf8(&secret).unwrap()), " has a pass phrase, "),
        case(
            "another's key",
            &with_key(&between.sign(&["shop.net"]).key),
            " is not that of the first certificate in ",
        ),
        case("signer first", &chain(&[&between.pem, &good.cert]), "certificate 1 in "),
        case(
            "wrong order",
            &chain(&[&good.cert, &root.pem, &between.pem]),
            " is not signed by the next one: ",
        ),
        case("a gap", &chain(&[&good.cert, &between.pem, &between.pem]), "certificate 2 in "),
        case("expired", &in_days(-9, -2), " has expired at "),
        case("not yet valid", &in_days(2, 9), " is not valid before "),
        case("RSA 1024", &self_signed(&rsa(1024), sha_256), " is weak (1024 bits): "),
        case("EC 192", &self_signed(&elliptic(Nid::X9_62_PRIME192V1), sha_256), " is weak (192 bits): "),
        case("SHA-1", &self_signed(&p_256, MessageDigest::sha1()), " is signed with SHA-1, "),
        case("MD5", &self_signed(&rsa(2048), MessageDigest::md5()), " is signed with MD5, "),
    ]
}

#[test]
fn files_that_are_no_certificate_with_its_key_are_refused_and_named() {
    let (files, root) = (Files::new(), Authority::new("Root"));
    for (name, cert, key, said) in cases(&root) {
        let pair =
            CertificateFiles { cert: files.write("shop.pem", cert), key: files.write("shop.key", key) };
        let made = ServerTls::new(&listener(vec![pair]), true, None, Expired::Used, SystemTime::now());
        if name == "expired" {
            assert!(made.is_ok(), "{name}");
            continue;
        }
        let error = made.err().unwrap_or_else(|| panic!("{name} is taken")).to_string();
        assert!(error.contains(&said), "{name}: {error}");
        assert!(error.contains("shop.pem") || error.contains("shop.key"), "{name}: {error}");
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let good = files.pair("shop", &authority.sign(&["shop.net"]));
    let missing = files.path("missing");
    for pair in [
        CertificateFiles { cert: missing.clone(), ..good.clone() },
        CertificateFiles { key: missing.clone(), ..good.clone() },
    ] {
        let error = ServerTls::new(&listener(vec![pair]), true, None, Expired::Used, SystemTime::now())
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            format!("cannot read {}: No such file or directory (os error 2)", missing.display())
        );
    }
}

#[tokio::test]
async fn the_last_good_certificate_serves_whatever_its_files_say_and_that_is_told_once() {
    let (files, root) = (Files::new(), Authority::new("Root"));
    let good = root.sign(&["shop.net"]);
    let other = files.pair("other", &root.sign(&["other.net"]));
    let pair = files.pair("shop", &good);
    let server = server(&listener(vec![pair.clone(), other]));
    let now = SystemTime::now();
    let elsewhere = case(
        "other names",
        &root.sign(&["elsewhere.net"]),
        " is now for elsewhere.net, and has served shop.net: ",
    );
    for (name, cert, key, said) in cases(&root).into_iter().chain([elsewhere]) {
        files.write("shop.pem", cert);
        files.write("shop.key", key);
        // The other one is renewed meanwhile.
        files.pair("other", &root.sign(&["other.net"]));
        assert_eq!(server.look(now), [], "{name}");
        let events = server.look(now);
        assert!(
            matches!(&events[..], [Event::Refused { file, why }, Event::Renewed { .. }]
                if *file == pair.cert.display().to_string() && why.contains(&said)),
            "{name}: {events:?}"
        );
        assert_eq!(server.look(now), [], "{name}");
        assert!(server.states()[0].refused.as_ref().unwrap().contains(&said), "{name}");
        assert_eq!(server.states()[1].refused, None, "{name}");
        let outcome = handshake(server.accept().unwrap(), ask(client(&root), "shop.net")).await;
        assert_eq!(outcome.shown(), "shop.net", "{name}");
        files.pair("shop", &good);
        assert_eq!(server.look(now), [], "{name}");
        assert_eq!(server.look(now), [Event::Recovered { file: pair.cert.display().to_string() }], "{name}");
        assert_eq!(server.states()[0].refused, None, "{name}");
    }
}

#[test]
fn what_clients_are_asked_for_is_refused_and_named() {
    let (files, authority) = (Files::new(), Authority::new("Shops"));
    let pair = files.pair("shop", &authority.sign(&["shop.net"]));
    let cut = authority.pem.replacen("\n", "\n!", 2);
    let revoked = authority.revoke(&[1]);
    let cases = [
        ("", None, "no certificate is in "),
        (cut.as_str(), None, "a certificate in "),
        (&authority.pem, Some(""), "no certificate revocation list is in "),
        (&authority.pem, Some(authority.pem.as_str()), "no certificate revocation list is in "),
        (&authority.pem, Some(&revoked[..200]), "a certificate revocation list in "),
        (&authority.pem, Some(&revoked.replacen("\n", "\n!", 2)), "a certificate revocation list in "),
    ];
    for (ca, crl, said) in cases {
        let client = ClientCertificates {
            ca: files.write("clients.pem", ca),
            crl: crl.map(|crl| files.write("revoked.pem", crl)),
            mode: ClientMode::Required,
        };
        let config = ListenerTls { client: Some(client), ..listener(vec![pair.clone()]) };
        let error =
            ServerTls::new(&config, true, None, Expired::Used, SystemTime::now()).err().unwrap().to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn keys_are_read_as_openssls_commands_write_them() {
    let (files, key) = (Files::new(), elliptic(Nid::X9_62_PRIME256V1));
    let signed = self_signed(&key, MessageDigest::sha256());
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let old = String::from_utf8(key.ec_key().unwrap().private_key_to_pem().unwrap()).unwrap();
    for key in [&signed.key, &old, &(parameters.to_owned() + &old), &(signed.cert.clone() + &signed.key)] {
        let pair = files.pair("shop", &Signed { cert: signed.cert.clone(), key: key.clone() });
        let server = server(&listener(vec![pair]));
        assert_eq!(server.states()[0].names, ["shop.net"]);
    }
}
