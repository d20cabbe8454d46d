//! The index of the registry in the Parameter Store: which buckets use a key, an alias, a trail.

use aws_sdk_ssm::{
    Client,
    types::{Parameter, ParameterType},
};
use guardrail_core::{
    decide::uses::{Index, IndexChange, Users, additions, entries},
    edge::registry::Registration,
    value::{
        failure::ApiError,
        json::from_json,
        own_parts::{SWEPT, USES},
    },
};
use jiff::Timestamp;

use crate::api;

/// What these parameters say, and when a sweep last wrote them. One that nobody can read says nothing.
pub async fn read(ssm: &Client, names: &[String]) -> Result<Index, ApiError> {
    let mut found = Vec::new();
    let all: Vec<_> = [SWEPT.to_owned()].into_iter().chain(names.iter().cloned()).collect();
    // The Parameter Store gives ten at once.
    for names in all.chunks(10) {
        let names = names.to_vec();
        let sent = ssm.get_parameters().set_names(Some(names)).send().await;
        found.extend(api::output("GetParameters", sent)?.parameters.unwrap_or_default());
    }
    Ok(index(found))
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
    let present = read(ssm, &entries(registration)).await?.entries;
    for addition in additions(&present, registration) {
        change(ssm, addition).await?;
    }
    Ok(())
}

async fn put(ssm: &Client, name: &str, description: &str, value: String) -> Result<(), ApiError> {
    let put = ssm.put_parameter().name(name).description(description).r#type(ParameterType::String);
    api::done("PutParameter", put.overwrite(true).value(value).send().await)
}
