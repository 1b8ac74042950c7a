//! The configurations in bench/peers, in which words such as `@listen@` stand for what is known at the start only.

use anyhow::{Context, Result, ensure};

/// What stands for which word.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Vec<(String, String)>);

impl Words {
    pub(super) fn set(&mut self, word: impl Into<String>, value: impl ToString) {
        self.0.push((word.into(), value.to_string()));
    }

    /// A value that was set.
    ///
    /// # Errors
    /// When it was not.
    pub(super) fn value(&self, word: &str) -> Result<&str> {
        let found = self.0.iter().find(|(known, _)| known == word);
        Ok(&found.with_context(|| format!("nothing stands for @{word}@"))?.1)
    }

    /// The text with every word replaced.
    ///
    /// # Errors
    /// When one is unknown.
    pub(super) fn fill(&self, template: &str) -> Result<String> {
        let mut text = template.to_owned();
        for (word, value) in &self.0 {
            text = text.replace(&format!("@{word}@"), value);
        }
        let left = text.split_whitespace().find(|part| has_word(part));
        ensure!(left.is_none(), "nothing stands for {left:?}");
        Ok(text)
    }
}

/// Whether something like `@this@` is in it.
fn has_word(text: &str) -> bool {
    let mut parts = text.split('@').skip(1).collect::<Vec<_>>();
    parts.pop();
    parts.iter().any(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_replaced_and_an_unknown_one_is_an_error() {
        let mut words = Words::default();
        words.set("listen", "127.0.0.1:80");
        words.set("backend1", 8001);
        let filled = words.fill("a @listen@;\nb @backend1@ @listen@ \"@type\": a@b").unwrap();
        assert_eq!(filled, "a 127.0.0.1:80;\nb 8001 127.0.0.1:80 \"@type\": a@b");
        assert!(words.fill("a\n x/@backend2@/y").unwrap_err().to_string().contains("@backend2@"));
        assert_eq!(words.value("backend1").unwrap(), "8001");
        assert!(words.value("other").is_err());
    }
}
