//! What `proxy -t` says of routes: for people, and for those who test their routes.

use std::process::Command;

use anyhow::Result;
use harness::{process::binary, stack::private_directory};

const ROUTES: &str = r#"version: 1
gateway:
  listen: ["127.0.0.1:1"]
  registry: {endpoints: ["http://127.0.0.1:2"]}
  routes:
    - {name: old, match: {host: old.example.com}, redirect: {scheme: https, host: shop.example.com}}
    - {name: canary, match: {path: /goods, headers: {x-canary: "1"}}, service: goods-next}
    - {name: goods, path: /goods, service: goods}
"#;

/// How `proxy -t` ends with these arguments, and what it writes to standard output and to standard error.
fn tested(arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let directory = private_directory()?;
    let file = directory.path().join("conf.yaml");
    std::fs::write(&file, ROUTES)?;
    let mut command = Command::new(binary("proxy")?);
    command.arg("-c").arg(&file).arg("-t").args(arguments);
    let output = command.env("XDG_RUNTIME_DIR", directory.path()).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((output.status.code(), text(output.stdout), text(output.stderr)))
}

#[test]
fn a_valid_configuration_is_said_to_be_one_and_nothing_else() -> Result<()> {
    let (code, said, told) = tested(&[])?;
    assert_eq!((code, said.as_str()), (Some(0), ""), "{told}");
    assert!(told.ends_with(": valid\n"), "{told}");
    Ok(())
}

#[test]
fn the_routes_are_printed_in_the_order_in_which_they_are_tried() -> Result<()> {
    let (code, said, told) = tested(&["--routes"])?;
    assert_eq!(code, Some(0), "{told}");
    let names: Vec<_> = said.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(names, ["NAME", "old", "canary", "goods"], "{said}");
    assert!(told.ends_with(": valid\n"), "{told}");
    Ok(())
}

#[test]
fn which_route_takes_a_request_is_said_and_told_by_how_the_process_ends() -> Result<()> {
    let request = ["--match", "GET http://shop.example.com/goods/7"];
    let (code, said, told) = tested(&request)?;
    assert_eq!(code, Some(0), "{told}");
    assert!(said.starts_with("route    goods\n"), "{said}");
    assert!(said.ends_with("not  canary  header x-canary is not \"1\"\n"), "{said}");
    let (code, said, _) = tested(&[&request[..], &["-H", "X-Canary: 1"]].concat())?;
    assert!(code == Some(0) && said.starts_with("route    canary\n"), "{said}");
    let (code, said, _) = tested(&["--match", "GET http://shop.example.com/carts"])?;
    assert!(code == Some(2) && said.contains("404 no route takes this request"), "{said}");
    let (code, said, told) = tested(&["--match", "goods"])?;
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(told.contains("cannot match \"goods\": is no request: expected a method and a URL"), "{told}");
    Ok(())
}

/// What no route takes is told by 2, and a test of routes must not take a mistake in its own line for that.
#[test]
fn arguments_that_are_none_end_with_1_and_help_and_version_with_0() -> Result<()> {
    for arguments in [&["--macth", "GET /goods"][..], &["-H", "a: b"], &["--match"], &["goods"]] {
        let (code, said, told) = tested(arguments)?;
        assert_eq!((code, said.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(told.starts_with("error: ") && told.contains("--help"), "{told}");
    }
    for (argument, expected) in [("--help", "Usage: proxy"), ("--version", "proxy ")] {
        let (code, said, told) = tested(&[argument])?;
        assert_eq!((code, told.as_str()), (Some(0), ""), "{argument}");
        assert!(said.contains(expected), "{said}");
    }
    Ok(())
}
