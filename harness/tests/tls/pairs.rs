//! Files that are no certificate with its key: the one before serves on, and everybody is told.

use std::{
    fs,
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use harness::{
    certificates::{Authority, Certificate, CertificateFiles, Wanted},
    process::{Process, Stdout, binary},
    stack::{Gateway, GatewayOptions, private_directory, write_configuration},
    wait::eventually,
};
use serde_json::{Value, json};

use super::{EXPIRY, NOT_TAKEN, PATIENCE, Place, SHOP, shown, tls, wait_metric};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is wrong with the files.
#[derive(Clone, Copy, Debug)]
enum Fault {
    AnothersKey,
    Expired,
    OtherNames,
    WeakKey,
    WrongOrder,
    StrangeChain,
    NoCertificate,
    NoKey,
    NotPem,
    CutOff,
    CertificateGone,
    KeyGone,
}

/// Two of which the same is said do not follow each other: it would be told once.
const FAULTS: [Fault; 12] = [
    Fault::AnothersKey,
    Fault::WrongOrder,
    Fault::Expired,
    Fault::StrangeChain,
    Fault::WeakKey,
    Fault::NoCertificate,
    Fault::NoKey,
    Fault::NotPem,
    Fault::KeyGone,
    Fault::CutOff,
    Fault::OtherNames,
    Fault::CertificateGone,
];

impl Fault {
    /// Whether it is a mistake at a start, too. There is nothing before it whose names it could have; and one that has expired
    /// must not keep the others from being served: a warning tells of it.
    fn is_one_at_a_start(self) -> bool {
        !matches!(self, Self::OtherNames | Self::Expired)
    }

    /// What is said of it.
    fn words(self) -> &'static str {
        match self {
            Self::AnothersKey => "is not that of the first certificate",
            Self::Expired => "has expired",
            Self::OtherNames => "made for other hosts",
            Self::WeakKey => "is weak",
            Self::WrongOrder | Self::StrangeChain => "is not signed by the next one",
            Self::NoCertificate | Self::NotPem => "no certificate is in",
            Self::CutOff => "is damaged",
            Self::NoKey => "no private key is in",
            Self::CertificateGone | Self::KeyGone => "cannot read",
        }
    }

    fn put(self, authority: &Authority, files: &CertificateFiles) -> Result<()> {
        let good = authority.server(&[SHOP])?;
        let bad = match self {
            Self::AnothersKey => Certificate { key: authority.server(&[SHOP])?.key, ..good },
            Self::Expired => {
                let now = SystemTime::now();
                authority.sign(&Wanted::named(&[SHOP]).from(now - 3 * DAY).until(now - DAY))?
            }
            Self::OtherNames => authority.server(&["elsewhere.example"])?,
            Self::WeakKey => Certificate::rsa(SHOP, 1024)?,
            Self::WrongOrder => {
                let mut certificate = authority.below("Between")?.server(&[SHOP])?;
                certificate.chain.reverse();
                certificate
            }
            Self::StrangeChain => {
                let chain = [good.chain, vec![Authority::new("A stranger")?.pem().to_owned()]].concat();
                Certificate { chain, ..good }
            }
            Self::NoCertificate => Certificate { chain: Vec::new(), ..good },
            Self::NoKey => Certificate { key: String::new(), ..good },
            Self::NotPem => Certificate { chain: vec!["no certificate at all\n".to_owned()], ..good },
            Self::CutOff => Certificate { chain: vec![good.chain[0][..300].to_owned()], ..good },
            Self::CertificateGone | Self::KeyGone => good,
        };
        files.replace(&bad)?;
        match self {
            Self::CertificateGone => Ok(fs::remove_file(&files.cert)?),
            Self::KeyGone => Ok(fs::remove_file(&files.key)?),
            _ => Ok(()),
        }
    }
}

/// Why, as `/readyz` has it, what the file with this name has now is not used.
async fn refused(gateway: &Gateway, name: &str) -> Result<Option<String>> {
    let ready = gateway.admin("/readyz").await?;
    ensure!(ready.status == 200, "it does not serve: {}", ready.text());
    let page = ready.json()?;
    let shown = page["certificates"].as_array().context("no certificates are shown")?;
    let is_it = |shown: &&Value| shown["file"].as_str().is_some_and(|file| file.ends_with(name));
    let shown = shown.iter().find(is_it).with_context(|| format!("{name} is not shown: {page}"))?;
    Ok(shown["refused"].as_str().map(str::to_owned))
}

#[tokio::test]
async fn a_bad_pair_keeps_the_one_before_and_the_log_readyz_and_a_metric_tell() -> Result<()> {
    let place = Place::new().await?;
    let files = place.shop()?;
    let gateway = place.gateway(tls(&[&files])).await?;
    let client = place.client()?;
    let good = shown(place.door, &client).await?;
    let expiry = gateway.metric(EXPIRY, &[]).await?;
    let told = |line: &str| line.contains("shop") && (line.contains("WARN") || line.contains("ERROR"));
    for fault in FAULTS {
        let lines = gateway.process().line_count();
        fault.put(&place.authority, &files)?;
        let why = |line: &str| told(line) && line.contains(fault.words());
        let line = gateway.process().wait_for_line_since(lines, why, PATIENCE).await;
        line.with_context(|| format!("{fault:?}"))?;
        wait_metric(&gateway, NOT_TAKEN, &[], 1.0).await?;
        let said = refused(&gateway, "shop.pem").await?;
        assert!(said.as_ref().is_some_and(|said| said.contains(fault.words())), "{fault:?}: {said:?}");
        assert_eq!(shown(place.door, &client).await?, good, "{fault:?}");
        assert_eq!(place.ask(&client).await?.status, 200, "{fault:?}");
        assert_eq!(gateway.metric(EXPIRY, &[]).await?, expiry, "{fault:?}: the end of what serves is told");
    }
    // Told once, not at each look.
    let lines = gateway.process().line_count();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let again: Vec<_> = gateway.process().lines_since(lines).into_iter().filter(|line| told(line)).collect();
    assert!(again.is_empty(), "{again:?}");

    let better = place.authority.server(&[SHOP])?;
    files.replace(&better)?;
    place.wait_shown(&better).await?;
    wait_metric(&gateway, NOT_TAKEN, &[], 0.0).await?;
    assert_eq!(refused(&gateway, "shop.pem").await?, None);
    Ok(())
}

/// One bad one among several leaves the others alone: they change on.
#[tokio::test]
async fn a_bad_pair_is_no_other_certificates_fault() -> Result<()> {
    let place = Place::new().await?;
    let (shop, other) = (place.shop()?, place.write(&place.authority.server(&["other.example"])?, "other")?);
    let gateway = place.gateway(tls(&[&other, &shop])).await?;
    Fault::AnothersKey.put(&place.authority, &shop)?;
    wait_metric(&gateway, NOT_TAKEN, &["shop"], 1.0).await?;
    let (client, newer) =
        (place.client()?.naming("other.example"), place.authority.server(&["other.example"])?);
    other.replace(&newer)?;
    let expected = newer.fingerprint()?;
    eventually("the other one is taken", PATIENCE, async || {
        let shown = shown(place.door, &client).await?;
        ensure!(shown == expected, "{shown} is shown");
        Ok(())
    })
    .await?;
    assert_eq!(gateway.metric(NOT_TAKEN, &[]).await?, 1.0);
    assert_eq!(place.ask(&place.client()?).await?.status, 200);
    Ok(())
}

/// What `proxy -t` says of a configuration, and its exit status.
async fn checked(options: &GatewayOptions) -> Result<(Option<i32>, String)> {
    let directory = private_directory()?;
    let file = directory.path().join("checked.yaml");
    write_configuration(&file, &options.to_check(directory.path())?)?;
    let mut command = Command::new(binary("proxy")?);
    command.arg("-t").arg("-c").arg(&file);
    let mut process = Process::start(command, Stdout::Kept)?;
    let status = process.wait_exit(PATIENCE).await?;
    Ok((status.code(), process.lines().join("\n")))
}

#[tokio::test]
async fn a_bad_pair_is_a_mistake_to_a_check_that_names_its_file() -> Result<()> {
    let place = Place::new().await?;
    let files = place.shop()?;
    let options = place.options(tls(&[&files]));
    let (status, said) = checked(&options).await?;
    assert_eq!(status, Some(0), "{said}");
    for fault in FAULTS.into_iter().filter(|fault| fault.is_one_at_a_start()) {
        fault.put(&place.authority, &files)?;
        let (status, said) = checked(&options).await?;
        assert_eq!(status, Some(1), "{fault:?}: {said}");
        let names_it = said.contains("shop.pem") || said.contains("shop.key");
        assert!(names_it, "{fault:?}: {said}");
        files.replace(&place.authority.server(&[SHOP])?)?;
    }
    // A start would serve with it, for the sake of the others: to a check it is a remark.
    Fault::Expired.put(&place.authority, &files)?;
    let (status, said) = checked(&options).await?;
    assert!(status == Some(0) && said.contains("shop.pem") && said.contains("has ended"), "{said}");
    Ok(())
}

#[tokio::test]
async fn an_empty_file_of_authorities_is_a_mistake_and_keeps_the_ones_before() -> Result<()> {
    let place = Place::new().await?;
    let (files, clients) = (place.shop()?, Authority::new("Clients")?);
    let ca = place.file("clients.pem", clients.pem())?;
    let mut listener = tls(&[&files]);
    listener["tls"]["client"] = json!({ "ca": ca, "mode": "required" });
    let options = place.options(listener);
    let gateway = Gateway::start_with_registry(options.clone()).await?;
    let alice = clients.sign(&Wanted::subject("alice"))?;
    let client = harness::link::TlsClient::showing(place.authority.pem(), &alice)?.asking_for(SHOP);
    assert_eq!(place.ask(&client).await?.status, 200);
    for text in ["", "no certificate at all\n"] {
        let lines = gateway.process().line_count();
        place.file("clients.pem", text)?;
        let told =
            |line: &str| line.contains("clients.pem") && (line.contains("WARN") || line.contains("ERROR"));
        gateway.process().wait_for_line_since(lines, told, PATIENCE).await?;
        assert_eq!(place.ask(&client).await?.status, 200);
        place.assert_refused(&place.client()?, "who shows nothing").await?;
        let (status, said) = checked(&options).await?;
        assert!(status == Some(1) && said.contains("clients.pem"), "{said}");
        let lines = gateway.process().line_count();
        place.file("clients.pem", clients.pem())?;
        let told = |line: &str| line.contains("clients.pem") && line.contains("INFO");
        gateway.process().wait_for_line_since(lines, told, PATIENCE).await?;
    }
    Ok(())
}
