//! The words of a log record's body, and the text of a search.

use tantivy::tokenizer::{
    LowerCaser, SimpleTokenizer, TextAnalyzer, Token, TokenFilter, TokenStream, Tokenizer,
};

/// The name under which an index knows [`analyzer`].
pub(super) const ANALYZER: &str = "words";

/// Longer words are cut: the index cannot hold arbitrarily long ones.
const MAX_WORD_BYTES: usize = 512;

/// Splits into runs of letters and digits of any script, in lower case.
pub(super) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default()).filter(LowerCaser).filter(CutLong).build()
}

/// The words of `text`, in order.
pub(super) fn words(analyzer: &mut TextAnalyzer, text: &str) -> Vec<String> {
    let mut words = Vec::new();
    analyzer.token_stream(text).process(&mut |token| words.push(token.text.clone()));
    words
}

/// A part of a search: words that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phrase {
    /// At least one word.
    pub(super) words: Vec<String>,
    /// Whether it must not be there.
    pub(super) negated: bool,
}

/// What `text` asks for: all phrases must hold. There is no wrong text: what is no operator is a word, and what has
/// neither letters nor digits asks for nothing.
pub(super) fn parse(text: &str) -> Vec<Phrase> {
    let mut analyzer = analyzer();
    let mut phrases = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (negated, term) = match rest.strip_prefix('-') {
            Some(term) => (true, term),
            None => (false, rest),
        };
        let quoted = term.strip_prefix('"').and_then(|inner| inner.split_once('"'));
        let (part, after) = quoted.unwrap_or_else(|| {
            let end = term.find(char::is_whitespace).unwrap_or(term.len());
            term.split_at(end)
        });
        let words = words(&mut analyzer, part);
        if !words.is_empty() {
            phrases.push(Phrase { words, negated });
        }
        rest = after.trim_start();
    }
    phrases
}

/// Whether a body with these words fulfils all `phrases`.
pub(super) fn matches(phrases: &[Phrase], body: &[String]) -> bool {
    phrases.iter().all(|phrase| {
        let found = body.windows(phrase.words.len()).any(|window| window == phrase.words);
        found != phrase.negated
    })
}

/// Cuts `text` to at most `bytes` bytes, at the end of a character.
pub(super) fn cut(text: &mut String, bytes: usize) {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// Cuts words at [`MAX_WORD_BYTES`].
#[derive(Clone)]
struct CutLong;

impl TokenFilter for CutLong {
    type Tokenizer<T: Tokenizer> = CutLongTokenizer<T>;

    fn transform<T: Tokenizer>(self, inner: T) -> Self::Tokenizer<T> {
        CutLongTokenizer(inner)
    }
}

#[derive(Clone)]
struct CutLongTokenizer<T>(T);

impl<T: Tokenizer> Tokenizer for CutLongTokenizer<T> {
    type TokenStream<'a> = CutLongStream<T::TokenStream<'a>>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        CutLongStream(self.0.token_stream(text))
    }
}

struct CutLongStream<S>(S);

impl<S: TokenStream> TokenStream for CutLongStream<S> {
    fn advance(&mut self) -> bool {
        if !self.0.advance() {
            return false;
        }
        cut(&mut self.0.token_mut().text, MAX_WORD_BYTES);
        true
    }

    fn token(&self) -> &Token {
        self.0.token()
    }

    fn token_mut(&mut self) -> &mut Token {
        self.0.token_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn phrase(negated: bool, words: &[&str]) -> Phrase {
        Phrase { negated, words: words.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn quotes_and_minus_are_operators_only_where_a_word_begins() {
        assert_eq!(
            parse(r#"Über "connection reset" -debug -"by peer" a-b 10.0.0.1"#),
            [
                phrase(false, &["über"]),
                phrase(false, &["connection", "reset"]),
                phrase(true, &["debug"]),
                phrase(true, &["by", "peer"]),
                phrase(false, &["a", "b"]),
                phrase(false, &["10", "0", "0", "1"]),
            ]
        );
        assert_eq!(parse(r#"- "" ... OR "open"#), [phrase(false, &["or"]), phrase(false, &["open"])]);
        assert_eq!(parse(r#"say"no"more"#), [phrase(false, &["say", "no", "more"])]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_search(text: String) {
            for phrase in parse(&text) {
                prop_assert!(!phrase.words.is_empty());
                prop_assert!(phrase.words.iter().all(|w| w.len() <= MAX_WORD_BYTES));
            }
        }
    }
}
