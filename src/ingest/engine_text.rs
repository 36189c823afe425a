//! What DuckDB's texts say about rows that it has refused. Its C API has no code or field for the column, the key or the
//! index, so the words are read, here and nowhere else.
//! Runs on: any thread; pure.
//! Never: takes a value that a text quotes for the engine's own words: those come first.

/// The engine's words about a broken constraint. A key or value that it quotes comes after them.
fn constraint(message: &str) -> &str {
    message.strip_prefix("Constraint Error: ").unwrap_or(message)
}

/// `NOT NULL constraint failed: t.column`.
pub(super) fn null_column(message: &str) -> Option<&str> {
    let place = constraint(message).strip_prefix("NOT NULL constraint failed: ")?;
    place.lines().next()?.rsplit('.').next()
}

/// `duplicate key "1, x"` of DuckDB's two texts about it.
pub(super) fn duplicate_key(message: &str) -> Option<&str> {
    let message = constraint(message);
    if let Some(rest) = message.strip_prefix("Duplicate key \"") {
        return rest.rsplit_once("\" violates ").map(|(key, _)| key);
    }
    let rest = message.strip_prefix("PRIMARY KEY or UNIQUE constraint violation: duplicate key \"")?;
    rest.rsplit_once('"').map(|(key, _)| key)
}

/// Whether an index keeps a column from getting another type.
pub(super) fn index_is_in_the_way(message: &str) -> bool {
    message.starts_with("Dependency Error: Cannot alter entry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_texts_name_column_and_key() {
        assert_eq!(null_column("Constraint Error: NOT NULL constraint failed: t2.v"), Some("v"));
        for (text, key) in [
            ("Duplicate key \"id: 1\" violates primary key constraint.", "id: 1"),
            (
                "Constraint Error: Duplicate key \"s: a\nb\" violates x\" violates unique constraint.",
                "s: a\nb\" violates x",
            ),
            (
                "PRIMARY KEY or UNIQUE constraint violation: duplicate key \"1, x, y: \"q\"\"",
                "1, x, y: \"q\"",
            ),
        ] {
            assert_eq!(duplicate_key(text), Some(key));
        }
        assert_eq!(duplicate_key("something else"), None);
        let quoted = "Constraint Error: Duplicate key \"s: NOT NULL constraint failed: t.v\" violates unique constraint.";
        assert_eq!(null_column(quoted), None);
        assert_eq!(duplicate_key("CHECK constraint failed: duplicate key \"x\""), None);
    }
}
