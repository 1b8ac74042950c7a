//! Lists of revoked certificates: who is let in by them, and which are taken.

use openssl::pkey::PKey;

use super::*;
use crate::config::{ClientCertificates, ClientMode};
use crate::tls::{Event, Kind};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A list of an authority named "Root", with nothing in it, as `openssl ca -gencrl` writes it: it does not say whose key it was
/// signed with.
const PLAIN: &str = "-----BEGIN X509 CRL-----
MIGVMD0wCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEUm9vdBcNMjAwMTAxMDAwMDAw
WhgPMjEyMDAxMDEwMDAwMDBaMAoGCCqGSM49BAMCA0gAMEUCIHc/nyNCa8tXH8fF
zdszz2yyKIgz1qq5VqGQpDk1LBPIAiEAqMU187JeBM9XEzBXqKIYQC/jj2YUymuZ
cndBtid1RS8=
-----END X509 CRL-----
";

/// A listener that demands certificates of clients.
struct Guarded {
    files: Files,
    shops: Authority,
    config: ListenerTls,
}

impl Guarded {
    /// `ca`: in PEM, as are the lists.
    fn new(ca: &[&str], lists: &[&str]) -> Self {
        let (files, shops) = (Files::new(), Authority::new("Shops"));
        let client = ClientCertificates {
            ca: files.write("clients.pem", ca.concat()),
            crl: Some(files.write("revoked.pem", lists.concat())),
            mode: ClientMode::Required,
        };
        let certificates = vec![files.pair("shop", &shops.sign(&["shop.net"]))];
        Self { files, shops, config: ListenerTls { certificates, client: Some(client) } }
    }

    fn write(&self, lists: &[&str]) {
        self.files.write("revoked.pem", lists.concat());
    }

    fn crl(&self) -> String {
        self.files.path("revoked.pem").display().to_string()
    }

    fn refusal(&self, expired: Expired) -> Option<String> {
        let made = ServerTls::new(&self.config, true, None, expired, SystemTime::now());
        made.err().map(|error| error.to_string())
    }

    /// What the listener says to a client who shows this, with those that have signed it.
    async fn greet(&self, server: &ServerTls, shown: &Signed) -> Result<(), String> {
        let mut client = client(&self.shops);
        let mut chain = X509::stack_from_pem(shown.cert.as_bytes()).unwrap().into_iter();
        client.set_certificate(&chain.next().unwrap()).unwrap();
        chain.for_each(|signer| client.add_extra_chain_cert(signer).unwrap());
        client.set_private_key(&PKey::private_key_from_pem(shown.key.as_bytes()).unwrap()).unwrap();
        let outcome = handshake(server.accept().unwrap(), ask(client, "shop.net")).await;
        let server = outcome.server.map_err(|failure| failure.to_string())?;
        assert_eq!(server.ssl().verify_result(), openssl::x509::X509VerifyResult::OK);
        Ok(())
    }

    async fn assert_in(&self, server: &ServerTls, shown: &Signed) {
        assert_eq!(self.greet(server, shown).await, Ok(()));
    }

    async fn assert_declined(&self, server: &ServerTls, shown: &Signed, why: &str) {
        let failure = self.greet(server, shown).await.unwrap_err();
        assert!(failure.ends_with(why), "{failure}");
    }
}

fn number(serial: u8) -> impl Fn(&mut CertificateParams) {
    move |parameters| parameters.serial_number = Some(SerialNumber::from(vec![serial]))
}

/// A client's certificate of this number, and those of authorities that he shows with it.
fn below(authorities: &[&Authority], serial: u8) -> Signed {
    let signed = authorities[0].sign_with(&["ann"], number(serial));
    let signers: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
    Signed { cert: signed.cert + &signers, ..signed }
}

/// What two looks, of which the second one takes what both have found, come to.
fn look_twice(server: &ServerTls, now: SystemTime) -> Vec<Event> {
    assert_eq!(server.look(now), []);
    server.look(now)
}

/// Checks that what the files say now is not used, and why.
fn assert_refused(events: &[Event], said: &str) {
    assert!(matches!(events, [Event::Refused { why, .. }] if why.contains(said)), "{said}: {events:?}");
}

#[tokio::test]
async fn a_revoked_certificate_is_declined_and_so_is_what_a_revoked_authority_has_signed() {
    let root = Authority::new("Root");
    let [good, bad] =
        [5, 6].map(|serial| root.intermediate_with(&format!("Between {serial}"), number(serial)));
    let guarded = Guarded::new(&[&root.pem], &[&root.revoke(&[6, 7]), &good.revoke(&[8]), &bad.revoke(&[])]);
    let server = server(&guarded.config);
    for valid in [below(&[&root], 8), below(&[&good], 7)] {
        guarded.assert_in(&server, &valid).await;
    }
    for revoked in [below(&[&root], 7), below(&[&good], 8), below(&[&bad], 7)] {
        guarded.assert_declined(&server, &revoked, "certificate revoked").await;
    }
}

/// Whoever has signed it does not count, and so need not be known, nor what he has revoked.
#[tokio::test]
async fn an_authority_that_somebody_has_signed_is_trusted_by_itself() {
    let root = Authority::new("Root");
    let between = root.intermediate_with("Between", number(5));
    let own = between.revoke(&[7]);
    let of_root = root.revoke(&[9]);
    for (ca, lists) in [
        (&[&*between.pem][..], &[&*own][..]),
        (&[&between.pem], &[&own, &of_root]),
        (&[&between.pem], &[PLAIN, &own]),
        (&[&root.pem, &between.pem], &[&own, &of_root]),
    ] {
        let guarded = Guarded::new(ca, lists);
        let server = server(&guarded.config);
        guarded.assert_in(&server, &below(&[&between], 8)).await;
        guarded.assert_declined(&server, &below(&[&between], 7), "certificate revoked").await;
        let lower = below(&[&between.intermediate_with("Lower", number(7))], 8);
        guarded.assert_declined(&server, &lower, "unable to get certificate CRL").await;
    }
}

#[tokio::test]
async fn an_authority_that_is_revoked_is_not_trusted_and_nobody_below_it() {
    let root = Authority::new("Root");
    let middle = root.intermediate_with("Middle", number(5));
    let lower = middle.intermediate_with("Lower", number(6));
    let lists = [&*root.revoke(&[5]), &lower.revoke(&[])];
    for ca in [&[&*middle.pem][..], &[&lower.pem, &middle.pem], &[&middle.pem, &root.pem, &lower.pem]] {
        let guarded = Guarded::new(ca, &lists);
        let server = server(&guarded.config);
        for client in [below(&[&middle], 8), below(&[&lower], 8), below(&[&lower, &middle], 8)] {
            assert!(guarded.greet(&server, &client).await.is_err());
        }
        if ca.contains(&&*root.pem) {
            guarded.assert_in(&server, &below(&[&root], 8)).await;
        }
    }
}

/// Numbers of roots are their owners' own: 1 may well be that of somebody whom they have signed, too.
#[tokio::test]
async fn a_root_is_not_revoked_by_its_own_list() {
    let root = Authority::new_with("Root", number(1));
    let guarded = Guarded::new(&[&root.pem], &[&root.revoke(&[1])]);
    let server = server(&guarded.config);
    guarded.assert_in(&server, &below(&[&root], 8)).await;
    guarded.assert_declined(&server, &below(&[&root], 1), "certificate revoked").await;
}

#[tokio::test]
async fn each_authority_must_have_a_list() {
    for name in ["Other", "Root"] {
        let (root, other, now) = (Authority::new("Root"), Authority::new(name), SystemTime::now());
        let lists = [&root, &other].map(|authority| authority.revoke_until(&[], now + 9 * DAY));
        let guarded = Guarded::new(&[&root.pem, &other.pem], &[&lists[0]]);
        let said = "is signed by certificate 2 in ";
        for expired in [Expired::Used, Expired::Refused] {
            let refusal = guarded.refusal(expired).unwrap();
            assert!(refusal.contains(said) && refusal.contains(&guarded.crl()), "{refusal}");
        }
        guarded.write(&[&lists[0], &lists[1]]);
        let server = server(&guarded.config);
        guarded.write(&[&lists[0]]);
        assert_refused(&look_twice(&server, now), said);
        for authority in [&root, &other] {
            guarded.assert_in(&server, &below(&[authority], 8)).await;
        }
    }
}

#[tokio::test]
async fn who_is_trusted_and_signs_nobody_needs_no_list() {
    let root = Authority::new("Root");
    let ann = root.sign(&["ann"]);
    for (ca, list) in [(vec![&*root.pem, &ann.cert], &root), (vec![&ann.cert], &Authority::new("Other"))] {
        let guarded = Guarded::new(&ca, &[&list.revoke(&[])]);
        guarded.assert_in(&server(&guarded.config), &ann).await;
    }
}

#[tokio::test]
async fn no_client_is_taken_by_an_old_list_of_revoked_ones_and_that_is_told() {
    let root = Authority::new("Root");
    let (now, ann) = (SystemTime::now(), root.sign(&["ann"]));
    let guarded = Guarded::new(&[&root.pem], &[&root.revoke_until(&[7], now - DAY)]);
    let (server, crl) = (server(&guarded.config), guarded.crl());
    guarded.assert_declined(&server, &ann, "CRL has expired").await;
    let events = server.look(now);
    assert!(matches!(&events[..], [Event::RevocationsEnded { file, .. }] if *file == crl), "{events:?}");
    assert_eq!(server.look(now), []);
    guarded.write(&[&root.revoke(&[7])]);
    let events = look_twice(&server, now);
    let [Event::Renewed { .. }, Event::RevocationsEndSoon { file, not_after, .. }] = &events[..] else {
        panic!("it ends in a tenth of its life: {events:?}")
    };
    assert_eq!(*file, crl);
    guarded.assert_in(&server, &ann).await;
    assert_eq!(server.look(now), []);
    // One that has most of its life before it.
    guarded.write(&[&root.revoke_until(&[7], now + 5 * DAY)]);
    assert!(matches!(&look_twice(&server, now)[..], [Event::Renewed { .. }]));
    let states = server.states();
    let [_, authorities, revocations] = &states[..] else { panic!("{states:?}") };
    assert_eq!((authorities.kind, authorities.not_after), (Kind::Authorities, None));
    assert_eq!((revocations.kind, &revocations.file), (Kind::Revocations, &crl));
    assert!(revocations.not_after.unwrap() > *not_after + 3 * DAY);
}

#[tokio::test]
async fn a_list_that_has_ended_or_is_not_valid_yet_does_not_take_a_good_ones_place() {
    let root = Authority::new("Root");
    let (now, ann) = (SystemTime::now(), root.sign(&["ann"]));
    let guarded = Guarded::new(&[&root.pem], &[&root.revoke_until(&[7], now + 9 * DAY)]);
    let server = server(&guarded.config);
    let ended = root.revoke_until(&[7], now - DAY);
    let early = root.revoke_with(&[7], |parameters| {
        (parameters.this_update, parameters.next_update) = ((now + DAY).into(), (now + 9 * DAY).into());
    });
    for (list, said) in
        [(&ended, "list 2 in "), (&ended, " has ended at "), (&early, " is not valid before ")]
    {
        guarded.write(&[&root.revoke(&[7]), list]);
        assert_refused(&look_twice(&server, now), said);
        assert_eq!(server.look(now), [], "it was told");
        let states = server.states();
        assert!(states.iter().skip(1).all(|state| state.refused.as_ref().unwrap().contains(said)));
        guarded.assert_in(&server, &ann).await;
        guarded.write(&[&root.revoke_until(&[7], now + 9 * DAY)]);
        look_twice(&server, now);
    }
    guarded.write(&[&early]);
    assert_refused(&look_twice(&server, now), " is not valid before ");
    assert!(matches!(&server.look(now + 2 * DAY)[..], [Event::Renewed { .. }]));
}

/// Otherwise one authority that makes no more lists would take the clients of all others along.
#[test]
fn a_list_that_has_ended_takes_the_place_of_one_that_has_too() {
    let (root, other, now) = (Authority::new("Root"), Authority::new("Other"), SystemTime::now());
    let list = root.revoke_until(&[], now + 9 * DAY);
    let guarded = Guarded::new(&[&root.pem, &other.pem], &[&list, &other.revoke_until(&[], now + HOUR)]);
    let server = server(&guarded.config);
    server.look(now);
    let ended = other.revoke_until(&[], now - DAY);
    guarded.write(&[&root.revoke_until(&[], now + 19 * DAY), &ended]);
    assert_refused(&look_twice(&server, now), "list 2 in ");
    let events = server.look(now + 2 * HOUR);
    assert!(matches!(&events[..], [Event::Renewed { .. }, Event::RevocationsEnded { .. }]), "{events:?}");
    // It is no reason to do without the first one.
    guarded.write(&[&root.revoke_until(&[], now - DAY), &ended]);
    assert_refused(&look_twice(&server, now + 2 * HOUR), " has ended at ");
}

#[test]
fn only_a_process_that_starts_takes_a_list_that_has_ended_and_none_one_that_is_not_valid_yet() {
    let (root, now) = (Authority::new("Root"), SystemTime::now());
    let guarded = Guarded::new(&[&root.pem], &[&root.revoke_until(&[], now - DAY)]);
    assert_eq!(guarded.refusal(Expired::Used), None);
    assert!(guarded.refusal(Expired::Refused).unwrap().contains(" has ended at "));
    guarded.write(&[&root.revoke_with(&[], |parameters| parameters.this_update = (now + HOUR).into())]);
    for expired in [Expired::Used, Expired::Refused] {
        assert!(guarded.refusal(expired).unwrap().contains(" is not valid before "));
    }
}

#[test]
fn the_end_of_each_list_is_told_and_the_first_one_is_shown() {
    let (root, other, now) = (Authority::new("Root"), Authority::new("Other"), SystemTime::now());
    // They began 9 days ago: the quarters of their lives are 4 and a half days, and 2 and a quarter.
    let (late, first) = (root.revoke_until(&[], now + 9 * DAY), other.revoke_until(&[], now + HOUR));
    let guarded = Guarded::new(&[&root.pem, &other.pem], &[&late, &first]);
    let server = server(&guarded.config);
    let shown = || server.states().last().unwrap().not_after.unwrap();
    let end = shown();
    assert!(end <= now + HOUR);
    let look = |after: Duration| {
        let events = server.look(now + after);
        assert_eq!(server.look(now + after), [], "it was told");
        assert_eq!(shown(), end);
        events
    };
    let soon = look(Duration::ZERO);
    assert!(matches!(&soon[..], [Event::RevocationsEndSoon { place: 2, .. }]), "{soon:?}");
    let over = look(2 * HOUR);
    assert!(matches!(&over[..], [Event::RevocationsEnded { place: 2, .. }]), "{over:?}");
    assert_eq!(look(4 * DAY), []);
    let soon = look(5 * DAY);
    assert!(matches!(&soon[..], [Event::RevocationsEndSoon { place: 1, .. }]), "{soon:?}");
    let over = look(10 * DAY);
    assert!(matches!(&over[..], [Event::RevocationsEnded { place: 1, .. }]), "{over:?}");
}
