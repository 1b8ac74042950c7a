//! OpenSSL's own client against each setting.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use harness::{certificates::Authority, certificates::Wanted, wait::eventually};
use serde_json::json;

use super::{PATIENCE, Place, SHOP, tls};

/// A request whose answer ends the connection.
const REQUEST: &str = "GET /goods HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";

/// Alerts (RFC 8446, 6), as OpenSSL prints them.
const HANDSHAKE_FAILURE: &str = "alert number 40";
const PROTOCOL_VERSION: &str = "alert number 70";

/// What `openssl s_client` prints, of itself and of the answer.
async fn s_client(place: &Place, arguments: &[&str]) -> Result<String> {
    let ca = place.file("ca.pem", place.authority.pem())?;
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &place.door.to_string(), "-servername", SHOP, "-verify_return_error"])
        .args(["-verify_hostname", SHOP, "-ign_eof", "-CAfile"])
        .arg(ca)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let run = tokio::task::spawn_blocking(move || -> Result<String> {
        let mut child = command.spawn().context("starting openssl: tools/setup.sh test installs it")?;
        if let Some(mut input) = child.stdin.take() {
            // It may have ended already, where the handshake fails.
            let _ = input.write_all(REQUEST.as_bytes());
        }
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    });
    tokio::time::timeout(PATIENCE, run).await.context("openssl does not end")??
}

fn is_served(printed: &str) -> bool {
    printed.contains("HTTP/1.1 200")
}

#[tokio::test]
async fn openssls_client_is_served_or_not_as_each_setting_says() -> Result<()> {
    let place = Place::new().await?;
    let (_gateway, _files) = place.serving().await?;
    for arguments in [
        &["-tls1_2"][..],
        &["-tls1_3"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
        &["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"],
        &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"],
        &["-groups", "X25519"],
        &["-groups", "P-521"],
        &["-alpn", "http/1.1"],
    ] {
        let printed = s_client(&place, arguments).await?;
        assert!(is_served(&printed), "{arguments:?}: {printed}");
    }
    for (arguments, alert) in [
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA@SECLEVEL=0"], HANDSHAKE_FAILURE),
        (["-tls1_1", "-cipher", "ALL@SECLEVEL=0"], PROTOCOL_VERSION),
        (["-tls1", "-cipher", "ALL@SECLEVEL=0"], PROTOCOL_VERSION),
    ] {
        let printed = s_client(&place, &arguments).await?;
        assert!(!is_served(&printed) && printed.contains(alert), "{arguments:?}: {printed}");
    }
    Ok(())
}

/// A session that is kept in a file, and gone on with.
async fn resumes(place: &Place, session: &Path, version: &str) -> Result<bool> {
    let session = session.to_str().context("a path that is no text")?;
    let printed = s_client(place, &[version, "-sess_in", session]).await?;
    ensure!(is_served(&printed), "{printed}");
    ensure!(printed.contains("Reused, ") || printed.contains("New, "), "{printed}");
    Ok(printed.contains("Reused, "))
}

#[tokio::test]
async fn a_session_is_gone_on_with_until_the_certificates_change() -> Result<()> {
    let place = Place::new().await?;
    let (gateway, files) = place.serving().await?;
    for version in ["-tls1_2", "-tls1_3"] {
        let session = place.directory.path().join(format!("session{version}"));
        let path = session.to_str().context("a path that is no text")?;
        assert!(is_served(&s_client(&place, &[version, "-sess_out", path]).await?));
        assert!(resumes(&place, &session, version).await?, "{version}");
        let resumed = gateway.metric("leaseway_tls_handshakes_total", &["resumed=\"true\""]).await?;
        assert!(resumed >= 1.0, "{resumed} are counted");

        // With other files come other keys of tickets: an older one costs a full handshake, and no more.
        let next = place.authority.server(&[SHOP])?;
        files.replace(&next)?;
        place.wait_shown(&next).await?;
        assert!(!resumes(&place, &session, version).await?, "{version}");
    }
    Ok(())
}

/// Who is not let in any more does not get in by a session of before.
#[tokio::test]
async fn a_session_does_not_outlive_the_trust_in_its_client() -> Result<()> {
    let place = Place::new().await?;
    let (files, clients) = (place.shop()?, Authority::new("Clients")?);
    let ca = place.file("clients.pem", clients.pem())?;
    let mut listener = tls(&[&files]);
    listener["tls"]["client"] = json!({ "ca": ca, "mode": "required" });
    let _gateway = place.gateway(listener).await?;
    let alice = place.write(&clients.sign(&Wanted::subject("alice"))?, "alice")?;
    let [cert, key] = [&alice.cert, &alice.key].map(|path| path.display().to_string());
    for version in ["-tls1_2", "-tls1_3"] {
        let session = place.directory.path().join(format!("session{version}")).display().to_string();
        let shown = [version, "-cert", &cert, "-key", &key];
        let kept = [&shown[..], &["-sess_out", &session]].concat();
        eventually("alice is let in", PATIENCE, async || {
            ensure!(is_served(&s_client(&place, &kept).await?), "she is not");
            Ok(())
        })
        .await?;
        let resuming = [&shown[..], &["-sess_in", &session]].concat();
        assert!(is_served(&s_client(&place, &resuming).await?), "{version}");
        place.file("clients.pem", Authority::new("Others")?.pem())?;
        eventually("alice is let in no more", PATIENCE, async || {
            let printed = s_client(&place, &resuming).await?;
            ensure!(!is_served(&printed), "she is");
            Ok(())
        })
        .await?;
        place.file("clients.pem", clients.pem())?;
    }
    Ok(())
}
