//! The registry in the Parameter Store, and the copies of its documents.

use std::collections::BTreeMap;

use aws_sdk_ssm::Client;
use guardrail_core::{
    edge::registry::{COPIES, Kept, Parameter, Registration, RegistryError},
    value::{failure::ApiError, json::from_json, names::BucketName},
};

use crate::api;

/// Reads the registry document of `bucket`; `None` when the bucket is not guarded.
pub async fn read(ssm: &Client, prefix: &str, bucket: &BucketName) -> Result<Option<Registration>, RegistryError> {
    let sent = ssm.get_parameter().name(format!("{prefix}{bucket}")).with_decryption(true).send().await;
    let output = api::unless_absent("GetParameter", sent, "ParameterNotFound")?;
    let document = output.and_then(|it| it.parameter).and_then(|it| it.value);
    document.map(|it| Registration::parse(&it, bucket)).transpose()
}

/// The same of ten buckets at most, in one call.
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>
pub async fn read_all(
    ssm: &Client,
    prefix: &str,
    buckets: &[BucketName],
) -> Result<BTreeMap<BucketName, Result<Option<Registration>, RegistryError>>, ApiError> {
    let names = buckets.iter().map(|it| format!("{prefix}{it}")).collect();
    let sent = ssm.get_parameters().set_names(Some(names)).with_decryption(true).send().await;
    let parameters = api::output("GetParameters", sent)?.parameters.unwrap_or_default();
    let document = |bucket: &BucketName| {
        let name = format!("{prefix}{bucket}");
        let found = parameters.iter().find(|it| it.name() == Some(&name))?.value()?;
        Some(Registration::parse(found, bucket))
    };
    Ok(buckets.iter().map(|it| (it.clone(), document(it).transpose())).collect())
}

/// Keeps a copy of a document.
pub async fn keep(ssm: &Client, kept: &Kept) -> Result<(), ApiError> {
    let document = serde_json::to_string(kept).map_err(|error| ApiError::new("PutParameter", error))?;
    let put = ssm
        .put_parameter()
        .name(format!("{COPIES}{}", kept.registration.bucket))
        .description("s3-guardrail: a copy of this bucket's registry document")
        .r#type(aws_sdk_ssm::types::ParameterType::String)
        .overwrite(true)
        .value(document);
    api::done("PutParameter", put.send().await)
}

/// The copy of a bucket's document; `None`: there is none that can be read.
pub async fn kept(ssm: &Client, bucket: &BucketName) -> Result<Option<Kept>, ApiError> {
    let sent = ssm.get_parameter().name(format!("{COPIES}{bucket}")).send().await;
    let parameter = api::unless_absent("GetParameter", sent, "ParameterNotFound")?.and_then(|it| it.parameter);
    Ok(parameter.and_then(|it| from_json(it.value()?).ok()))
}

/// One page of the registry, ten documents at most, and where the next one begins.
pub async fn page(
    ssm: &Client,
    prefix: &str,
    token: Option<String>,
) -> Result<(Vec<Parameter>, Option<String>), ApiError> {
    let get = ssm.get_parameters_by_path().path(prefix.trim_end_matches('/')).with_decryption(true);
    let output = api::output("GetParametersByPath", get.max_results(10).set_next_token(token).send().await)?;
    let parameter = |it: aws_sdk_ssm::types::Parameter| {
        let name = it.name.unwrap_or_default();
        let bucket = name.strip_prefix(prefix).unwrap_or(&name).parse();
        Parameter { name, bucket, document: it.value.unwrap_or_default() }
    };
    Ok((output.parameters.into_iter().flatten().map(parameter).collect(), output.next_token))
}

/// Writes the registry document of its bucket.
pub async fn write(ssm: &Client, prefix: &str, registration: &Registration) -> Result<(), ApiError> {
    let document = serde_json::to_string(registration).map_err(|error| ApiError::new("PutParameter", error))?;
    let put = ssm
        .put_parameter()
        .name(format!("{prefix}{}", registration.bucket))
        .description("s3-guardrail: the secure baseline of this bucket")
        .r#type(aws_sdk_ssm::types::ParameterType::String)
        .overwrite(true)
        .value(document);
    api::done("PutParameter", put.send().await)
}

/// Removes the registry document of `bucket`, if there is one.
pub async fn delete(ssm: &Client, prefix: &str, bucket: &BucketName) -> Result<(), ApiError> {
    let sent = ssm.delete_parameter().name(format!("{prefix}{bucket}")).send().await;
    api::unless_absent("DeleteParameter", sent, "ParameterNotFound").map(drop)
}
