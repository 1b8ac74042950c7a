//! A model of the carrier for clients who speak HTTP/2: streams on one connection, which clients and instances reset, refuse,
//! break off, leave and go on with at any moment and in pieces of any size, through windows of any size, over connections in
//! memory under a clock that stands still while somebody has something to do. What each stream may come to is said by what was
//! done to it alone.
//!
//! ```text
//! scenario   who does what: plain data, drawn at random
//! bytes      what bodies consist of
//! client     a client's connection and its streams      peer         what both have in common
//! instance   one that speaks HTTP/2                     over_http1   one that does not
//! frames     frames that h2 does not send
//! world      a carrier, and a case from its begin to its end
//! verdict    whether all was right
//! ```

mod bytes;
mod client;
mod frames;
mod instance;
mod over_http1;
mod peer;
mod scenario;
mod verdict;
mod world;

use std::cell::RefCell;

use proptest::test_runner::{Config, TestRunner};

use scenario::scenario;
use verdict::Tally;

/// So many cases, at the least. (`PROPTEST_CASES` asks for more.)
const CASES: u32 = 100;

#[test]
fn whatever_is_done_to_a_stream_is_done_to_no_other() {
    let tally = RefCell::new(Tally::default());
    let config = Config::default();
    // Each of these is many of what other tests call one.
    let cases = (config.cases * 2 / 5).max(CASES);
    let config = Config { cases, source_file: Some(file!()), ..config };
    let outcome = TestRunner::new(config).run(&scenario(), |scenario| {
        verdict::check(&world::run(scenario), &mut tally.borrow_mut());
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let tally = tally.into_inner();
    assert!(tally.is_varied(cases), "{tally:?}");
}
