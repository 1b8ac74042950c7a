//! Whom the gateway and a backend take for their registry.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use harness::{
    impostor::{Heard, Impostor},
    ports::free_address,
    process::{Process, Stdout, binary},
    stack::{private_directory, write_configuration},
    tls::TlsFiles,
    wait::eventually,
};
use openssl::x509::X509;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::PATIENCE;

const PASSWORD: &str = "correct-horse-battery-staple";

/// An authority that is ours, and another that the system trusts, and who has a certificate of that one.
struct Scene {
    directory: TempDir,
    ours: TlsFiles,
    theirs: TlsFiles,
    impostor: Impostor,
}

impl Scene {
    fn new() -> Result<Self> {
        let directory = private_directory()?;
        let authority = |name: &str| {
            let place = directory.path().join(name);
            fs::create_dir(&place)?;
            TlsFiles::generate(&place)
        };
        let (ours, theirs) = (authority("ours")?, authority("theirs")?);
        let impostor = Impostor::start(&theirs.server_cert, &theirs.server_key)?;
        // As `openssl rehash` names them.
        let hash = X509::from_pem(&fs::read(&theirs.ca)?)?.subject_name_hash();
        fs::copy(&theirs.ca, theirs.ca.with_file_name(format!("{hash:08x}.0")))?;
        fs::write(directory.path().join("password"), PASSWORD)?;
        Ok(Self { directory, ours, theirs, impostor })
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Starts a program on a machine that trusts the other authority, in both ways in which OpenSSL can be told.
    fn start(&self, program: &str, arguments: &[String]) -> Result<Process> {
        let mut command = std::process::Command::new(binary(program)?);
        command.args(arguments).env("SSL_CERT_FILE", &self.theirs.ca);
        command.env("SSL_CERT_DIR", self.theirs.ca.parent().context("no directory")?);
        Process::start(command, Stdout::Kept)
    }

    /// A gateway that trusts the authorities of this file, or the system's.
    fn gateway(&self, ca: Option<&Path>) -> Result<Process> {
        let mut registry = json!({
            "endpoints": [self.impostor.endpoint()],
            "username": "gateway",
            "password_file": self.file("password"),
        });
        if let Some(ca) = ca {
            registry["tls"] = json!({ "ca": ca });
        }
        self.gateway_on(&registry)
    }

    fn gateway_on(&self, registry: &Value) -> Result<Process> {
        let configuration = json!({
            "version": 1,
            "pid_file": self.file("proxy.pid"),
            "upgrade_sock": self.file("upgrade.sock"),
            "gateway": {
                "listen": [free_address()?.to_string()],
                "admin": free_address()?.to_string(),
                "registry": registry,
                "routes": [{ "path": "/goods", "service": "goods" }],
            },
        });
        let file = self.file("pingora.yaml");
        write_configuration(Path::new(&file), &configuration)?;
        self.start("proxy", &["-c".to_owned(), file])
    }

    /// A backend that trusts the authorities of this file, or the system's.
    fn goods(&self, ca: Option<&Path>) -> Result<Process> {
        let listen = free_address()?.to_string();
        let (registry, password) = (self.impostor.endpoint(), self.file("password"));
        let mut words = vec!["--listen", &*listen, "--advertise", &*listen, "--instance", "a"];
        words.extend(["--registry", &*registry, "--username", "goods", "--password-file", &*password]);
        let ca = ca.map(|ca| ca.display().to_string());
        words.extend(ca.iter().flat_map(|ca| ["--ca", &**ca]));
        self.start("goods", &words.into_iter().map(str::to_owned).collect::<Vec<_>>())
    }

    /// Waits until the impostor has been told what is wanted.
    async fn wait_heard(&self, process: &Process, wanted: impl Fn(&Heard) -> bool) -> Result<Heard> {
        let heard = eventually("the impostor was talked to", PATIENCE, async || {
            let heard = self.impostor.heard();
            ensure!(wanted(&heard), "{} refused, {} accepted", heard.refused, heard.accepted);
            Ok(heard)
        });
        heard.await.with_context(|| process.tail())
    }
}

/// Starts it thrice: with our authority, with the other one, with the system's.
async fn assert_trusts_only_what_it_was_told(
    scene: &Scene,
    start: impl Fn(Option<&Path>) -> Result<Process>,
) -> Result<()> {
    let process = start(Some(&scene.ours.ca))?;
    let heard = scene.wait_heard(&process, |heard| heard.refused + heard.accepted >= 2).await?;
    let told = format!("signed by none of the authorities in {}", scene.ours.ca.display());
    process.wait_for_line(|line| line.contains(&told), PATIENCE).await?;
    assert_eq!((heard.accepted, heard.bytes.len()), (0, 0), "{}", process.tail());
    drop(process);
    // What the first part has not seen can be seen.
    for ca in [Some(&*scene.theirs.ca), None] {
        let before = scene.impostor.heard().accepted;
        let process = start(ca)?;
        scene.wait_heard(&process, |heard| heard.accepted > before && heard.has(PASSWORD)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_with_an_authority_of_its_own_gives_no_password_to_whom_the_system_trusts() -> Result<()> {
    let scene = Scene::new()?;
    assert_trusts_only_what_it_was_told(&scene, |ca| scene.gateway(ca)).await
}

#[tokio::test]
async fn a_backend_with_an_authority_of_its_own_gives_no_password_to_whom_the_system_trusts() -> Result<()> {
    let scene = Scene::new()?;
    assert_trusts_only_what_it_was_told(&scene, |ca| scene.goods(ca)).await
}
