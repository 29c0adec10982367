//! Record values that say who wrote them and which they are, and that are filled with bytes that
//! follow from that: a reader can check every one of them, and a test can find one on disk.

/// Which record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordName {
    /// Who wrote it.
    pub writer: u32,
    /// The how many-th record of this writer it is, from 0.
    pub number: u64,
}

impl RecordName {
    /// The letters that its value is made of, again and again.
    #[must_use]
    pub fn mark(self) -> String {
        format!("<w{}#{:010}>", self.writer, self.number)
    }

    /// A value of this length, or of the length of one mark where that is more.
    #[must_use]
    pub fn value(self, bytes: usize) -> Vec<u8> {
        let mark = self.mark().into_bytes();
        let length = bytes.max(mark.len());
        mark.iter().copied().cycle().take(length).collect()
    }

    /// Reads a value and checks every byte of it.
    ///
    /// # Errors
    /// In words, where it is no such value, or where a byte is wrong.
    pub fn of_value(value: &[u8]) -> Result<Self, String> {
        let shown = || String::from_utf8_lossy(&value[..value.len().min(40)]).into_owned();
        let end = value.iter().position(|byte| *byte == b'>');
        let mark = end.and_then(|end| std::str::from_utf8(&value[..end]).ok());
        let parts = mark.and_then(|mark| mark.strip_prefix("<w")?.split_once('#'));
        let (writer, number) =
            parts.ok_or_else(|| format!("not a value of ours: {:?}", shown()))?;
        let (Ok(writer), Ok(number)) = (writer.parse(), number.parse()) else {
            return Err(format!("not a value of ours: {:?}", shown()));
        };
        let name = Self { writer, number };
        let wrong = value.iter().zip(name.value(value.len())).position(|(got, want)| *got != want);
        match wrong {
            None => Ok(name),
            Some(at) => Err(format!("byte {at} of {} is wrong", name.mark())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RecordName;

    #[test]
    fn a_wrong_byte_is_found() {
        let name = RecordName { writer: 3, number: 77 };
        let mut value = name.value(500);
        assert_eq!(RecordName::of_value(&value), Ok(name));
        value[400] ^= 1;
        assert_eq!(
            RecordName::of_value(&value).unwrap_err(),
            "byte 400 of <w3#0000000077> is wrong"
        );
        assert!(RecordName::of_value(b"anything").is_err());
    }
}
