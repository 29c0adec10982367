//! How large things may be. All of them are checked before anything changes.

/// The longest name of an exchange, in bytes (AMQP 0-9-1: a short string).
pub const NAME_BYTES_MAX: usize = 255;

/// The longest routing key and the longest pattern, in bytes (AMQP 0-9-1: a short string).
pub const KEY_BYTES_MAX: usize = 255;

/// The most words of a pattern. A routing key has no such limit: its bytes bound its words.
pub const PATTERN_WORDS_MAX: usize = 128;

/// The most arguments of one binding.
pub const ARGUMENTS_MAX: usize = 64;

/// The longest name of an argument, in bytes (AMQP 0-9-1: a short string).
pub const ARGUMENT_NAME_BYTES_MAX: usize = 255;

/// The longest value of an argument, in bytes.
pub const ARGUMENT_VALUE_BYTES_MAX: usize = 4096;

/// The largest weight of a binding of a consistent-hash exchange; the smallest is 1.
pub const WEIGHT_MAX: u16 = 1000;

/// The most exchanges of one table.
pub const EXCHANGES_MAX: usize = 1 << 20;

/// The most bindings of one table. With [`PATTERN_WORDS_MAX`] and [`ARGUMENTS_MAX`] it keeps every
/// internal number within 32 bits.
pub const BINDINGS_MAX: usize = 1 << 24;
