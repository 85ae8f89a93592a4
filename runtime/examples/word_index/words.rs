//! What a word is: a maximal run of ASCII letters. Nothing here knows of goroutines or of the collector.

use std::hash::{DefaultHasher, Hash, Hasher};

/// One word at one place. Sorting brings equal words together, each with ascending positions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Occurrence<'t> {
    pub hash: u64,
    pub word: &'t str,
    /// Offset of the word's first byte in its file.
    pub at: u64,
}

impl Occurrence<'_> {
    /// Whether both are the same word.
    pub fn same_word(&self, other: &Self) -> bool {
        self.hash == other.hash && self.word == other.word
    }
}

/// The words of a text that is in lower case already, in order.
pub fn words(text: &str) -> impl Iterator<Item = Occurrence<'_>> {
    let letter_from = |at: usize, letter: bool| {
        let rest = &text.as_bytes()[at..];
        rest.iter().position(|b| b.is_ascii_alphabetic() == letter).map(|i| at + i)
    };
    let mut end = 0;
    std::iter::from_fn(move || {
        let start = letter_from(end, true)?;
        end = letter_from(start, false).unwrap_or(text.len());
        let word = &text[start..end];
        Some(Occurrence { hash: hash(word), word, at: start as u64 })
    })
}

/// The same for the same word in every run. Whoever chooses the words could choose them to make the tree deep; a
/// program that reads other people's texts in earnest would add a secret key here (`RandomState`).
pub fn hash(word: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    hasher.finish()
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
