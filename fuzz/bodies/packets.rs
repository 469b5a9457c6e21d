//! What the command, the sentry and the verbs of the runtime say to each other.

use sandbox::control::{FromSentry, ToSentry};
use sandbox::request::Request;

pub fn run(data: &[u8]) {
    if let Some(packet) = ToSentry::decode(data) {
        assert_eq!(ToSentry::decode(&packet.encode()), Some(packet));
    }
    if let Some(packet) = FromSentry::decode(data) {
        let _ = packet.encode();
    }
    let _ = serde_json::from_slice::<Request>(data);
}
