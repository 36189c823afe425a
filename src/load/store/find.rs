//! A URL -> the objects it means.
//! Runs on: the task of the command. Never: reads an object.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStoreExt};
use tokio::runtime::Handle;

use super::super::found::{FoundFile, Place};
use super::super::lake::Lakes;
use super::object::{Object, install_tls};
use super::url::{Target, failed};

const PATTERN: [char; 3] = ['*', '?', '['];

/// The objects that a URL means, in the order of their keys, each with its key below the argument: an object, all below a
/// prefix, or what fits a pattern. Names that begin with `_` or `.` are no data. Partitions are left to be read from the
/// keys.
///
/// Errors: `NotFound` when there is none; what the store says, without credentials.
pub(in super::super) async fn find(argument: &str) -> Result<Vec<(FoundFile, String)>> {
    install_tls();
    find_in(&Target::of(argument)?).await
}

async fn find_in(target: &Target) -> Result<Vec<(FoundFile, String)>> {
    let key = target.key.as_str();
    let name = target.name(key);
    let path = |key: &str| {
        Path::parse(key.trim_end_matches('/'))
            .map_err(|error| Error::invalid(format!("\"{name}\" is not a key of a store: {error}")))
    };
    let is_pattern = !target.single && key.contains(PATTERN);
    let is_folder = key.is_empty() || key.ends_with('/');
    if target.single && is_folder {
        return Err(Error::invalid(format!("{name} is a folder, which https cannot list; name its files")));
    }
    if !is_pattern && !is_folder {
        match look(target, &path(key)?).await {
            Ok(meta) => return Ok(vec![found(target, meta, key.rsplit('/').next().unwrap_or(key))]),
            Err(object_store::Error::NotFound { .. }) if !target.single => {}
            Err(error) => return Err(failed(&name, &error)),
        }
    }
    // The folder that a pattern begins in.
    let base = match key.find(PATTERN).filter(|_| is_pattern) {
        Some(at) => key[..at].rfind('/').map_or("", |slash| &key[..slash]),
        None => key.trim_end_matches('/'),
    };
    let pattern = match is_pattern {
        true => {
            let bad = |error| Error::invalid(format!("\"{name}\" is not a pattern: {error}"));
            Some(glob::Pattern::new(key).map_err(bad)?)
        }
        false => None,
    };
    let prefix = if base.is_empty() { None } else { Some(path(base)?) };
    let listed: Vec<ObjectMeta> =
        target.store.list(prefix.as_ref()).try_collect().await.map_err(|error| failed(&name, &error))?;
    let mut objects: BTreeMap<String, ObjectMeta> =
        listed.into_iter().map(|meta| (meta.location.to_string(), meta)).collect();
    let keys: Vec<String> = objects.keys().cloned().collect();
    Lakes::check_keys(keys.iter().map(String::as_str), &name)?;
    objects.retain(|key, meta| {
        // Some tools keep an empty object in the place of a folder.
        let below = format!("{key}/");
        let at = keys.partition_point(|other| *other < below);
        meta.size > 0 || !keys.get(at).is_some_and(|next| next.starts_with(&below))
    });
    let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
    let mut files = Vec::new();
    for (key, meta) in objects {
        let relative = key.strip_prefix(base).unwrap_or(&key).trim_start_matches('/').to_owned();
        let hidden = relative.split('/').any(|part| part.starts_with(['_', '.']));
        let fits = pattern.as_ref().is_none_or(|pattern| pattern.matches_with(&key, options));
        if !hidden && fits && !relative.is_empty() {
            files.push(found(target, meta, &relative));
        }
    }
    if files.is_empty() {
        return Err(Error::not_found(format!("no object at {name}, nor any below it")));
    }
    Ok(files)
}

/// What a store says of one object. A link that is signed for GET alone takes no HEAD, and a server behind https has to
/// know ranges, so its first byte is asked for.
async fn look(target: &Target, path: &Path) -> object_store::Result<ObjectMeta> {
    if !target.single {
        return target.store.head(path).await;
    }
    let options = GetOptions { range: Some(GetRange::Bounded(0..1)), ..Default::default() };
    target.store.get_opts(path, options).await.map(|answer| answer.meta)
}

fn found(target: &Target, mut meta: ObjectMeta, relative: &str) -> (FoundFile, String) {
    if target.bare_tags {
        meta.e_tag =
            meta.e_tag.map(|tag| if tag.starts_with(['"', 'W']) { tag } else { format!("\"{tag}\"") });
    }
    let name = target.name(meta.location.as_ref());
    let object = Object::new(&Arc::clone(&target.store), meta, &name, Handle::current());
    let place = Place::Object(object);
    (FoundFile { place, shown: name.clone(), name, partitions: vec![] }, relative.to_owned())
}

#[cfg(test)]
mod tests;
