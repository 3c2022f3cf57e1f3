#![no_main]
#[path = "../src/audit.rs"]
#[allow(dead_code, reason = "each target is one of them")]
mod audit;
libfuzzer_sys::fuzz_target!(|data: &[u8]| audit::logs(data));
