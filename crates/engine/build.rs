//! Compiles the C++ of `src/ffi` with the headers of the DuckDB that is linked.
//! Never: builds against an engine whose own structs are not those that the file writes down.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

/// Has structs of the engine's written down.
const FILE: &str = "src/ffi/arrays.cpp";
const OTHER: &str = "src/ffi/memory.cpp";

/// What the engine's sources say of structs that no header declares, and `arrays.cpp` has again.
const LAYOUTS: [(&str, &str); 2] = [
    (
        "common/arrow/arrow_format.cpp",
        "class ArrowUnit : public ResultUnit {
public:
	ArrowUnit(idx_t row_count, idx_t byte_size, unique_ptr<ArrowArrayWrapper> array_p)
	    : ResultUnit(row_count, byte_size), array(std::move(array_p)) {
	}

public:
	unique_ptr<ArrowArrayWrapper> array;
};
",
    ),
    (
        "main/capi/v2/capi_v2_prepared_statement.cpp",
        "
	shared_ptr<ClientContext> context;
	unique_ptr<PreparedStatement> prepared;
};
",
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FILE}");
    println!("cargo:rerun-if-changed={OTHER}");
    println!("cargo:rerun-if-env-changed=DEP_DUCKDB_INCLUDE");
    // Told by libduckdb-sys; only a build that links no engine, such as a check with its build script replaced, is without.
    let Ok(include) = env::var("DEP_DUCKDB_INCLUDE") else { return Ok(()) };
    for (file, layout) in LAYOUTS {
        let path = Path::new(&include).with_file_name(file);
        let source = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if !source.contains(layout) {
            let path = path.display();
            return Err(
                format!("{path} declares another struct than {FILE} has written down; compare them").into()
            );
        }
    }
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").warnings(false).files([FILE, OTHER]).include(&include);
    // As libduckdb-sys compiles the engine: the layout of its classes depends on it, and of functions that both have the
    // linker takes one.
    build
        .define(if env::var("PROFILE")? == "debug" { "DEBUG" } else { "NDEBUG" }, None)
        .opt_level(3)
        .debug(false);
    build.compile("pintail_arrays");
    Ok(())
}
