//! What the host's rtnetlink(7) says of a network that a sandbox takes over.

pub fn run(data: &[u8]) {
    runtime::testing::rtnetlink(data);
}
