//! What the server tells of itself -> tables `pintail.queries` and its kin, for any SELECT.
//! Runs on: the thread that binds, then one of DuckDB's workers.
//! Never: stands before a table of the user's own; shows anybody but an admin what others do.
//!
//! The engine's name for it is a replacement scan: where a FROM names a table that is not there, it asks by what function it
//! is to be read. So a table `queries` in the database `pintail`, or in a schema `pintail` of any database, comes first, and
//! whether the database's own name is `pintail` does not matter.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use duckdb::ToValue;
use duckdb::bind_arguments::BindArgument;
use duckdb::connection::{Connection as DuckDBConnection, Context};
use duckdb::data_chunk::DataChunkRef;
use duckdb::error::DuckDBError;
use duckdb::instance::Instance;
use duckdb::qualified_name::QualifiedName;
use duckdb::replacement_scan::{
    ReplacementHandle, ReplacementScanBuilder, ReplacementScanCallbacks, ReplacementType,
};
use duckdb::signature::{FunctionParameter, SignatureBuilder};
use duckdb::table_function::{
    BindFunctionHandle, ExecColumnInfo, InitColumnData, TableFunctionBuilder, TableFunctionCallbacks,
};

use super::segments::OWNER;
use crate::access::Access;
use crate::error::{Error, Kind, Result};
use crate::ffi::Importer;

/// The schema that the tables seem to be in.
pub(crate) const ABOUT_SCHEMA: &str = "pintail";
/// Where they can be named when the user has a schema of that name.
const ABOUT_CATALOG: &str = "system";
/// The function behind them; no client may call it.
pub(crate) const ABOUT_FUNCTION: &str = "pintail_about";

/// Tells what the server knows of itself, as tables.
pub trait Teller: Send + Sync {
    /// The columns of a table, by its name in lower case; `None` when there is none of that name.
    fn schema(&self, table: &str) -> Option<SchemaRef>;

    /// Its rows, as far as they are there for somebody; `None` stands for an admin.
    ///
    /// Errors: `Denied` when none of them are.
    fn rows(&self, table: &str, viewer: Option<&Access>) -> Result<RecordBatch>;
}

/// What is told, and to whom on which connection.
#[derive(Clone, Default)]
pub(crate) struct About(Arc<Shared>);

#[derive(Default)]
struct Shared {
    teller: OnceLock<Arc<dyn Teller>>,
    // By the word of their connection, those who are no admins.
    viewers: Mutex<HashMap<String, Arc<Access>>>,
}

impl About {
    /// Takes the one who knows. The first one stays.
    pub(crate) fn told_by(&self, teller: Arc<dyn Teller>) {
        let _ = self.0.teller.set(teller);
    }

    /// Whose statements the connection with this word runs from now on.
    pub(crate) fn viewed_by(&self, owner: &str, viewer: Option<Arc<Access>>) {
        let mut viewers = self.0.viewers.lock().unwrap_or_else(PoisonError::into_inner);
        match viewer {
            Some(viewer) => viewers.insert(owner.to_owned(), viewer),
            None => viewers.remove(owner),
        };
    }

    fn viewer(&self, owner: &str) -> Option<Arc<Access>> {
        self.0.viewers.lock().unwrap_or_else(PoisonError::into_inner).get(owner).cloned()
    }

    /// The table that a path stands for, if the user has none of that name.
    pub(crate) fn table(&self, path: &[String]) -> Option<String> {
        let [catalogs @ .., schema, table] = path else { return None };
        let is_ours = schema.eq_ignore_ascii_case(ABOUT_SCHEMA)
            && catalogs.iter().all(|catalog| catalog.eq_ignore_ascii_case(ABOUT_CATALOG))
            && catalogs.len() < 2;
        let table = table.to_ascii_lowercase();
        (is_ours && self.0.teller.get()?.schema(&table).is_some()).then_some(table)
    }

    /// Registers the function behind the tables for every connection of the instance behind `connection`.
    pub(crate) fn register(&self, connection: &DuckDBConnection) -> duckdb::Result<()> {
        let signature = SignatureBuilder::new().param(FunctionParameter::new::<String>("table"));
        TableFunctionBuilder::new(ABOUT_FUNCTION, signature, AboutFunction(self.clone())).register(connection)
    }

    /// Registers their names, before anything is asked of the instance.
    pub(crate) fn register_names(&self, instance: &Instance) -> duckdb::Result<()> {
        ReplacementScanBuilder::new(AboutNames(self.clone())).register(instance)
    }

    /// What reads a table of this name.
    pub(crate) fn query_of(table: &str) -> String {
        format!("SELECT * FROM system.main.{ABOUT_FUNCTION}('{table}')")
    }
}

struct AboutNames(About);

impl ReplacementScanCallbacks for AboutNames {
    fn scan(
        &self,
        context: &Context,
        name: &QualifiedName,
        replacement: ReplacementHandle<'_>,
    ) -> duckdb::Result<()> {
        let Some(table) = self.0.table(&name.parts()?) else { return Ok(()) };
        let function = QualifiedName::from_parts(&["system", "main", ABOUT_FUNCTION])?;
        replacement.set_reference(ReplacementType::Table(function))?;
        replacement.add_parameter(table.value(context)?)
    }
}

struct AboutFunction(About);

/// The table that a statement was bound to.
struct Binding {
    table: String,
    schema: SchemaRef,
}

/// The rows of one run, taken when it began.
struct Rows(Mutex<VecDeque<RecordBatch>>);

fn refusal(error: &Error) -> duckdb::Error {
    let mut refusal = duckdb::Error::invalid_input(error.message());
    if error.kind() == Kind::Denied {
        refusal.code = DuckDBError::ConfigurationPermission;
    }
    refusal
}

impl TableFunctionCallbacks for AboutFunction {
    type BindData = Binding;
    type GlobalState = Rows;
    type LocalState = Importer;

    fn bind(
        &self,
        context: &Context,
        arguments: Vec<BindArgument>,
        output: BindFunctionHandle<'_>,
    ) -> duckdb::Result<Binding> {
        let table = match arguments.first().and_then(|argument| argument.value.as_ref()) {
            Some(value) => value.get::<String>()?.unwrap_or_default(),
            None => String::new(),
        };
        let schema = self.0.0.teller.get().and_then(|teller| teller.schema(&table)).ok_or_else(|| {
            duckdb::Error::invalid_input(format!("{ABOUT_FUNCTION} is internal to the server"))
        })?;
        for column in Importer::new(context, &schema)?.schema()?.iter()? {
            let (name, logical_type) = column?;
            output.add_result_column(name, &logical_type)?;
        }
        Ok(Binding { table, schema })
    }

    fn init_global_state(
        &self,
        binding: &Binding,
        context: &Context,
        _columns: InitColumnData<'_>,
    ) -> duckdb::Result<(Option<Rows>, Option<usize>)> {
        let (word, _) = context.config()?.get_value(OWNER)?;
        let viewer = word.get::<String>()?.and_then(|word| self.0.viewer(&word));
        let teller = self.0.0.teller.get().ok_or_else(|| duckdb::Error::api_error("nobody tells"))?;
        let rows = teller.rows(&binding.table, viewer.as_deref()).map_err(|error| refusal(&error))?;
        if rows.schema_ref().fields() != binding.schema.fields() {
            return Err(duckdb::Error::api_error("a table of the server's own has changed its columns"));
        }
        Ok((Some(Rows(Mutex::new(VecDeque::from([rows])))), Some(1)))
    }

    fn init_local_state(
        &self,
        binding: &Binding,
        _rows: Option<&Rows>,
        context: &Context,
        _columns: InitColumnData<'_>,
    ) -> duckdb::Result<Option<Importer>> {
        Importer::new(context, &binding.schema).map(Some)
    }

    fn exec(
        &self,
        _binding: &Binding,
        rows: Option<&Rows>,
        importer: Option<&mut Importer>,
        _context: &Context,
        mut output: DataChunkRef<'_>,
        _columns: ExecColumnInfo<'_>,
    ) -> duckdb::Result<()> {
        let (Some(Rows(rows)), Some(importer)) = (rows, importer) else {
            return Err(duckdb::Error::api_error("a table of the server's own is read without its state"));
        };
        while !importer.lend_next(&mut output)? {
            match rows.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                Some(batch) => importer.feed(batch)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use arrow::util::display::array_value_to_string;

    use super::Teller;
    use crate::access::{Access, Grant, Level, Right, Tables};
    use crate::error::{Error, Kind, Result};
    use crate::{ArraySize, Connection, Cursor, Database, Options};

    /// Tells of the rows 1 to `rows` and who asks.
    struct Rows(i64);

    impl Teller for Rows {
        fn schema(&self, table: &str) -> Option<SchemaRef> {
            let fields =
                vec![Field::new("id", DataType::Int64, false), Field::new("viewer", DataType::Utf8, false)];
            ["queries", "audit"].contains(&table).then(|| Arc::new(Schema::new(fields)))
        }

        fn rows(&self, table: &str, viewer: Option<&Access>) -> Result<RecordBatch> {
            if table == "audit" && viewer.is_some() {
                return Err(Error::new(Kind::Denied, "pintail.audit is for admins"));
            }
            let ids: Vec<i64> = (1..=self.0).collect();
            let name =
                viewer.map_or("admin", |viewer| if viewer.is_of("ada", None) { "ada" } else { "other" });
            let names = StringArray::from(vec![name; ids.len()]);
            let schema = self.schema(table).ok_or_else(|| Error::internal("no such table"))?;
            Ok(RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(ids)), Arc::new(names)])?)
        }
    }

    fn open(path: &str) -> Arc<Database> {
        let database = Database::open(Options { path: path.into(), ..Options::in_memory() }).unwrap();
        database.told_by(Arc::new(Rows(5000)));
        database
    }

    /// The first value of a client's query, as text.
    fn ask(connection: &Connection, sql: &str) -> Result<String> {
        let parsed = crate::parse(connection, sql)?;
        let described = parsed.describe(connection)?;
        let size = ArraySize { bytes: 1 << 20, rows_max: None };
        let mut cursor = Cursor::open(connection, &parsed, &described.schema, size)?;
        let batch = cursor.next_batch()?.ok_or_else(|| Error::not_found("no rows"))?;
        Ok(array_value_to_string(batch.column(0), 0)?)
    }

    #[test]
    fn names_work_whatever_the_database_is_called() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["pintail.duckdb", "other.duckdb"] {
            let database = open(&directory.path().join(file).display().to_string());
            let connection = &mut database.connection().unwrap();
            for sql in [
                "SELECT count(*)::VARCHAR FROM pintail.queries",
                "SELECT count(*)::VARCHAR FROM PINTAIL.Queries AS q WHERE q.viewer = 'admin'",
                "SELECT count(*)::VARCHAR FROM system.pintail.queries",
                "SELECT count(queries.id)::VARCHAR FROM pintail.queries",
                "SELECT count(*)::VARCHAR FROM range(5000) r(i) JOIN pintail.queries q ON q.id = r.i + 1",
                "WITH own AS (FROM pintail.queries) SELECT count(*)::VARCHAR FROM own",
            ] {
                assert_eq!(ask(connection, sql).unwrap(), "5000", "{file}: {sql}");
            }
            assert_eq!(
                ask(connection, "SELECT count(*)::VARCHAR FROM (DESCRIBE pintail.queries)").unwrap(),
                "2"
            );
            let unknown = ask(connection, "FROM pintail.nothing").unwrap_err();
            assert_eq!(unknown.kind(), Kind::NotFound, "{file}: {unknown}");
            let called = ask(connection, "FROM pintail_about('queries')").unwrap_err();
            assert!(called.message().contains("internal"), "{file}: {called}");
            connection.execute("CREATE VIEW v AS SELECT id FROM system.pintail.queries").unwrap();
            assert_eq!(ask(connection, "SELECT count(*)::VARCHAR FROM v").unwrap(), "5000", "{file}");
        }
    }

    #[test]
    fn a_table_of_the_users_own_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        let database = open(&directory.path().join("pintail.duckdb").display().to_string());
        let connection = &mut database.connection().unwrap();
        connection.execute("CREATE TABLE queries AS SELECT 'own' AS whose").unwrap();
        assert_eq!(ask(connection, "SELECT whose FROM pintail.queries").unwrap(), "own");
        assert_eq!(ask(connection, "SELECT count(*)::VARCHAR FROM system.pintail.queries").unwrap(), "5000");
        let database = open(&directory.path().join("other.duckdb").display().to_string());
        let connection = &mut database.connection().unwrap();
        connection.execute("CREATE SCHEMA pintail").unwrap();
        assert_eq!(ask(connection, "SELECT count(*)::VARCHAR FROM pintail.queries").unwrap(), "5000");
        connection.execute("CREATE TABLE pintail.queries AS SELECT 'own' AS whose").unwrap();
        assert_eq!(ask(connection, "SELECT whose FROM pintail.queries").unwrap(), "own");
        assert_eq!(ask(connection, "SELECT count(*)::VARCHAR FROM system.pintail.queries").unwrap(), "5000");
    }

    /// Whoever holds grants reads them as well, also where a table that is not granted has the name.
    #[test]
    fn whoever_asks_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let database = open(&directory.path().join("pintail.duckdb").display().to_string());
        let admin = database.connection().unwrap();
        let grant = Grant {
            tables: Tables { schema: Some("main".into()), table: Some("t".into()) },
            rights: vec![Right::Read],
            filter: None,
            hide: Vec::new(),
        };
        let of = |grants| Arc::new(Access::new("ada", Level::Reader, grants, Vec::new(), Vec::new()));
        for hidden in [false, true] {
            if hidden {
                admin.execute("CREATE TABLE queries AS SELECT 'secret' AS viewer").unwrap();
            }
            for grants in [None, Some(vec![grant.clone()])] {
                let has_grants = grants.is_some();
                let connection = &mut database.connection().unwrap();
                connection.hold_to(Some(of(grants)));
                let viewer = ask(connection, "SELECT viewer FROM pintail.queries").unwrap();
                assert_eq!(viewer, if hidden && !has_grants { "secret" } else { "ada" });
                assert_eq!(ask(connection, "SELECT viewer FROM system.pintail.queries").unwrap(), "ada");
                let refused = ask(connection, "FROM pintail.audit").unwrap_err();
                assert_eq!(refused.kind(), Kind::Denied, "{refused}");
                assert!(refused.message().contains("for admins"), "{refused}");
            }
        }
        // What a connection of the pool was for one, it is not for the next.
        let connection = &mut database.connection().unwrap();
        assert_eq!(ask(connection, "SELECT viewer FROM pintail.audit").unwrap(), "admin");
    }
}
