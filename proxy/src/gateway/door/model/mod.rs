//! A model of the door and of the carrier for HTTP/1: clients and instances that do all that they may, and much that they
//! may not, at any moment and in pieces of any size, over connections in memory under a clock that stands still while
//! somebody has something to do. What each side must see then is said by plans that share nothing with the carrier.
//!
//! ```text
//! scenario   who does what: plain data, drawn at random
//! bytes      the messages that these make
//! client     a client     instance   an instance      peer   what both have in common
//! wire       a strict reader of what comes
//! world      a door, and a case from its begin to its end
//! verdict    whether all was right
//! ```

mod bytes;
mod client;
mod instance;
mod peer;
mod scenario;
mod verdict;
mod wire;
mod world;

use proptest::test_runner::{Config, TestRunner};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use scenario::{Setting, scenario};
use world::World;

/// So many exchanges in all, at the least.
const EXCHANGES: u32 = 10_000;

#[test]
fn whatever_clients_and_instances_do_each_gets_what_it_must() {
    check(&[Setting::Usual], EXCHANGES * 3 / 5);
}

/// At the same time as the other, where there are two processors.
#[test]
fn whatever_they_do_so_it_is_where_waits_end_sooner() {
    check(&[Setting::EndIsLeaving, Setting::Bounded], EXCHANGES * 2 / 5);
}

fn check(settings: &'static [Setting], least: u32) {
    let (worlds, exchanges) = (RefCell::new(HashMap::new()), Cell::new(0));
    let config = Config::default();
    // Nearly three requests in each, on average.
    let cases = config.cases.max(least * 3 / 8);
    let config = Config { cases, source_file: Some(file!()), ..config };
    let outcome = TestRunner::new(config).run(&scenario(settings), |scenario| {
        exchanges.set(exchanges.get() + scenario.exchanges());
        // One in which something has gone wrong is of no use to another case.
        let setting = scenario.setting;
        let mut here = worlds.borrow_mut().remove(&setting).unwrap_or_else(|| World::new(setting));
        here.run(scenario);
        worlds.borrow_mut().insert(setting, here);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    assert!(exchanges.get() >= least, "{exchanges:?}");
}
