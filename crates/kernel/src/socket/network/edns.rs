//! How large an answer the asker takes (EDNS, RFC 6891): a query that came over a stream goes on in a datagram, whose answer
//! would be cut to 512 bytes if the query did not say that more may come.

use abi::Errno;

/// Bytes of a message's header.
const HEADER: usize = 12;
/// Names and records of a message that are walked over.
const MOST_RECORDS: u32 = 64;
const OPT: u16 = 41;
/// What the one who asks for a stream takes: the largest datagram.
const WIDEST: u16 = 65_000;

fn half(message: &[u8], at: usize) -> Result<u16, Errno> {
    let bytes = message.get(at..at + 2).ok_or(Errno::EINVAL)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Behind the name at `at`.
fn after_name(message: &[u8], mut at: usize) -> Result<usize, Errno> {
    for _ in 0..=128 {
        match *message.get(at).ok_or(Errno::EINVAL)? {
            0 => return Ok(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            // The rest of it is elsewhere.
            192.. => return Ok(at + 2),
            _ => return Err(Errno::EINVAL),
        }
    }
    Err(Errno::EINVAL)
}

/// Where a message's OPT record begins, if it has one, and where the message ends. `EINVAL` for what is no message.
fn find(message: &[u8]) -> Result<(Option<usize>, usize), Errno> {
    let counts = [4, 6, 8, 10].map(|at| half(message, at).map(u32::from));
    let [questions, answers, authorities, more] = counts;
    let (questions, rest) = (questions?, answers? + authorities? + more?);
    if questions + rest > MOST_RECORDS * 64 {
        return Err(Errno::EINVAL);
    }
    let mut at = HEADER;
    for _ in 0..questions {
        at = after_name(message, at)? + 4;
    }
    let mut found = None;
    for _ in 0..rest {
        let fixed = after_name(message, at)?;
        if half(message, fixed)? == OPT {
            found = Some(at);
        }
        at = fixed + 10 + usize::from(half(message, fixed + 8)?);
    }
    if at > message.len() {
        return Err(Errno::EINVAL);
    }
    Ok((found, at))
}

/// Has a query say that its answer may be long. Whether it has got a record for that which it had not.
pub(super) fn widen(query: &mut Vec<u8>) -> Result<bool, Errno> {
    let (found, end) = find(query)?;
    match found {
        Some(at) => {
            let class = after_name(query, at)? + 2;
            let place = query.get_mut(class..class + 2).ok_or(Errno::EINVAL)?;
            place.copy_from_slice(&WIDEST.to_be_bytes());
            Ok(false)
        }
        None => {
            query.truncate(end);
            let [kind, class] = [OPT, WIDEST].map(u16::to_be_bytes);
            query.extend([&[0][..], &kind, &class, &[0; 6]].concat());
            let more = half(query, 10)?.checked_add(1).ok_or(Errno::EINVAL)?;
            query[10..12].copy_from_slice(&more.to_be_bytes());
            Ok(true)
        }
    }
}

/// Takes the record out of the answer to a query that had none of itself; only where it stands last, as it usually does.
pub(super) fn strip(answer: &mut Vec<u8>) {
    let Ok((Some(at), end)) = find(answer) else { return };
    let last =
        after_name(answer, at).and_then(|fixed| Ok(fixed + 10 + usize::from(half(answer, fixed + 8)?)));
    let more = half(answer, 10).unwrap_or(0);
    if last == Ok(end) && more > 0 {
        answer.truncate(at);
        answer[10..12].copy_from_slice(&(more - 1).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `a.b`.
    fn query() -> Vec<u8> {
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend([1, b'a', 1, b'b', 0, 0, 1, 0, 1]);
        query
    }

    #[test]
    fn a_query_gets_a_size_and_loses_it_again() {
        let mut message = query();
        assert_eq!(widen(&mut message), Ok(true));
        assert_eq!(message.len(), query().len() + 11);
        assert_eq!(widen(&mut message), Ok(false));
        strip(&mut message);
        assert_eq!(message, query());
    }

    #[test]
    fn a_size_that_is_there_is_raised() {
        let mut message = query();
        message[11] = 1;
        message.extend([0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 2, 9, 9]);
        assert_eq!(widen(&mut message), Ok(false));
        let at = query().len() + 3;
        assert_eq!(message[at..at + 2], WIDEST.to_be_bytes());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for cut in 0..query().len() {
            assert!(widen(&mut query()[..cut].to_vec()).is_err(), "{cut}");
        }
        let mut many = query();
        many[4..6].copy_from_slice(&[255, 255]);
        assert!(widen(&mut many).is_err());
        let mut odd = query();
        odd[12] = 0x80;
        assert!(widen(&mut odd).is_err());
        strip(&mut vec![0xff; 40]);
    }
}
