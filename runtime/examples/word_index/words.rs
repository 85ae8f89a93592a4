//! What a word is: a maximal run of ASCII letters. Nothing here knows of goroutines or of the collector.

/// One word at one place. Sorting brings equal words together, each with ascending positions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occurrence<'t> {
    pub word: &'t str,
    /// Offset of the word's first byte in its file.
    pub at: u64,
}

/// The words of a text that is in lower case already, in order.
pub fn words(text: &str) -> impl Iterator<Item = Occurrence<'_>> {
    let find = |from: usize, letter: bool| {
        let rest = &text.as_bytes()[from..];
        rest.iter().position(|b| b.is_ascii_alphabetic() == letter).map(|i| from + i)
    };
    let mut end = 0;
    std::iter::from_fn(move || {
        let start = find(end, true)?;
        end = find(start, false).unwrap_or(text.len());
        Some(Occurrence { word: &text[start..end], at: start as u64 })
    })
}

#[cfg(test)]
mod tests {
    use super::words;

    fn found(text: &str) -> Vec<(&str, u64)> {
        words(text).map(|o| (o.word, o.at)).collect()
    }

    #[test]
    fn a_word_is_a_maximal_run_of_letters() {
        assert_eq!(found("one,two  th3ee"), [("one", 0), ("two", 4), ("th", 9), ("ee", 12)]);
        assert_eq!(found("naïve_é"), [("na", 0), ("ve", 4)]);
        assert_eq!(found("x"), [("x", 0)]);
    }

    #[test]
    fn without_letters_there_is_no_word() {
        assert_eq!(found(""), []);
        assert_eq!(found("12 + 3 = 15; ßÄ\n"), []);
    }
}
