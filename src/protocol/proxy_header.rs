//! The header of the PROXY protocol, versions 1 and 2, with which a load balancer begins a connection to say whose it is
//! (<https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt>). One reading, strictly as specified.

// The addresses of `core` are values and nothing more.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a header of version 2 begins with.
pub const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How much of a header of version 2 comes before what its length counts, in bytes.
pub const FIXED: usize = 16;
/// The longest line of version 1, in bytes with its end (section 2.1).
pub const MAX_LINE: usize = 107;
/// How much may follow the fixed part of version 2, in bytes: addresses and plenty of additional values.
pub const MAX_REST: usize = 4096;

/// The type of the value that holds a checksum of the header (section 2.2.3).
const CHECKSUM: u8 = 0x03;

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// That of a client with this address.
    Client(IpAddr),
    /// The load balancer's own, for a health check say, or that of a client of whom it does not tell.
    Untold,
}

/// Reads a line of version 1, its CRLF included. `None` if it is none.
#[must_use]
pub fn line(line: &[u8]) -> Option<Source> {
    if line.len() > MAX_LINE {
        return None;
    }
    let text = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    if text.contains(['\r', '\n']) {
        return None;
    }
    let rest = text.strip_prefix("PROXY ")?;
    // Whatever else is in the line is to be ignored (section 2.1).
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(Source::Untold);
    }
    let mut fields = rest.split(' ');
    let (family, source, destination) = (fields.next()?, fields.next()?, fields.next()?);
    let ports = (port(fields.next()?), port(fields.next()?));
    if !matches!(ports, (true, true)) || fields.next().is_some() {
        return None;
    }
    let (source, destination) = match family {
        "TCP4" => (
            IpAddr::V4(source.parse().ok()?),
            IpAddr::V4(destination.parse::<Ipv4Addr>().ok()?),
        ),
        "TCP6" => (
            IpAddr::V6(source.parse().ok()?),
            IpAddr::V6(destination.parse::<Ipv6Addr>().ok()?),
        ),
        _ => return None,
    };
    client(source, destination)
}

/// A decimal number up to 65535, without leading zeros.
fn port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
        && text.parse::<u16>().is_ok()
}

/// A connection has two ends of which each is one address.
fn client(source: IpAddr, destination: IpAddr) -> Option<Source> {
    let one = |address: IpAddr| !address.is_unspecified() && !address.is_multicast();
    let source = source.to_canonical();
    (one(source) && one(destination.to_canonical())).then_some(Source::Client(source))
}

/// How many bytes follow the fixed part of a header of version 2. `None` if it is none, or they are too many.
#[must_use]
pub fn rest_length(fixed: &[u8; FIXED]) -> Option<usize> {
    let [signature @ .., _, _, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (*signature == SIGNATURE && length <= MAX_REST).then_some(length)
}

/// Reads a whole header of version 2: the fixed part and what it counts. `None` if it is none, or is about no TCP
/// connection.
#[must_use]
pub fn binary(fixed: &[u8; FIXED], rest: &[u8]) -> Option<Source> {
    if rest_length(fixed)? != rest.len() {
        return None;
    }
    let [.., version_and_command, family, _, _] = *fixed;
    let (source, destination, values) = match (version_and_command, family) {
        // LOCAL, and PROXY of an unspecified family: whatever follows is to be skipped (section 2.2).
        (0x20, _) | (0x21, 0x00) => return Some(Source::Untold),
        (0x21, 0x11) => {
            let (source, rest) = rest.split_first_chunk::<4>()?;
            let (destination, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*source), IpAddr::from(*destination), rest.get(4..)?)
        }
        (0x21, 0x21) => {
            let (source, rest) = rest.split_first_chunk::<16>()?;
            let (destination, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(*source), IpAddr::from(*destination), rest.get(4..)?)
        }
        // Datagrams, sockets of files, and what is not specified.
        _ => return None,
    };
    accept_values(fixed, rest, values)?;
    client(source, destination)
}

/// Accepts additional values that fill exactly what is there; a checksum among them must be right.
fn accept_values(fixed: &[u8; FIXED], rest: &[u8], mut values: &[u8]) -> Option<()> {
    let mut checksums = 0;
    while let Some(([kind, high, low], more)) = values.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, more) = more.split_at_checked(length)?;
        if *kind == CHECKSUM {
            checksums += 1;
            let at = rest.len().checked_sub(more.len() + length)?;
            let (before, behind) = rest.split_at_checked(at)?;
            let stated = u32::from_be_bytes(value.try_into().ok()?);
            // The checksum counts as zero in its own calculation.
            let covered = [&fixed[..], before, &[0; 4], behind.get(length..)?];
            if checksums > 1 || crc32c(covered.into_iter().flatten()) != stated {
                return None;
            }
        }
        values = more;
    }
    values.is_empty().then_some(())
}

/// CRC-32C (RFC 3720, appendix B.4), bit by bit: headers are short, and few have one.
fn crc32c<'b>(bytes: impl Iterator<Item = &'b u8>) -> u32 {
    !bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            let carry = if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
            (sum >> 1) ^ carry
        })
    })
}

#[cfg(test)]
mod tests;
