#![no_main]

#[allow(dead_code, reason = "every target has all bodies and uses one")]
#[path = "../bodies/mod.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::notify::run(data));
