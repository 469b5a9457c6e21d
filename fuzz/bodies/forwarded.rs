//! `tegmen port-forward` between a client and a sandbox that both do as they like: what the sandbox answers, pieces cut anywhere, ends
//! in any order.

use runtime::testing::forward;

pub fn run(data: &[u8]) {
    forward(data);
}
