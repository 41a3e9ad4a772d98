#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| poptools::fuzzing::ids(octets));
