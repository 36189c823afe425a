//! Objects of S3, Google and Azure, and files behind https -> files that a load means.
//! Runs on: the task of the command; reading blocks on threads that read. Never: prints credentials or signed links.
//!
//! Credentials are read from the environment alone, by `object_store`'s names: `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL`,
//! `AWS_ALLOW_HTTP`, `AWS_SKIP_SIGNATURE` (public buckets), web identity, container and instance roles;
//! `GOOGLE_APPLICATION_CREDENTIALS`, `GOOGLE_SERVICE_ACCOUNT`; `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`,
//! `AZURE_STORAGE_SAS_TOKEN` and those of service principals. `~/.aws` and `AWS_PROFILE` are not read.

#[cfg(feature = "object-store")]
mod find;
#[cfg(feature = "object-store")]
pub(super) mod object;
#[cfg(feature = "object-store")]
mod url;

#[cfg(feature = "object-store")]
pub(super) use self::find::find;

const SCHEMES: [&str; 10] = ["s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss", "http", "https"];

/// Whether an argument is a URL of a store, and not a path.
pub(super) fn is_url(argument: &str) -> bool {
    argument
        .split_once("://")
        .is_some_and(|(scheme, _)| SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()))
}

/// Objects with their keys below the argument.
///
/// Errors: `Unsupported`, because this build knows no stores.
#[cfg(not(feature = "object-store"))]
pub(super) async fn find(argument: &str) -> crate::error::Result<Vec<(super::found::FoundFile, String)>> {
    let _ = argument;
    Err(crate::error::Error::unsupported(
        "this pintail was built without object stores; build it with --features object-store, or load local files",
    ))
}
