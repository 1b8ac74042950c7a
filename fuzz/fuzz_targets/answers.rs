#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| leaseway_fuzz::answers(input));
