//! Reading of big-endian fields from a slice, forwards, without a way to read past its end.

use crate::{Error, varint};

/// What is left of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], Error> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(Error::Truncated {
                field,
                needed: count as u64,
                available: self.rest.len() as u64,
            });
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let Some((head, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(Error::Truncated {
                field,
                needed: N as u64,
                available: self.rest.len() as u64,
            });
        };
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn i8(&mut self, field: &'static str) -> Result<i8, Error> {
        self.array(field).map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self, field: &'static str) -> Result<i16, Error> {
        self.array(field).map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32, Error> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64, Error> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// A zigzag varint of at most 32 bits.
    pub(crate) fn varint(&mut self, field: &'static str) -> Result<i32, Error> {
        let (value, used) = varint::read(field, self.rest, 32)?;
        self.rest = self.rest.get(used..).unwrap_or_default();
        i32::try_from(value).map_err(|_| Error::Invalid {
            field,
            value,
            expected: "a varint of at most 32 bits",
        })
    }

    /// A zigzag varint of at most 64 bits.
    pub(crate) fn varlong(&mut self, field: &'static str) -> Result<i64, Error> {
        let (value, used) = varint::read(field, self.rest, 64)?;
        self.rest = self.rest.get(used..).unwrap_or_default();
        Ok(value)
    }

    /// A length (-1 = none) and that many bytes.
    pub(crate) fn nullable(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, Error> {
        let length = self.varint(field)?;
        match usize::try_from(length) {
            Ok(count) => self.take(field, count).map(Some),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(Error::Invalid {
                field,
                value: i64::from(length),
                expected: "a length of -1 (none) or more",
            }),
        }
    }
}
