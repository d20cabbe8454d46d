//! The way to AWS: through a company's proxy and past its own certificate authority, as the AWS CLI goes it.
//! <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-proxy.html>

use std::{borrow::Cow, fmt, fs};

use aws_config::profile;
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::base64;
use aws_types::os_shim_internal::{Env, Fs};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::error::CliError;

/// What the environment says of the way to AWS.
#[derive(Debug)]
pub(crate) struct Network {
    tls: TlsContext,
    http: Option<Proxy>,
    https: Option<Proxy>,
    no_proxy: NoProxy,
}

/// What requests of one scheme go through.
#[derive(Clone, Debug)]
struct Proxy {
    config: ProxyConfig,
    /// Its URL without name and password, and where that came from.
    name: String,
}

/// The hosts that are reached without a proxy: names, which their subdomains share, or all.
#[derive(Clone, Debug)]
struct NoProxy(Vec<String>);

impl Network {
    /// Reads the variables that `lookup` knows. `ca_bundle`: what the profile names.
    pub(crate) fn from_vars(
        lookup: impl Fn(&str) -> Option<String>,
        ca_bundle: Option<String>,
    ) -> Result<Self, CliError> {
        let tls = TlsContext::builder();
        let bundle = lookup("AWS_CA_BUNDLE").map(|it| ("AWS_CA_BUNDLE", it));
        let bundle =
            bundle.or(ca_bundle.map(|it| ("the profile's ca_bundle", it))).filter(|(_, file)| !file.is_empty());
        let tls = match bundle {
            Some((setting, file)) => tls.with_trust_store(trust(setting, &file)?),
            None => tls,
        };
        let tls =
            tls.build().map_err(|error| CliError::Network { setting: "TLS".to_owned(), problem: error.to_string() })?;
        // The small letters win where both are set.
        let either = |small: &str, large: &'static str| {
            lookup(small).or_else(|| lookup(large)).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty())
        };
        let proxy = |small, large, of: fn(String) -> Result<ProxyConfig, _>| {
            either(small, large).map(|it| Proxy::parse(large, &it, of)).transpose()
        };
        Ok(Self {
            tls,
            http: proxy("http_proxy", "HTTP_PROXY", ProxyConfig::http)?,
            https: proxy("https_proxy", "HTTPS_PROXY", ProxyConfig::https)?,
            no_proxy: NoProxy::parse(&either("no_proxy", "NO_PROXY").unwrap_or_default()),
        })
    }

    /// What sends the requests this way.
    pub(crate) fn client(self) -> SharedHttpClient {
        let Self { tls, http, https, no_proxy } = self;
        let through = |proxy: Proxy| (proxy.name, client(tls.clone(), Some(proxy.config)));
        let (http, https) = (http.map(through), https.map(through));
        SharedHttpClient::new(Ways { direct: client(tls, None), http, https, no_proxy })
    }
}

/// The file of certificates that a profile names, if it does. A profile that cannot be read is told of when its
/// credentials are asked for.
pub(crate) async fn ca_bundle(profile: Option<&str>) -> Option<String> {
    let profile = profile.map(|it| Cow::Owned(it.to_owned()));
    let (fs, env, files) = (Fs::real(), Env::real(), EnvConfigFiles::default());
    profile::load(&fs, &env, &files, profile).await.ok()?.get("ca_bundle").map(str::to_owned)
}

/// Trusts whom a file names, and nobody else.
fn trust(setting: &str, file: &str) -> Result<TrustStore, CliError> {
    let failed = |problem: String| CliError::Network { setting: format!("{setting} names {file}"), problem };
    let text = fs::read(file).map_err(|error| failed(format!("which cannot be read: {error}")))?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates =
        certificates.map_err(|error| failed(format!("which is not a file of PEM certificates: {error}")))?;
    // A company's bundle may hold some that no TLS of today takes; they are not needed for the others.
    let mut usable = RootCertStore::empty();
    let (mut trust, mut any) = (TrustStore::empty(), false);
    for certificate in certificates {
        let encoded = base64::encode(&certificate);
        if usable.add(certificate).is_ok() {
            any = true;
            trust.add_pem_certificate(format!("-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n"));
        }
    }
    if any { Ok(trust) } else { Err(failed("which has no usable PEM certificate in it".to_owned())) }
}

impl Proxy {
    fn parse<E: fmt::Display>(
        setting: &str,
        url: &str,
        of: impl Fn(String) -> Result<ProxyConfig, E>,
    ) -> Result<Self, CliError> {
        // `proxy.example.com:8080` is as good.
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{}", url.trim_start_matches("//")) };
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (_password, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let name = format!("the proxy {scheme}://{} ({setting})", place.trim_end_matches('/'));
        let config = of(url.clone()).map_err(|_| CliError::Network {
            setting: setting.to_owned(),
            problem: "is not the URL of a proxy, which looks like http://proxy.example.com:8080".to_owned(),
        })?;
        Ok(Self { config, name })
    }
}

impl NoProxy {
    fn parse(text: &str) -> Self {
        let names = text.split(',').map(|it| it.trim().trim_start_matches('.').to_ascii_lowercase());
        Self(names.filter(|it| !it.is_empty()).collect())
    }

    /// Whether a host, `name` or `name:port`, is reached without a proxy.
    fn has(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = match host.rsplit_once(':') {
            // The colons of `[::1]` are none before a port.
            Some((name, port)) if !port.ends_with(']') => name,
            _ => &host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let is_in = |host: &str, domain: &str| {
            host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        self.0.iter().any(|it| it == "*" || is_in(name, it) || is_in(&host, it))
    }
}

fn client(tls: TlsContext, proxy: Option<ProxyConfig>) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .connector_settings(settings.cloned().unwrap_or_default())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls.clone());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(proxy.clone());
        connector.build()
    })
}

/// Which client takes a request: AWS's own of this crate has one way for all.
#[derive(Debug)]
struct Ways {
    direct: SharedHttpClient,
    http: Option<(String, SharedHttpClient)>,
    https: Option<(String, SharedHttpClient)>,
    no_proxy: NoProxy,
}

impl HttpClient for Ways {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let through = |way: &Option<(String, SharedHttpClient)>| {
            way.as_ref().map(|(proxy, client)| (proxy.clone(), client.http_connector(settings, components)))
        };
        SharedHttpConnector::new(Connectors {
            direct: self.direct.http_connector(settings, components),
            http: through(&self.http),
            https: through(&self.https),
            no_proxy: self.no_proxy.clone(),
        })
    }
}

#[derive(Debug)]
struct Connectors {
    direct: SharedHttpConnector,
    http: Option<(String, SharedHttpConnector)>,
    https: Option<(String, SharedHttpConnector)>,
    no_proxy: NoProxy,
}

impl HttpConnector for Connectors {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (scheme, rest) = request.uri().split_once("://").unwrap_or_default();
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let way = if scheme == "http" { &self.http } else { &self.https };
        let Some((proxy, connector)) = way.as_ref().filter(|_| !self.no_proxy.has(host)) else {
            return self.direct.call(request);
        };
        let (proxy, answer) = (proxy.clone(), connector.call(request));
        HttpConnectorFuture::new(async move { answer.await.map_err(|error| through(proxy, error)) })
    }
}

/// A request that did not get through a proxy.
#[derive(Debug, thiserror::Error)]
#[error("{THROUGH}{proxy}")]
struct NotThrough {
    proxy: String,
    source: ConnectorError,
}

/// How the error of a request that went through a proxy begins.
const THROUGH: &str = "through ";

/// The same error, with the proxy in its words; whether it is tried again depends on its kind.
fn through(proxy: String, error: ConnectorError) -> ConnectorError {
    let kind = error.as_other();
    let (timeout, user, io) = (error.is_timeout(), error.is_user(), error.is_io());
    let error = NotThrough { proxy, source: error }.into();
    if timeout {
        ConnectorError::timeout(error)
    } else if user {
        ConnectorError::user(error)
    } else if io {
        ConnectorError::io(error)
    } else {
        ConnectorError::other(error, kind)
    }
}

/// What to do about a request that got no answer, from the error's whole chain; begins with a space.
pub(crate) fn next_step(error: &str) -> Option<&'static str> {
    if error.contains("invalid peer certificate") {
        Some(if error.contains("NotValidForName") {
            " (the server's certificate is for another name: is the endpoint right?)"
        } else if error.contains("Expired") || error.contains("NotValidYet") {
            " (the server's certificate is not valid today: is this machine's clock right?)"
        } else {
            " (nobody whom you trust has signed the server's certificate: if your network has an authority of its own, set AWS_CA_BUNDLE to a PEM file with its certificate)"
        })
    } else if error.contains(&format!("{THROUGH}the proxy ")) {
        Some(if error.contains("authentication required") || error.contains("authorization required") {
            " (the proxy wants a name and a password: http://NAME:PASSWORD@HOST:PORT)"
        } else {
            " (the proxy is not there, or refused: is its URL right? What NO_PROXY names is reached without it)"
        })
    } else if error.contains("dispatch failure") || error.contains("timeout") {
        Some(" (AWS did not answer: is the region right, and the network there?)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(vars: &[(&str, &str)]) -> Result<Network, CliError> {
        Network::from_vars(
            |name| vars.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned()),
            None,
        )
    }

    fn proxies(vars: &[(&str, &str)]) -> [Option<String>; 2] {
        let Network { http, https, .. } = network(vars).unwrap();
        [http, https].map(|it| it.map(|it| it.name))
    }

    #[test]
    fn each_scheme_has_the_proxy_that_the_aws_cli_would_take() {
        let one = |text: &str| Some(format!("the proxy {text}"));
        for (vars, http, https) in [
            (&[][..], None, None),
            (&[("HTTPS_PROXY", "http://p:3128")], None, one("http://p:3128 (HTTPS_PROXY)")),
            (&[("https_proxy", "http://p:3128/")], None, one("http://p:3128 (HTTPS_PROXY)")),
            (&[("HTTPS_PROXY", "p:3128")], None, one("http://p:3128 (HTTPS_PROXY)")),
            (&[("HTTPS_PROXY", "https://p:3128")], None, one("https://p:3128 (HTTPS_PROXY)")),
            (&[("HTTP_PROXY", "http://p")], one("http://p (HTTP_PROXY)"), None),
            (&[("HTTPS_PROXY", "http://a"), ("https_proxy", "http://b")], None, one("http://b (HTTPS_PROXY)")),
            (&[("HTTPS_PROXY", "http://a"), ("https_proxy", "")], None, None),
            (&[("HTTPS_PROXY", "")], None, None),
            // The AWS CLI does not know it, and it is often a proxy of another kind.
            (&[("ALL_PROXY", "socks5://p:1080")], None, None),
            // Nobody is told the password.
            (&[("HTTPS_PROXY", "http://ann:se%40cret@p:3128")], None, one("http://p:3128 (HTTPS_PROXY)")),
        ] {
            assert_eq!(proxies(vars), [http, https], "{vars:?}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_named_without_its_password() {
        for url in ["socks5://ann:secret@p:1080", "http://", "ann:secret@p q"] {
            let error = network(&[("HTTPS_PROXY", url)]).unwrap_err().to_string();
            assert!(error.starts_with("HTTPS_PROXY is not the URL of a proxy") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_no_proxy_names_is_reached_directly() {
        for (rules, host, direct) in [
            ("", "s3.eu-west-2.amazonaws.com", false),
            ("*", "s3.eu-west-2.amazonaws.com", true),
            ("localhost, 127.0.0.1", "127.0.0.1:4611", true),
            ("127.0.0.1:4611", "127.0.0.1:4611", true),
            ("127.0.0.1:4612", "127.0.0.1:4611", false),
            ("amazonaws.com", "s3.eu-west-2.amazonaws.com", true),
            (".AmazonAWS.com", "s3.eu-west-2.amazonaws.com", true),
            ("amazonaws.com", "notamazonaws.com", false),
            ("::1", "[::1]:4611", true),
            ("::1", "[::1]", true),
            (",,", "a", false),
        ] {
            assert_eq!(NoProxy::parse(rules).has(host), direct, "{rules} {host}");
        }
    }

    #[test]
    fn a_bundle_that_cannot_be_used_is_named_before_anything_is_asked() {
        let file = std::env::temp_dir().join(format!("guardrail-{}-bundle.pem", std::process::id()));
        let name = file.to_string_lossy();
        let broken = "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----\n";
        let strange = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (content, problem) in [
            (None, "which cannot be read: "),
            (Some(""), "which has no usable PEM certificate in it"),
            (Some("no certificate"), "which has no usable PEM certificate in it"),
            (Some(broken), "which is not a file of PEM certificates: "),
            (Some(strange), "which has no usable PEM certificate in it"),
        ] {
            if let Some(content) = content {
                fs::write(&file, content).unwrap();
            }
            let error = network(&[("AWS_CA_BUNDLE", &name)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("AWS_CA_BUNDLE names {name} {problem}")), "{error}");
            let of_profile = Network::from_vars(|_| None, Some(name.to_string())).unwrap_err().to_string();
            assert!(of_profile.starts_with(&format!("the profile's ca_bundle names {name} {problem}")), "{of_profile}");
        }
        fs::remove_file(&file).unwrap();
        assert!(network(&[("AWS_CA_BUNDLE", "")]).is_ok());
    }
}
