//! What a subscriber would notice.
