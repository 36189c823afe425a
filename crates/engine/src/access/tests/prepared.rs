//! What was prepared for one user, and who runs it next.

use super::*;
use crate::read::describe;
use crate::sql::Class;

/// What one of them has prepared is not run for another one; a change of grants holds from the next statement.
#[test]
fn nothing_prepared_outlives_whom_it_was_for() {
    let database = open();
    let sql = "SELECT count(*) AS n FROM wells";
    let mut connection = database.connection().unwrap();
    for (who, rows) in [(None, "1000"), (Some(customer(Level::Reader)), "100"), (None, "1000")] {
        connection.hold_to(who);
        let bound = crate::bound::Bound::new(sql.into(), Vec::new(), None).unwrap();
        bound.keep(&mut connection).unwrap();
        let described = describe(&connection, sql).unwrap();
        let size = ArraySize { bytes: 1 << 20, rows_max: None };
        bound
            .each(&connection, |row| {
                let mut cursor = bound.open(&connection, row, &described.schema, size)?;
                let batch = cursor.next_batch()?.unwrap();
                let text = pretty_format_batches(&[batch]).unwrap().to_string();
                assert!(text.contains(&format!("| {rows}")), "{text}");
                Ok(())
            })
            .unwrap();
    }
    connection.hold_to(Some(plain(Level::Reader)));
    assert!(describe(&connection, sql).is_ok());
    connection.hold_to(Some(Arc::new(Access::new(
        "ada",
        Level::Reader,
        Some(Vec::new()),
        Vec::new(),
        Vec::new(),
    ))));
    assert_eq!(describe(&connection, sql).unwrap_err().kind(), Kind::Denied);
    assert_eq!(describe(&connection, "SELECT 1").unwrap().class, Class::Query);
}

/// What has no type but that of its value is described over windows as over tables, and read through one endpoint.
#[test]
fn parameters_stand_over_a_part() {
    let database = open();
    let mut connection = database.connection().unwrap();
    connection.hold_to(Some(customer(Level::Reader)));
    for sql in [
        "SELECT count(*) FROM wells WHERE oil + ? > 10",
        "SELECT count(*) FROM wells WHERE ? IS NULL OR oil = ?",
        "SELECT ? AS tag, oil FROM wells",
        "SELECT count(*) FROM wells WHERE date_trunc(?, DATE '2020-01-05') = DATE '2020-01-01'",
        "SELECT greatest($a, (SELECT max(oil) FROM wells)) AS most",
    ] {
        let described = describe(&connection, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(!described.parameters.is_empty(), "{sql}");
    }
    for sql in ["FROM wells", "SELECT * FROM information_schema.tables"] {
        let bound = crate::bound::Bound::new(sql.into(), Vec::new(), None).unwrap();
        assert!(crate::bound::is_ordered(&mut connection, &bound).unwrap(), "{sql}");
    }
    let whole = crate::bound::Bound::new("FROM open_table".into(), Vec::new(), None).unwrap();
    assert!(!crate::bound::is_ordered(&mut connection, &whole).unwrap());
}
