//! How commands, replies and row values become bytes: one version byte, then CBOR with explicit
//! field and variant numbers that are only ever appended to.
//!
//! Not a general serializer: what may be inside is decided by the types themselves. A number
//! (`#[n(..)]`) is never reused, never changes its meaning and never moves; the frozen-bytes
//! tests hold every released one in place.

use std::collections::BTreeMap;

use bytes::Bytes;
use kontiki_storage::id::{
    LogIndex, NodeId, Offset, PartitionId, ProducerId, ReplicaId, ShardId, SubscriptionId, TopicId,
};
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};
use minicbor::{Decode, Encode};

/// Why bytes were not understood. It says nothing about the decoder's own messages, so that
/// what is derived from it is the same on every replica, whatever library release it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot decode {bytes} bytes of version {version} (this release understands version \
     {supported}): they are damaged, or a newer release wrote them"
)]
pub struct Undecodable {
    /// The version byte found; 0 when there was none.
    pub version: u8,
    /// The newest version that this release understands.
    pub supported: u8,
    /// How many bytes were given.
    pub bytes: u32,
}

/// Encodes `value` behind its version byte.
pub fn encode<T: Encode<()>>(version: u8, value: &T) -> Bytes {
    let mut buffer = Vec::with_capacity(96);
    buffer.push(version);
    minicbor::encode(value, &mut buffer).expect("writing to a Vec cannot fail");
    Bytes::from(buffer)
}

/// Decodes what [`encode`] wrote with the same version.
///
/// # Errors
/// [`Undecodable`] for another version, for damaged bytes and for bytes left over at the end.
pub fn decode<'b, T: Decode<'b, ()>>(version: u8, bytes: &'b [u8]) -> Result<T, Undecodable> {
    let undecodable = |found| Undecodable {
        version: found,
        supported: version,
        bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
    };
    let (&found, body) = bytes.split_first().ok_or_else(|| undecodable(0))?;
    if found != version {
        return Err(undecodable(found));
    }
    let mut decoder = Decoder::new(body);
    let value = decoder.decode::<T>().map_err(|_| undecodable(found))?;
    if decoder.position() == body.len() { Ok(value) } else { Err(undecodable(found)) }
}

/// A value made of ids, which belong to the storage crate and therefore cannot carry the derive.
/// Used as `#[cbor(n(0), with = "crate::codec::id")]`.
pub trait IdWire: Sized {
    /// Writes the ids as plain CBOR integers.
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>>;
    /// Reads what `write` wrote.
    fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError>;
}

macro_rules! id_wire {
    ($($name:ident as $read:ident),+ $(,)?) => {$(
        impl IdWire for $name {
            fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>> {
                e.$read(self.0)?.ok()
            }
            fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
                d.$read().map($name)
            }
        }
    )+};
}

id_wire!(
    ShardId as u32,
    NodeId as u32,
    ReplicaId as u64,
    TopicId as u64,
    PartitionId as u64,
    ProducerId as u64,
    SubscriptionId as u64,
    Offset as u64,
    LogIndex as u64,
);

impl IdWire for u32 {
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>> {
        e.u32(*self)?.ok()
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        d.u32()
    }
}

impl<T: IdWire> IdWire for Option<T> {
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>> {
        match self {
            Some(value) => value.write(e),
            None => e.null()?.ok(),
        }
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            Ok(None)
        } else {
            T::read(d).map(Some)
        }
    }
}

impl<T: IdWire> IdWire for Vec<T> {
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>> {
        e.array(self.len() as u64)?;
        self.iter().try_for_each(|value| value.write(e))
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let length = d.array()?.ok_or_else(|| DecodeError::message("a list without length"))?;
        // The length is not trusted with an allocation: damaged bytes may claim anything.
        (0..length).map(|_| T::read(d)).collect()
    }
}

impl<K: IdWire + Ord, V: IdWire> IdWire for BTreeMap<K, V> {
    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Result<(), EncodeError<W::Error>> {
        e.map(self.len() as u64)?;
        self.iter().try_for_each(|(key, value)| {
            key.write(e)?;
            value.write(e)
        })
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let length = d.map()?.ok_or_else(|| DecodeError::message("a map without length"))?;
        (0..length).map(|_| Ok((K::read(d)?, V::read(d)?))).collect()
    }
}

/// The module that field attributes name: `#[cbor(n(0), with = "crate::codec::id")]`.
pub(crate) mod id {
    use super::{DecodeError, Decoder, EncodeError, Encoder, IdWire, Write};

    pub(crate) fn encode<Ctx, T: IdWire, W: Write>(
        value: &T,
        e: &mut Encoder<W>,
        _: &mut Ctx,
    ) -> Result<(), EncodeError<W::Error>> {
        value.write(e)
    }

    pub(crate) fn decode<Ctx, T: IdWire>(
        d: &mut Decoder<'_>,
        _: &mut Ctx,
    ) -> Result<T, DecodeError> {
        T::read(d)
    }
}

/// For a field that was added later, and is not written while it has its default:
/// `#[cbor(n(0), with = "crate::codec::unset", has_nil)]`. What was written before has the default.
pub(crate) mod unset {
    use minicbor::data::Type;
    use minicbor::{Decode, Encode};

    use super::{DecodeError, Decoder, EncodeError, Encoder, Write};

    pub(crate) fn encode<Ctx, T: Encode<Ctx>, W: Write>(
        value: &T,
        e: &mut Encoder<W>,
        context: &mut Ctx,
    ) -> Result<(), EncodeError<W::Error>> {
        value.encode(e, context)
    }

    pub(crate) fn decode<'b, Ctx, T: Decode<'b, Ctx> + Default>(
        d: &mut Decoder<'b>,
        context: &mut Ctx,
    ) -> Result<T, DecodeError> {
        // A later field is set, and this one isn't.
        if d.datatype()? == Type::Null {
            d.null()?;
            return Ok(T::default());
        }
        T::decode(d, context)
    }

    pub(crate) fn is_nil<T: Default + PartialEq>(value: &T) -> bool {
        *value == T::default()
    }

    pub(crate) fn nil<T: Default>() -> Option<T> {
        Some(T::default())
    }
}

/// Like [`unset`], for numbers whose default is [`crate::settings::UNLIMITED`].
pub(crate) mod unlimited {
    use minicbor::data::Type;

    use super::{DecodeError, Decoder, EncodeError, Encoder, Write};
    use crate::settings::UNLIMITED;

    pub(crate) fn encode<Ctx, W: Write>(
        value: &i64,
        e: &mut Encoder<W>,
        _: &mut Ctx,
    ) -> Result<(), EncodeError<W::Error>> {
        e.i64(*value)?.ok()
    }

    pub(crate) fn decode<Ctx>(d: &mut Decoder<'_>, _: &mut Ctx) -> Result<i64, DecodeError> {
        if d.datatype()? == Type::Null {
            d.null()?;
            return Ok(UNLIMITED);
        }
        d.i64()
    }

    pub(crate) fn is_nil(value: &i64) -> bool {
        *value == UNLIMITED
    }

    pub(crate) fn nil() -> Option<i64> {
        Some(UNLIMITED)
    }
}

/// For an optional field that many share: it is copied by reference.
pub(crate) mod shared {
    use std::sync::Arc;

    use minicbor::{Decode, Encode};

    use super::{DecodeError, Decoder, EncodeError, Encoder, Write};

    pub(crate) fn encode<Ctx, T: Encode<Ctx>, W: Write>(
        value: &Option<Arc<T>>,
        e: &mut Encoder<W>,
        context: &mut Ctx,
    ) -> Result<(), EncodeError<W::Error>> {
        value.as_deref().encode(e, context)
    }

    pub(crate) fn decode<'b, Ctx, T: Decode<'b, Ctx>>(
        d: &mut Decoder<'b>,
        context: &mut Ctx,
    ) -> Result<Option<Arc<T>>, DecodeError> {
        Ok(Option::<T>::decode(d, context)?.map(Arc::new))
    }

    #[expect(clippy::ref_option, reason = "the derive passes a reference to the field")]
    pub(crate) fn is_nil<T>(value: &Option<Arc<T>>) -> bool {
        value.is_none()
    }

    pub(crate) fn nil<T>() -> Option<Option<Arc<T>>> {
        Some(None)
    }
}
