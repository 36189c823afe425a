//! Tokens of a text -> how deep it nests, refused beyond what every thread's stack bears.
//! Runs on: the thread that parses, before the engine reads the text.
//! Never: recurses.
//!
//! Symptom: a text that nests deeply ends the process, because a stack overflow cannot be caught.
//! Cause: DuckDB 2.0.0 plans and frees what it has read by recursion. It counts the depth of expressions itself (1,000),
//! but not the terms of one AND, and its parser needs more than linear time for brackets within each other and for long
//! names.
//! Official way: none in this version. Ours: stacks as large as those of the engine's own shell, and this count.

use duckdb::enums::TokenType;

use super::token::Token;
use crate::error::{Error, Result};

/// Stack of every thread that parses, binds or plans, in bytes: that of a main thread, where the engine's own shell does
/// the same. At the engine's own limit of 1,000 every kind of nesting fits into half of it (measured on 2.0.0).
pub const STACK_BYTES: usize = 8 << 20;

/// Brackets and CASEs within each other; people and programs stay far below 100.
const DEPTH_MAX: usize = 250;
/// Parts of a name with dots.
const PARTS_MAX: usize = 250;
/// Terms that AND, OR, UNION and the like join on one level. With half of the stack, 10,000 terms of an AND are planned
/// and 20,000 are not.
const TERMS_MAX: usize = 5000;

const JOINING: [&str; 5] = ["and", "or", "union", "except", "intersect"];

/// Refuses a text that nests too deeply, or joins too many terms.
///
/// Errors: `Invalid`, naming what was found and the limit.
pub(crate) fn check(tokens: &[Token<'_>]) -> Result<()> {
    // Terms of every open level; the first is that of the statement.
    let mut levels = vec![0_usize];
    let (mut deepest, mut most) = (0, 0);
    let (mut parts, mut longest, mut after_dot) = (1, 1, false);
    for token in tokens {
        let is_dot = token.text == ".";
        parts = match (is_dot, after_dot) {
            (true, _) => parts + 1,
            (false, true) => parts,
            (false, false) => 1,
        };
        after_dot = is_dot;
        longest = longest.max(parts);
        match token.kind {
            TokenType::Operator => {
                for sign in token.text.bytes() {
                    match sign {
                        b'(' | b'[' | b'{' => levels.push(0),
                        b')' | b']' | b'}' => close(&mut levels),
                        _ => {}
                    }
                    deepest = deepest.max(levels.len() - 1);
                }
            }
            TokenType::Keyword if token.is_word("case") => {
                levels.push(0);
                deepest = deepest.max(levels.len() - 1);
            }
            TokenType::Keyword if token.is_word("end") => close(&mut levels),
            TokenType::Keyword if JOINING.iter().any(|word| token.is_word(word)) => {
                if let Some(joined) = levels.last_mut() {
                    *joined += 1;
                    most = most.max(*joined + 1);
                }
            }
            TokenType::Terminator => levels = vec![0],
            _ => {}
        }
    }
    if deepest > DEPTH_MAX {
        return Err(Error::invalid(format!(
            "the statement nests {deepest} levels of brackets and CASE, and the limit is {DEPTH_MAX}; write the inner \
             parts as WITH queries, views or tables"
        )));
    }
    if longest > PARTS_MAX {
        return Err(Error::invalid(format!(
            "the statement has a name of {longest} parts, and the limit is {PARTS_MAX}"
        )));
    }
    if most > TERMS_MAX {
        return Err(Error::invalid(format!(
            "the statement joins {most} terms with AND, OR or UNION on one level, and the limit is {TERMS_MAX}; use IN \
             and VALUES lists, or put the values into a table"
        )));
    }
    Ok(())
}

fn close(levels: &mut Vec<usize>) {
    // Brackets that close nothing are the parser's to refuse.
    if levels.len() > 1 {
        levels.pop();
    }
}

#[cfg(test)]
mod tests {
    use duckdb::environment::{Environment, StorageLocation};

    use super::{DEPTH_MAX, TERMS_MAX, check};
    use crate::sql::token::tokens;

    #[test]
    fn each_kind_of_nesting_has_a_limit() {
        let instance = Environment::new().unwrap().open(StorageLocation::InMemory).unwrap();
        let connection = instance.connect().unwrap();
        let refusal = |sql: &str| {
            check(&tokens(&connection, sql).unwrap()).err().map(|error| error.message().to_owned())
        };
        let kinds =
            [("(", ")"), ("[", "]"), ("{'a': ", "}"), ("case when a then ", " else 1 end"), ("abs(", ")")];
        for (open, close) in kinds {
            let nested = |depth: usize| format!("SELECT {}1{}", open.repeat(depth), close.repeat(depth));
            assert_eq!(refusal(&nested(DEPTH_MAX)), None, "{open}");
            let text = refusal(&nested(DEPTH_MAX + 1)).unwrap();
            assert!(text.contains("251 levels") && text.contains("limit is 250"), "{text}");
            // Nothing has to be closed, and what follows another statement counts for itself.
            assert!(refusal(&format!("SELECT 1; SELECT {}", open.repeat(DEPTH_MAX + 1))).is_some(), "{open}");
            assert_eq!(refusal(&format!("{0}; {0}", nested(DEPTH_MAX))), None, "{open}");
        }
        for word in ["AND", "or", "UNION ALL SELECT"] {
            let joined = |terms: usize| format!("SELECT 1{}", format!(" {word} 1").repeat(terms - 1));
            assert_eq!(refusal(&joined(TERMS_MAX)), None, "{word}");
            let text = refusal(&joined(TERMS_MAX + 1)).unwrap();
            assert!(text.contains("5001 terms") && text.contains("limit is 5000"), "{text}");
        }
        let name = |parts: usize| format!("SELECT a{} FROM t", ".a".repeat(parts - 1));
        assert_eq!(refusal(&name(250)), None);
        assert!(refusal(&name(251)).unwrap().contains("251 parts"));
        assert_eq!(refusal(&format!("SELECT 1{}", ", a.b".repeat(999))), None);
        let harmless =
            format!("SELECT '{}', \"{}\" /* {} */ -- {}", "(".repeat(999), "[".repeat(999), "{", "(");
        assert_eq!(refusal(&harmless), None);
        assert_eq!(refusal(&format!("SELECT 1 IN ({})", "(1),".repeat(9999))), None);
        assert_eq!(refusal(&")".repeat(10)), None);
    }
}
