//! Users and groups by the guest's own /etc/passwd and /etc/group: who a name is, which groups it is in, and where its
//! home is. They are read inside the jail: the files are the guest's.

use kernel::vfs::Walker;

use crate::container::User;
use crate::etc;

/// Most supplementary groups of a process (NGROUPS_MAX).
const MAX_GROUPS: usize = 65536;

/// Adds HOME to an environment that has none, or an empty one.
pub fn set_home(walker: &Walker<'_>, uid: u32, env: &mut Vec<Vec<u8>>) {
    let has = env
        .iter()
        .rev()
        .find_map(|variable| variable.strip_prefix(b"HOME="))
        .is_some_and(|home| !home.is_empty());
    if has {
        return;
    }
    env.retain(|variable| !variable.starts_with(b"HOME="));
    let passwd = etc::read(walker, b"/etc/passwd").unwrap_or_default();
    let home = account(&passwd, uid.to_string().as_bytes())
        .map(|account| account.home)
        .filter(|home| !home.is_empty())
        .unwrap_or(b"/");
    env.push([b"HOME=", home].concat());
}

/// The user that `NAME|UID[:GROUP|GID]` stands for, with the groups that it is in if it names none.
/// A number needs no account: its group has the same number then.
///
/// # Errors
/// The part of the specification that names nobody.
pub fn find(walker: &Walker<'_>, spec: &[u8], umask: u32) -> Result<User, Vec<u8>> {
    let text = |path: &[u8]| etc::read(walker, path).unwrap_or_default();
    let (user, group) = match spec.iter().position(|byte| *byte == b':') {
        Some(at) => (&spec[..at], Some(&spec[at + 1..])),
        None => (spec, None),
    };
    let passwd = text(b"/etc/passwd");
    let account = account(&passwd, user);
    let uid = account
        .as_ref()
        .map(|account| account.uid)
        .or_else(|| id(user))
        .ok_or(user)?;
    let groups_file = text(b"/etc/group");
    let (gid, groups) = match (group, account) {
        (Some(group), _) => {
            let gid = groups(&groups_file)
                .find(|entry| entry.name == group)
                .map(|entry| entry.gid);
            (gid.or_else(|| id(group)).ok_or(group)?, Vec::new())
        }
        (None, Some(account)) => (account.gid, memberships(&groups_file, account.name)),
        (None, None) => (uid, Vec::new()),
    };
    Ok(User {
        uid,
        gid,
        groups,
        umask,
    })
}

/// An id; 2^32-1 means "unchanged" to Linux and is nobody's.
fn id(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field)
        .ok()?
        .parse()
        .ok()
        .filter(|id| *id != u32::MAX)
}

/// What a line of passwd(5) says.
struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// The account of this name, or else of this number.
fn account<'a>(passwd: &'a [u8], user: &[u8]) -> Option<Account<'a>> {
    let wanted = id(user);
    accounts(passwd)
        .find(|account| account.name == user)
        .or_else(|| accounts(passwd).find(|account| Some(account.uid) == wanted))
}

fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        Some(Account {
            name: fields.next().filter(|name| !name.is_empty())?,
            uid: id(fields.nth(1)?)?,
            gid: id(fields.next()?)?,
            home: fields.nth(1)?,
        })
    })
}

/// What a line of group(5) says.
struct Group<'a> {
    name: &'a [u8],
    gid: u32,
    /// Names, with commas between them.
    members: &'a [u8],
}

fn groups(text: &[u8]) -> impl Iterator<Item = Group<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        Some(Group {
            name: fields.next().filter(|name| !name.is_empty())?,
            gid: id(fields.nth(1)?)?,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// The groups that list a user.
fn memberships(text: &[u8], name: &[u8]) -> Vec<u32> {
    groups(text)
        .filter(|group| {
            group
                .members
                .split(|byte| *byte == b',')
                .any(|member| member == name)
        })
        .map(|group| group.gid)
        .take(MAX_GROUPS)
        .collect()
}

/// Words for a specification that names nobody.
pub fn unknown(part: &[u8]) -> String {
    format!(
        "user or group '{}': not in the sandbox's /etc/passwd or /etc/group, and not a number",
        crate::boot::shown(part)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\nbad\na:x:7:70::/home/a:\nb:x:8:8:::\n9:x:10:11::/:\nc:x:-1:4294967295::/:\n";

    #[test]
    fn a_name_goes_before_a_number() {
        let uid = |user: &[u8]| account(PASSWD, user).map(|account| (account.uid, account.gid, account.home));
        assert_eq!(uid(b"0"), Some((0, 0, &b"/root"[..])));
        assert_eq!(uid(b"a"), Some((7, 70, &b"/home/a"[..])));
        assert_eq!(uid(b"8"), Some((8, 8, &b""[..])));
        assert_eq!(uid(b"9"), Some((10, 11, &b"/"[..])));
        for nobody in [&b""[..], b"c", b"11", b"bad", b"4294967295", b"\xff"] {
            assert_eq!(uid(nobody), None);
        }
        assert!(account(b"", b"0").is_none());
    }

    #[test]
    fn groups_list_their_members() {
        let text = b"root:x:0:\nx:x:5:a,b\ny:x:6:ab\nz:x:7:b,a\nbroken\nw:x:q:a\n";
        assert_eq!(memberships(text, b"a"), [5, 7]);
        assert_eq!(memberships(text, b"ab"), [6]);
        assert!(memberships(b"", b"a").is_empty());
    }
}
