//! Where the bindings of one place lead: mostly one, seldom very many.

/// The end of a binding, as it is found when a message is routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sink {
    /// The number of the queue or exchange.
    pub(crate) target: u32,
    /// Whose end it is; the index says what it numbers.
    pub(crate) owner: u32,
}

/// Sinks by position. Adding and removing one takes constant time, for which each owner remembers
/// its position. One binding alone, the common case, has no allocation of its own.
#[derive(Debug, Clone, Default)]
pub(crate) enum Sinks {
    #[default]
    Empty,
    One(Sink),
    Many(Vec<Sink>),
}

impl Sinks {
    pub(crate) fn as_slice(&self) -> &[Sink] {
        match self {
            Self::Empty => &[],
            Self::One(sink) => std::slice::from_ref(sink),
            Self::Many(sinks) => sinks,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Adds a sink, and answers its position.
    pub(crate) fn push(&mut self, sink: Sink) -> u32 {
        match self {
            Self::Empty => {
                *self = Self::One(sink);
                0
            }
            Self::One(first) => {
                *self = Self::Many(vec![*first, sink]);
                1
            }
            Self::Many(sinks) => {
                sinks.push(sink);
                u32::try_from(sinks.len() - 1).expect("BINDINGS_MAX is below 32 bits")
            }
        }
    }

    /// Removes the sink at a position that belongs to `owner`, and answers the owner of the one
    /// that took this position, if any did.
    pub(crate) fn remove(&mut self, position: u32, owner: u32) -> Option<u32> {
        let at = position as usize;
        let there = self.as_slice().get(at).map(|sink| sink.owner);
        assert_eq!(there, Some(owner), "an owner remembers its position");
        match self {
            Self::Empty | Self::One(_) => {
                *self = Self::Empty;
                None
            }
            Self::Many(sinks) => {
                sinks.swap_remove(at);
                let moved = sinks.get(at).map(|sink| sink.owner);
                if let [last] = sinks[..] {
                    *self = Self::One(last);
                }
                moved
            }
        }
    }
}
