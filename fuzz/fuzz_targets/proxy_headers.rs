#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| grammar_alone::proxy_headers(input));
