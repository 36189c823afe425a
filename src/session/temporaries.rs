//! SQL text -> whether running it may leave temporary objects on its connection.
//! Runs on: any thread; pure.
//! Never: misses one. The engine's grammar makes temporary objects only beside one of two keywords, and refuses the
//! catalog `temp` in a CREATE without them; keywords can be neither quoted nor escaped.

/// The temporary objects that a statement may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporaries {
    None,
    /// Types without a name, which PIVOT leaves behind.
    Nameless,
    /// What its text names.
    Named,
}

impl Temporaries {
    /// What running `sql` may leave on its connection. In doubt more than it does: a word in a text or a comment counts.
    pub(super) fn of(sql: &str) -> Self {
        let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
        let (mut creates, mut temporary, mut pivots) = (false, false, false);
        for word in sql.split(|letter| !is_letter(letter)) {
            creates |= word.eq_ignore_ascii_case("create");
            temporary |= word.eq_ignore_ascii_case("temp") || word.eq_ignore_ascii_case("temporary");
            pivots |= word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("pivot"));
        }
        match (creates && temporary, pivots) {
            (true, _) => Self::Named,
            (false, true) => Self::Nameless,
            (false, false) => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_found_however_they_are_written() {
        for named in [
            "CREATE TEMP TABLE t (a INTEGER)",
            "create or replace temporary view v AS SELECT 1",
            "CREATE/**/TEMP/**/MACRO m(x) AS x",
            "EXPLAIN ANALYZE CREATE TEMP TABLE t AS PIVOT u ON k USING sum(v)",
            "INSERT INTO u VALUES (1); create\u{a0}temp\u{a0}table t (a INTEGER)",
        ] {
            assert_eq!(Temporaries::of(named), Temporaries::Named, "{named}");
        }
        for nameless in
            ["PIVOT u ON k USING sum(v)", "FROM u PIVOT (sum(v) FOR k IN (1))", "pivot_wider u ON k"]
        {
            assert_eq!(Temporaries::of(nameless), Temporaries::Nameless, "{nameless}");
        }
        for none in ["SELECT temp FROM t", "CREATE TABLE temperature (template TEXT)", "SELECT 'ä'", ""] {
            assert_eq!(Temporaries::of(none), Temporaries::None, "{none}");
        }
    }
}
