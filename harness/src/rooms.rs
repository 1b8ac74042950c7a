//! Which module of a crate uses which, read from its source: arrows between its rooms run down only, and nowhere in a
//! circle.
//!
//! A room is a module at the top of the crate. What counts is each path that starts with `crate::` or `super::`, in a
//! `use` or elsewhere. Code that is compiled for tests alone does not count. Modules within a room have no order, but
//! those beside each other form no circle either. What a parent and its child use of each other is their own affair.

mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use paths::Source;

/// A module's path from the crate's root: `["watch", "source"]`.
type Module = Vec<String>;

/// Two modules beside each other, of which the first uses the second, and the lines where it does.
type Arrows = BTreeMap<(Module, Module), Vec<String>>;

/// Holds the sources of a crate, below `src`, against an order of its rooms, the topmost first: each may use those that
/// come after it. Says what is wrong, one sentence each.
pub fn check(src: &Path, order: &[&str]) -> Vec<String> {
    let sources = match read(src) {
        Ok(sources) => sources,
        Err(error) => return vec![format!("{error:#}")],
    };
    let modules: BTreeSet<Module> = sources.iter().map(|source| source.module.clone()).collect();
    let arrows = arrows(&sources, &modules);
    let mut wrong = strangers(&modules, order);
    wrong.extend(arrows.iter().filter(|(arrow, _)| runs_up(arrow, order)).map(|(arrow, lines)| {
        format!("{} uses {}, which is above it: {}", arrow.0.join("/"), arrow.1.join("/"), lines.join(", "))
    }));
    wrong.extend(arrows.iter().filter(|(arrow, _)| is_of_a_circle(arrow, &arrows)).map(|(arrow, lines)| {
        format!("{} uses {}, in a circle: {}", arrow.0.join("/"), arrow.1.join("/"), lines.join(", "))
    }));
    wrong
}

/// Rooms that have no place in the order, and places in it without a room.
fn strangers(modules: &BTreeSet<Module>, order: &[&str]) -> Vec<String> {
    let rooms: BTreeSet<&str> =
        modules.iter().filter_map(|module| module.first()).map(String::as_str).collect();
    let named: BTreeSet<&str> = order.iter().copied().collect();
    let homeless = rooms.difference(&named).map(|room| format!("{room} has no place in the order"));
    let absent = named.difference(&rooms).map(|room| format!("{room} is in the order, and is no module"));
    homeless.chain(absent).collect()
}

fn runs_up((from, to): &(Module, Module), order: &[&str]) -> bool {
    let place = |module: &Module| match module.as_slice() {
        [room] => order.iter().position(|name| name == room),
        _ => None,
    };
    place(from).zip(place(to)).is_some_and(|(from, to)| from > to)
}

/// Whether arrows lead back to where this one starts.
fn is_of_a_circle((from, to): &(Module, Module), arrows: &Arrows) -> bool {
    let mut reached = BTreeSet::from([to]);
    let mut ways = vec![to];
    while let Some(at) = ways.pop() {
        let next = arrows.keys().filter(|(start, _)| start == at).map(|(_, end)| end);
        ways.extend(next.filter(|end| reached.insert(end)));
    }
    reached.contains(from)
}

fn arrows(sources: &[Source], modules: &BTreeSet<Module>) -> Arrows {
    let mut arrows = Arrows::new();
    for source in sources {
        for (line, used) in &source.paths {
            let Some(arrow) = arrow(&source.module, used, modules) else { continue };
            let lines = arrows.entry(arrow).or_default();
            let place = format!("{}:{line}", source.file.display());
            if lines.last() != Some(&place) {
                lines.push(place);
            }
        }
    }
    arrows
}

/// From the user towards what it uses, between the modules where their ways from the root part.
fn arrow(user: &Module, used: &Module, modules: &BTreeSet<Module>) -> Option<(Module, Module)> {
    let shared = user.iter().zip(used).take_while(|(a, b)| a == b).count();
    let (from, to) = (user.get(..=shared)?, used.get(..=shared)?);
    modules.contains(to).then(|| (from.to_vec(), to.to_vec()))
}

/// Every source below a directory that is not compiled for tests alone.
fn read(src: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut directories = vec![src.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory);
        for entry in entries.with_context(|| format!("cannot read {}", directory.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                // Programs are crates of their own.
                if path != src.join("bin") {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let named = || format!("cannot read {}", path.display());
                let text = fs::read_to_string(&path).with_context(named)?;
                sources.push(Source::read(path.strip_prefix(src)?, &text).with_context(named)?);
            }
        }
    }
    let for_tests: Vec<Module> = sources.iter().flat_map(|source| source.for_tests.clone()).collect();
    sources.retain(|source| !for_tests.iter().any(|module| source.module.starts_with(module)));
    sources.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a crate of these files.
    fn wrong(files: &[(&str, &str)], order: &[&str]) -> Vec<String> {
        let src = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = src.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        check(src.path(), order)
    }

    #[test]
    fn arrows_that_run_down_are_right() {
        let files = [
            ("lib.rs", "mod top; mod middle; mod low; pub use top::Top;"),
            ("top.rs", "use crate::{middle::Middle, low::Low}; use crate::middle;"),
            ("middle/mod.rs", "mod part; use part::Part; use super::low::Low;"),
            ("middle/part.rs", "use super::Middle; use crate::low::Low;"),
            ("low.rs", "pub(crate) struct Low; impl From<crate::low::Low> for u8 {}"),
        ];
        assert_eq!(wrong(&files, &["top", "middle", "low"]), [""; 0]);
    }

    #[test]
    fn an_arrow_that_runs_up_is_told_wherever_it_stands() {
        for text in [
            "\nuse crate::top::Top;",
            "\nuse crate::top;",
            "use std::io;\nuse crate::{low::part, top::{Top, Other}};",
            "\nuse super::top::Top;",
            "\nfn f() -> crate::top::Top { todo!() }",
            "\nmod inner { use super::super::top::Top; }",
            "\nfn f() { g('\"'); crate::top::g(\"//\") }",
            "#[cfg(test)] mod tests { fn f() {} }\nuse crate::top::Top;",
            "#[cfg(test)] use crate::top::Top;\nuse crate::top::Top;",
        ] {
            let files = [("top.rs", ""), ("low.rs", text)];
            assert_eq!(
                wrong(&files, &["top", "low"]),
                ["low uses top, which is above it: low.rs:2"],
                "{text}"
            );
        }
        let files = [("top.rs", ""), ("low/a/b.rs", "use super::super::super::top::Top;")];
        assert_eq!(wrong(&files, &["top", "low"]), ["low uses top, which is above it: low/a/b.rs:1"]);
    }

    #[test]
    fn what_is_no_use_of_another_room_is_no_arrow() {
        for text in [
            "// use crate::top::Top;",
            "/* use crate::top::Top; /* */ use crate::top; */",
            "const TEXT: &str = \"crate::top\";",
            "const TEXT: &str = r#\"\" crate::top \"#;",
            "#[cfg(test)] mod tests { use crate::top::Top; }",
            "#[cfg(test)]\nuse crate::top::{Top, Other};",
            "pub(in crate::top) struct S;",
            "fn f<'crate_>() { use_of(other::crate_::top) }",
            "mod inner { use super::top::Top; }",
            "use other::crate_::top;",
        ] {
            assert_eq!(wrong(&[("top.rs", ""), ("low.rs", text)], &["top", "low"]), [""; 0], "{text}");
        }
        let test = "use crate::top::Top;";
        let files = [
            ("top.rs", ""),
            ("low.rs", "#[cfg(test)] mod tests; #[cfg(test)] mod support;"),
            ("low/tests.rs", test),
            ("low/support/mod.rs", test),
            ("low/support/part.rs", test),
        ];
        assert_eq!(wrong(&files, &["top", "low"]), [""; 0]);
    }

    #[test]
    fn a_circle_between_modules_of_one_room_is_told() {
        let files = [
            ("room/mod.rs", "mod a; mod b; mod c; mod d;"),
            ("room/a.rs", "use super::b::B;"),
            ("room/b.rs", "use crate::room::c::C; use super::d::D;"),
            ("room/c.rs", "use super::a::A;"),
            ("room/d.rs", "use super::Room;"),
        ];
        assert_eq!(
            wrong(&files, &["room"]),
            [
                "room/a uses room/b, in a circle: room/a.rs:1",
                "room/b uses room/c, in a circle: room/b.rs:1",
                "room/c uses room/a, in a circle: room/c.rs:1",
            ]
        );
    }

    #[test]
    fn the_order_has_every_room_and_no_other() {
        let files = [("lib.rs", ""), ("here.rs", ""), ("forgotten.rs", "")];
        assert_eq!(
            wrong(&files, &["here", "gone"]),
            ["forgotten has no place in the order", "gone is in the order, and is no module"]
        );
        let none = check(Path::new("/nowhere/at/all"), &[]);
        assert!(none[0].starts_with("cannot read /nowhere/at/all: "), "{none:?}");
    }
}
