//! The index of the registry in the Parameter Store: which buckets use a key, an alias, a trail.

use std::collections::BTreeMap;

use aws_sdk_ssm::{
    Client,
    types::{Parameter, ParameterType},
};
use guardrail_core::{
    decide::uses::{Index, IndexChange, Users, entries},
    edge::registry::Registration,
    value::{
        failure::ApiError,
        json::from_json,
        own_parts::{SWEPT, USES},
    },
};
use jiff::Timestamp;

use crate::api;

/// What these parameters say, nine at most, and when a sweep last wrote them. One that nobody can read says nothing.
pub async fn read(ssm: &Client, names: Vec<String>) -> Result<Index, ApiError> {
    let names = names.into_iter().chain([SWEPT.to_owned()]).collect();
    let sent = ssm.get_parameters().set_names(Some(names)).send().await;
    Ok(index(api::output("GetParameters", sent)?.parameters.unwrap_or_default()))
}

/// All of it.
pub async fn read_all(ssm: &Client) -> Result<Index, ApiError> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let get = ssm.get_parameters_by_path().path(USES.trim_end_matches('/')).recursive(true);
        let output = api::output("GetParametersByPath", get.max_results(10).set_next_token(token).send().await)?;
        found.extend(output.parameters.unwrap_or_default());
        token = output.next_token;
        if token.is_none() {
            return Ok(index(found));
        }
    }
}

fn index(parameters: Vec<Parameter>) -> Index {
    let mut index = Index::default();
    for parameter in parameters {
        let (Some(name), Some(value)) = (parameter.name, parameter.value) else { continue };
        if name == SWEPT {
            index.swept = value.parse().ok();
        } else if let Ok(users) = from_json::<Users>(&value) {
            index.entries.insert(name, users);
        }
    }
    index
}

/// Writes a part of it anew.
pub async fn change(ssm: &Client, change: IndexChange) -> Result<(), ApiError> {
    match change {
        IndexChange::Put(name, users) => {
            let users = serde_json::to_string(&users).map_err(|error| ApiError::new("PutParameter", error))?;
            put(ssm, &name, "s3-guardrail: which guarded buckets use this", users).await
        }
        IndexChange::Delete(name) => {
            let sent = ssm.delete_parameter().name(name).send().await;
            api::unless_absent("DeleteParameter", sent, "ParameterNotFound").map(drop)
        }
    }
}

/// Says that all of it is as the registry was at `at`.
pub async fn swept(ssm: &Client, at: Timestamp) -> Result<(), ApiError> {
    put(ssm, SWEPT, "s3-guardrail: when a sweep last wrote what guarded buckets use", at.to_string()).await
}

/// Has nobody believe any more that what it does not name is unused, until the next sweep.
pub async fn distrust(ssm: &Client) -> Result<(), ApiError> {
    swept(ssm, Timestamp::UNIX_EPOCH).await
}

/// Adds a bucket to what its document names.
pub async fn include(ssm: &Client, registration: &Registration) -> Result<(), ApiError> {
    let names = entries(registration);
    for names in names.chunks(9) {
        let present = read(ssm, names.to_vec()).await?.entries;
        for (name, users) in missing(&present, names, registration) {
            change(ssm, IndexChange::Put(name, users)).await?;
        }
    }
    Ok(())
}

fn missing(present: &BTreeMap<String, Users>, names: &[String], registration: &Registration) -> Vec<(String, Users)> {
    let none = Users::Buckets([].into());
    let with = |name: &String| {
        let users = present.get(name).unwrap_or(&none).with(&registration.bucket)?;
        Some((name.clone(), users))
    };
    names.iter().filter_map(with).collect()
}

async fn put(ssm: &Client, name: &str, description: &str, value: String) -> Result<(), ApiError> {
    let put = ssm.put_parameter().name(name).description(description).r#type(ParameterType::String);
    api::done("PutParameter", put.overwrite(true).value(value).send().await)
}
