//! A certificate that is replaced while clients come and go.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::{http::Connection, link::TlsClient, load::Load};
use tokio::time::{sleep, timeout};

use super::{NOT_TAKEN, Place, SHOP, get, shown, wait_metric};

/// So many are shown before the next one is written.
const SHOWN: usize = 5;
/// Then they come faster than anybody looks. Files are looked at once a second, and again a moment later: none of these is seen
/// twice, and of some only one half.
const BETWEEN: Duration = Duration::from_millis(100);
const SWAPS: usize = 30;
/// The last one is shown within two seconds: the figures measure that. Here it is ten times that.
const SETTLED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn no_request_fails_while_certificates_are_swapped_and_the_last_one_is_soon_the_only_one() -> Result<()>
{
    let place = Place::new().await?;
    let (gateway, files) = place.serving().await?;
    let client = place.client()?;
    let mut kept = Connection::open_tls(place.door, &client).await?;
    get(&mut kept).await?;

    let fresh = Load::get(place.door, "/goods").tls(&client).rate(50).connections(4).fresh().start();
    let lasting = Load::get(place.door, "/goods").tls(&client).rate(50).connections(4).start();
    for _ in 0..SHOWN {
        let next = place.authority.server(&[SHOP])?;
        files.replace(&next)?;
        timeout(SETTLED, place.wait_shown(&next)).await??;
    }
    let mut last = place.authority.server(&[SHOP])?;
    for _ in 0..SWAPS {
        files.replace(&last)?;
        sleep(BETWEEN).await;
        last = place.authority.server(&[SHOP])?;
    }
    files.replace(&last)?;
    timeout(SETTLED, place.wait_shown(&last)).await??;
    let (anybody, expected) = (TlsClient::new(place.authority.pem())?, last.fingerprint()?);
    for name in [Some(SHOP), None, Some("unknown.example")] {
        let client = name.map_or_else(|| anybody.clone(), |name| anybody.naming(name));
        for _ in 0..10 {
            assert_eq!(shown(place.door, &client).await?, expected, "an old one");
        }
    }
    for load in [fresh, lasting] {
        let outcome = load.stop().await;
        ensure!(outcome.sent > 100, "only {} were sent", outcome.sent);
        assert_eq!((outcome.failed, outcome.refused), (0, 0), "of {}: {:?}", outcome.sent, outcome.errors);
        assert_eq!(outcome.status(200), outcome.sent);
    }
    wait_metric(&gateway, NOT_TAKEN, &[], 0.0).await?;
    assert_eq!(get(&mut kept).await?.status, 200, "a connection of before goes on");
    Ok(())
}

/// As Kubernetes does with a Secret: both files are links through one that is replaced.
#[tokio::test]
async fn a_secret_that_is_mounted_anew_is_taken() -> Result<()> {
    let place = Place::new().await?;
    let mount = place.directory.path().join("mount");
    let put = |version: &str| -> Result<_> {
        let certificate = place.authority.server(&[SHOP])?;
        std::fs::create_dir_all(mount.join(version))?;
        certificate.write(&mount.join(version), "tls")?;
        let aside = mount.join("..data_tmp");
        std::os::unix::fs::symlink(version, &aside)?;
        std::fs::rename(&aside, mount.join("..data"))?;
        Ok(certificate)
    };
    let first = put("..1")?;
    for name in ["tls.pem", "tls.key"] {
        std::os::unix::fs::symlink(std::path::Path::new("..data").join(name), mount.join(name))?;
    }
    let files =
        harness::certificates::CertificateFiles { cert: mount.join("tls.pem"), key: mount.join("tls.key") };
    let _gateway = place.gateway(super::tls(&[&files])).await?;
    place.wait_shown(&first).await?;
    for version in ["..2", "..3"] {
        place.wait_shown(&put(version)?).await?;
    }
    Ok(())
}
