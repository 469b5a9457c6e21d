//! The engine against a guest that writes anything into every area that it shares with the sentry, at any step.

pub fn run(data: &[u8]) {
    systrap::testing::hostile(data);
}
