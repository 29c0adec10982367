//! Variable-length integers of the record format: zigzag, seven bits per byte, low bits first
//! (the `sint32` and `sint64` of Protocol Buffers).

use crate::Error;

/// Longest encoding of a 64-bit value.
pub(crate) const BYTES_MAX: usize = 10;

const MORE: u8 = 0x80;
const SEVEN: u8 = 0x7f;

/// Bytes that `value` takes.
pub(crate) const fn size(value: i64) -> usize {
    let bits = 64_u32.saturating_sub(zigzag(value).leading_zeros());
    match bits.div_ceil(7) {
        0 => 1,
        bytes => bytes as usize,
    }
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ ((value & 1) as i64).wrapping_neg()
}

/// Appends `value`.
#[inline]
pub(crate) fn write(out: &mut impl bytes::BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest > u64::from(SEVEN) {
        out.put_u8(rest as u8 | MORE);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Reads a value of at most `bits` bits (32 or 64); returns it and the bytes that it took.
#[inline]
pub(crate) fn read(field: &'static str, bytes: &[u8], bits: u32) -> Result<(i64, usize), Error> {
    let mut value = 0_u64;
    let mut shift = 0_u32;
    let too_long = |value| Error::Invalid {
        field,
        value: unzigzag(value),
        expected: if bits == 32 { "a varint of 32 bits" } else { "a varint of 64 bits" },
    };
    for (index, &byte) in bytes.iter().take(BYTES_MAX).enumerate() {
        let part = u64::from(byte & SEVEN);
        let significant = 64_u32.saturating_sub(part.leading_zeros());
        if shift >= bits || significant > bits.saturating_sub(shift) {
            return Err(too_long(value));
        }
        value |= part << shift;
        if byte & MORE == 0 {
            return Ok((unzigzag(value), index.saturating_add(1)));
        }
        shift = shift.saturating_add(7);
    }
    if shift >= bits {
        return Err(too_long(value));
    }
    Err(Error::Truncated {
        field,
        needed: (bytes.len() as u64).saturating_add(1),
        available: bytes.len() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(size(value), bytes.len(), "{value}");
            assert_eq!(read("x", bytes, 64).unwrap(), (value, bytes.len()));
        }
    }

    #[test]
    fn each_size_boundary_round_trips() {
        for bit in 0..64 {
            for value in
                [1_i64 << bit, (1_i64 << bit).wrapping_sub(1), (1_i64 << bit).wrapping_neg()]
            {
                let mut out = Vec::new();
                write(&mut out, value);
                assert_eq!(size(value), out.len(), "{value}");
                assert_eq!(read("x", &out, 64).unwrap(), (value, out.len()));
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let five = [0xff, 0xff, 0xff, 0xff, 0x1f];
        assert!(matches!(read("x", &five, 32), Err(Error::Invalid { .. })));
        assert!(read("x", &five, 64).is_ok());
        assert!(matches!(read("x", &[0xff; 11], 64), Err(Error::Invalid { .. })));
        assert!(matches!(read("x", &[0xff; 6], 32), Err(Error::Invalid { .. })));
        let ten = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(matches!(read("x", &ten, 64), Err(Error::Invalid { .. })));
        assert!(matches!(read("x", &[], 64), Err(Error::Truncated { .. })));
        assert!(matches!(read("x", &[0x80, 0x80], 64), Err(Error::Truncated { .. })));
    }
}
