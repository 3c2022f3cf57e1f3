#![no_main]
#[path = "../src/smol.rs"]
mod adapter;
libfuzzer_sys::fuzz_target!(|data: &[u8]| adapter::run(data));
