//! A LIKE pattern from a metadata command -> which names match it.
//! Runs on: any thread; pure.
//! Never: allocates or recurses per name, whatever the pattern; a client wrote it.
//!
//! Arrow's own kernel compiles such patterns to regular expressions, which have a size limit, and reads a
//! backslash before any other character as a backslash.

use crate::error::{Error, Result};

/// Makes `%`, `_` and itself stand for themselves; announced as SQL_SEARCH_STRING_ESCAPE.
pub(super) const ESCAPE: char = '\\';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Letter(char),
    /// `_`
    One,
    /// `%`
    Any,
}

/// A parsed pattern. Matching is exact: names are compared as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Token>);

impl Pattern {
    /// Errors: `Invalid` when the pattern ends in an escape that escapes nothing.
    pub(super) fn parse(pattern: &str) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut letters = pattern.chars();
        while let Some(letter) = letters.next() {
            tokens.push(match letter {
                '%' => Token::Any,
                '_' => Token::One,
                ESCAPE => Token::Letter(letters.next().ok_or_else(|| {
                    Error::invalid(format!(
                        "expected a character after the escape at the end of pattern \"{}\", found none",
                        crate::error::shorten(pattern, 300)
                    ))
                })?),
                other => Token::Letter(other),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether the whole of `name` matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        let mut rest = name.chars();
        let mut place = 0;
        // Where to go on after the last `%`, which then swallows one character more. Earlier ones need no
        // second try: whatever they could swallow, the last one can as well.
        let mut retry = None;
        loop {
            let mut ahead = rest.clone();
            let letter = ahead.next();
            match (self.0.get(place), letter) {
                (Some(Token::Any), _) => {
                    place += 1;
                    retry = Some((place, rest.clone()));
                    continue;
                }
                (None, None) => return true,
                (Some(Token::One), Some(_)) => {}
                (Some(Token::Letter(expected)), Some(found)) if *expected == found => {}
                _ => {
                    let Some((after, swallowed)) = &mut retry else { return false };
                    if swallowed.next().is_none() {
                        return false;
                    }
                    place = *after;
                    rest = swallowed.clone();
                    continue;
                }
            }
            place += 1;
            rest = ahead;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_as_like_does() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%", "any thing", true),
            ("_", "", false),
            ("_", "ä", true),
            ("__", "a", false),
            ("orders", "orders", true),
            ("orders", "Orders", false),
            ("orders", "orders2", false),
            ("ord%", "orders", true),
            ("%ers", "orders", true),
            ("%de%", "orders", true),
            ("%ab%b", "aabb", true),
            ("%ab%b", "aab", false),
            ("o_d%s", "orders", true),
            ("a%b%c", "axxbyyc", true),
            ("a%b%c", "axxcyyb", false),
            ("a\\_b", "a_b", true),
            ("a\\_b", "axb", false),
            ("100\\%", "100%", true),
            ("100\\%", "1000", false),
            ("\\\\%", "\\share", true),
            ("\\a", "a", true),
            ("a.c", "abc", false),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(name), expected, "{name:?} LIKE {pattern:?}");
        }
    }

    #[test]
    fn a_lone_escape_at_the_end_is_refused_with_the_pattern() {
        for pattern in ["\\", "a%\\", "a\\\\\\"] {
            let refused = Pattern::parse(pattern).unwrap_err();
            assert_eq!(refused.kind(), Kind::Invalid);
            assert!(refused.message().contains(pattern), "{refused}");
        }
    }

    /// LIKE as its definition reads, in exponential time.
    fn like(tokens: &[Token], name: &[char]) -> bool {
        match (tokens.split_first(), name.split_first()) {
            (None, _) => name.is_empty(),
            (Some((Token::Any, rest)), _) => (0..=name.len()).any(|skip| like(rest, &name[skip..])),
            (Some((Token::One, rest)), Some((_, name))) => like(rest, name),
            (Some((Token::Letter(expected), rest)), Some((found, name))) => {
                expected == found && like(rest, name)
            }
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_the_definition(pattern in "[ab%_]{0,8}", name in "[ab_%]{0,8}") {
            let pattern = Pattern::parse(&pattern).unwrap();
            let letters: Vec<char> = name.chars().collect();
            prop_assert_eq!(pattern.matches(&name), like(&pattern.0, &letters));
        }

        /// An escaped name matches that name and no other.
        #[test]
        fn an_escaped_name_matches_itself_only(name in ".{0,12}", other in ".{0,12}") {
            let escaped: String = name.chars().flat_map(|letter| [ESCAPE, letter]).collect();
            let pattern = Pattern::parse(&escaped).unwrap();
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.matches(&other), name == other);
        }
    }
}
