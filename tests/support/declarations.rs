//! Servers over a folder of declarations.

use std::path::Path;

use pintail::config::Config;

use super::server::TestServer;

/// Writes declarations (file name without ending, text) into the folder that servers of this test's folder read.
pub fn declare(directory: &Path, declarations: &[(&str, &str)]) {
    let folder = directory.join("schemas");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in declarations {
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
}

/// A server with these declarations.
pub async fn serve(declarations: &[(&str, &str)]) -> TestServer {
    serve_with(declarations, |_| {}).await
}

/// A server with these declarations and other settings.
pub async fn serve_with(declarations: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> TestServer {
    serve_in(tempfile::tempdir().unwrap(), declarations, change).await
}

/// The same server again, with these declarations in place of those before.
pub async fn again(server: TestServer, declarations: &[(&str, &str)]) -> TestServer {
    serve_in(server.stop().await, declarations, |_| {}).await
}

async fn serve_in(
    directory: tempfile::TempDir,
    declarations: &[(&str, &str)],
    change: impl FnOnce(&mut Config),
) -> TestServer {
    declare(directory.path(), declarations);
    let schemas = directory.path().join("schemas");
    TestServer::start_in(directory, |config| {
        config.schemas.dir = Some(schemas);
        change(config);
    })
    .await
}
