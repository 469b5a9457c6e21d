//! Neighbour discovery (RFC 4861): solicitations and advertisements.

use std::net::Ipv6Addr;

use super::array;

pub(crate) const ROUTER_SOLICIT: u8 = 133;
pub(crate) const ROUTER_ADVERT: u8 = 134;
pub(crate) const SOLICIT: u8 = 135;
pub(crate) const ADVERT: u8 = 136;
pub(crate) const REDIRECT: u8 = 137;

/// Flag of an advertisement: an answer to a solicitation.
pub(crate) const SOLICITED: u8 = 0x40;
/// Flag of an advertisement: replace what you have.
pub(crate) const OVERRIDE: u8 = 0x20;
/// Flag of an advertisement: the sender is a router.
pub(crate) const ROUTER: u8 = 0x80;

/// Option: link address of the sender.
const SOURCE_LINK: u8 = 1;
/// Option: link address of the target.
const TARGET_LINK: u8 = 2;

/// What follows the first eight bytes: the target and the link address, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Body {
    pub target: Ipv6Addr,
    pub link: Option<[u8; 6]>,
}

impl Body {
    /// `None` when an option has no length or passes the end (RFC 4861, section 7.1: drop).
    pub(crate) fn parse(advert: bool, body: &[u8]) -> Option<Body> {
        let target = Ipv6Addr::from(array::<16>(body, 0)?);
        let wanted = if advert { TARGET_LINK } else { SOURCE_LINK };
        let mut link = None;
        let mut rest = &body[16..];
        while let (Some(&kind), Some(&units)) = (rest.first(), rest.get(1)) {
            if units == 0 {
                return None;
            }
            if kind == wanted && units == 1 {
                link = array(rest, 2);
            }
            rest = rest.get(usize::from(units) * 8..)?;
        }
        Some(Body { target, link })
    }

    pub(crate) fn emit(&self, advert: bool) -> Vec<u8> {
        let mut out = self.target.octets().to_vec();
        if let Some(link) = self.link {
            out.extend([if advert { TARGET_LINK } else { SOURCE_LINK }, 1]);
            out.extend(link);
        }
        out
    }
}
