//! The tables that a statement's text names as those it writes into, or replaces.
//! Never: resolves a name; finds all that a statement does.

/// The table whose rows a statement changes, by the last part of its name in lower case; `None` where the text does not
/// begin with it.
pub(crate) fn written_table(sql: &str) -> Option<String> {
    let mut words = Words(sql);
    match () {
        () if words.word("insert").is_some() => {
            if words.word("or").is_some() {
                words.word("replace").or_else(|| words.word("ignore"))?;
            }
            words.word("into")?;
        }
        () if words.word("delete").is_some() => words.word("from")?,
        () if words.word("merge").is_some() => words.word("into")?,
        () if words.word("truncate").is_some() => drop(words.word("table")),
        () => words.word("update")?,
    }
    words.name()
}

/// The table that a `CREATE OR REPLACE TABLE` puts in the place of another, by the last part of its name in lower case.
pub(crate) fn replaced_table(sql: &str) -> Option<String> {
    let mut words = Words(sql);
    words.word("create")?;
    words.word("or")?;
    words.word("replace")?;
    words.word("table")?;
    words.name()
}

/// The table that an `ALTER TABLE ... RENAME TO` gives another name, by the last part of its name in lower case.
pub(crate) fn renamed_table(sql: &str) -> Option<String> {
    let mut words = Words(sql);
    words.word("alter")?;
    words.word("table")?;
    if words.word("if").is_some() {
        words.word("exists")?;
    }
    let table = words.name()?;
    words.word("rename")?;
    words.word("to").map(|()| table)
}

/// Whether a definition may drop a table, or give it another name.
pub(crate) fn may_drop_or_rename(sql: &str) -> bool {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    sql.split(|letter| !is_part(letter))
        .any(|word| ["drop", "replace", "rename"].iter().any(|drops| word.eq_ignore_ascii_case(drops)))
}

/// The rest of a text.
struct Words<'sql>(&'sql str);

impl Words<'_> {
    /// Goes past white space and comments.
    fn skip(&mut self) {
        loop {
            let text = self.0.trim_start();
            self.0 = match () {
                () if text.starts_with("--") => text.split_once('\n').map_or("", |(_, rest)| rest),
                () if text.starts_with("/*") => text.split_once("*/").map_or("", |(_, rest)| rest),
                () => {
                    self.0 = text;
                    return;
                }
            };
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.skip();
        let rest = self.0.get(word.len()..)?;
        let is_whole = !rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        (is_whole && self.0[..word.len()].eq_ignore_ascii_case(word)).then(|| self.0 = rest)
    }

    /// A name with parts; the last one.
    fn name(&mut self) -> Option<String> {
        loop {
            let part = self.part()?;
            self.skip();
            match self.0.strip_prefix('.') {
                Some(rest) => self.0 = rest,
                None => return Some(part.to_lowercase()),
            }
        }
    }

    fn part(&mut self) -> Option<String> {
        self.skip();
        let Some(quoted) = self.0.strip_prefix('"') else {
            let end = self.0.find(|letter: char| !letter.is_alphanumeric() && !"_$".contains(letter));
            let (part, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
            self.0 = rest;
            return (!part.is_empty()).then(|| part.to_owned());
        };
        let mut part = String::new();
        let mut rest = quoted;
        loop {
            let (text, after) = rest.split_once('"')?;
            part.push_str(text);
            match after.strip_prefix('"') {
                Some(more) => {
                    part.push('"');
                    rest = more;
                }
                None => {
                    self.0 = after;
                    return Some(part);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{may_drop_or_rename, renamed_table, replaced_table, written_table};

    #[test]
    fn tables_are_found_by_the_last_part_of_their_names() {
        for (sql, table) in [
            ("INSERT INTO t VALUES (1)", Some("t")),
            ("insert or replace into main . \"A \"\"b\"\"\"(n) SELECT", Some("a \"b\"")),
            ("/* who */ INSERT -- what\n INTO \"x\".\"Wells\" BY NAME FROM u", Some("wells")),
            ("INSERT INTO \"never ends", None),
            ("INSERTS INTO t", None),
            ("WITH a AS (SELECT 1) INSERT INTO t FROM a", None),
            ("WITH a AS (SELECT 1) UPDATE t SET a = 1", None),
            ("UPDATE t SET a = 1", Some("t")),
            ("DELETE FROM main.t", Some("t")),
            ("MERGE INTO t USING u ON true", Some("t")),
            ("TRUNCATE TABLE t", Some("t")),
            ("truncate t;", Some("t")),
        ] {
            assert_eq!(written_table(sql).as_deref(), table, "{sql}");
        }
        for (sql, table) in [
            ("CREATE OR REPLACE TABLE db.main.T AS FROM T", Some("t")),
            ("create or replace table \"t\"(n INT)", Some("t")),
            ("CREATE TABLE t AS FROM u", None),
            ("CREATE OR REPLACE VIEW t AS FROM u", None),
        ] {
            assert_eq!(replaced_table(sql).as_deref(), table, "{sql}");
        }
        for (sql, table) in [
            ("ALTER TABLE db.main.T RENAME TO u", Some("t")),
            ("alter table if exists \"A b\" rename to u", Some("a b")),
            ("ALTER TABLE t RENAME COLUMN a TO b", None),
            ("ALTER VIEW t RENAME TO u", None),
            ("ALTER TABLE rename ADD COLUMN a INT", None),
        ] {
            assert_eq!(renamed_table(sql).as_deref(), table, "{sql}");
        }
        for sql in ["DROP TABLE t", "create or replace table t as from t", "ALTER TABLE t RENAME TO u"] {
            assert!(may_drop_or_rename(sql), "{sql}");
        }
        assert!(!may_drop_or_rename("CREATE TABLE drops AS FROM u"));
    }
}
