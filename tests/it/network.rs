//! The `guardrail` command in a company's network: its own certificate authority, its proxy.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use guardrail_tests::local_aws::{ACCOUNT, Keys, REGION};

use crate::{
    cli::{BINARY, Ended},
    local::DEPLOYMENT,
};

/// A proxy that tunnels, and remembers whom it was asked for and with which password.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `password`: the authorization that it wants, if any.
    fn new(password: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let memory = asked.clone();
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let memory = memory.clone();
                thread::spawn(move || tunnel(client, password, &memory));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn tunnel(mut client: TcpStream, password: Option<&str>, memory: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    memory.lock().unwrap().push(target.clone());
    let wanted = password.map(|it| format!("proxy-authorization: basic {it}\r\n").to_lowercase());
    if wanted.is_some_and(|it| !head.to_lowercase().contains(&it)) {
        let refusal =
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
        return client.write_all(refusal.as_bytes()).ok();
    }
    let server = TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    let (mut up, mut down) = ((client.try_clone().ok()?, server.try_clone().ok()?), (server, client));
    let back = thread::spawn(move || {
        let _ = std::io::copy(&mut down.0, &mut down.1);
        let _ = down.1.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut up.0, &mut up.1);
    let _ = up.1.shutdown(Shutdown::Write);
    back.join().ok()
}

/// `guardrail list` with these variables and no others but what it needs.
fn list(variables: &[(&str, &str)]) -> Ended {
    let Keys { id, secret } = Keys::administrator(ACCOUNT);
    let mut command = Command::new(&*BINARY);
    command.env_clear().env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_REGION", REGION);
    command.env("AWS_ENDPOINT_URL", &DEPLOYMENT.0.aws.https).env("HOME", "/nonexistent").env("AWS_MAX_ATTEMPTS", "1");
    Ended::of(command.envs(variables.iter().copied()).args(["--prefix", "/it-network/", "list"]))
}

fn ca() -> String {
    DEPLOYMENT.0.aws.ca.to_string_lossy().into_owned()
}

#[test]
fn a_certificate_authority_of_ones_own_is_trusted_where_it_is_named() {
    let good = list(&[("AWS_CA_BUNDLE", &ca())]);
    assert_eq!((good.code, good.stderr.as_str()), (0, ""), "{good:?}");
    list(&[]).refused(&["certificate", "AWS_CA_BUNDLE"]);
    let missing = list(&[("AWS_CA_BUNDLE", "/nonexistent/corp.pem")]);
    missing.refused(&["AWS_CA_BUNDLE names /nonexistent/corp.pem which cannot be read", "nothing was asked"]);

    let config = std::env::temp_dir().join(format!("guardrail-{}-config", std::process::id()));
    fs::write(&config, format!("[default]\nca_bundle = {}\n[profile far]\nca_bundle = /nonexistent/far.pem\n", ca()))
        .unwrap();
    let config = config.to_string_lossy().into_owned();
    let good = list(&[("AWS_CONFIG_FILE", &config)]);
    assert_eq!((good.code, good.stderr.as_str()), (0, ""), "{good:?}");
    list(&[("AWS_CONFIG_FILE", &config), ("AWS_PROFILE", "far")]).refused(&["ca_bundle names /nonexistent/far.pem"]);
    let good = list(&[("AWS_CONFIG_FILE", &config), ("AWS_PROFILE", "far"), ("AWS_CA_BUNDLE", &ca())]);
    assert_eq!(good.code, 0, "the variable comes before the profile: {good:?}");
    fs::remove_file(&config).unwrap();
}

#[test]
fn a_proxy_is_gone_through_but_for_what_needs_none() {
    let (ca, proxy) = (ca(), Proxy::new(None));
    let https = DEPLOYMENT.0.aws.https.trim_start_matches("https://");
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let before = proxy.asked().len();
        let good = list(&[("AWS_CA_BUNDLE", &ca), (name, &format!("http://{}", proxy.address))]);
        assert_eq!((good.code, good.stderr.as_str()), (0, ""), "{good:?}");
        let asked = proxy.asked();
        assert!(asked.len() > before && asked.iter().all(|it| it == https), "{asked:?}");
    }
    let before = proxy.asked();
    for (name, value) in [("NO_PROXY", "localhost,127.0.0.1"), ("no_proxy", "*")] {
        let url = format!("http://{}", proxy.address);
        let good = list(&[("AWS_CA_BUNDLE", &ca), ("HTTPS_PROXY", &url), (name, value)]);
        assert_eq!((good.code, good.stderr.as_str()), (0, ""), "{good:?}");
    }
    let other = list(&[("AWS_CA_BUNDLE", &ca), ("HTTP_PROXY", "http://127.0.0.1:1")]);
    assert_eq!(other.code, 0, "that is for plain HTTP: {other:?}");
    assert_eq!(proxy.asked(), before);
}

#[test]
fn an_error_says_proxy_when_it_is_the_proxy_and_certificate_when_it_is_that() {
    let ca = ca();
    let through = |url: &str| list(&[("AWS_CA_BUNDLE", &ca), ("HTTPS_PROXY", url)]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = through(&format!("http://{closed}"));
    refused.refused(&[&format!("the proxy http://{closed} (HTTPS_PROXY)"), "is its URL right?"]);

    // `ann:secret`
    let proxy = Proxy::new(Some("YW5uOnNlY3JldA=="));
    let denied = through(&format!("http://bob:wrong@{}", proxy.address));
    denied.refused(&[&format!("the proxy http://{} (HTTPS_PROXY)", proxy.address), "wants a name and a password"]);
    assert!(!denied.stderr.contains("wrong"), "{denied:?}");
    let good = through(&format!("http://ann:secret@{}", proxy.address));
    assert_eq!((good.code, good.stderr.as_str()), (0, ""), "{good:?}");

    let untrusted = list(&[("HTTPS_PROXY", &format!("http://ann:secret@{}", proxy.address))]);
    untrusted.refused(&["certificate", "AWS_CA_BUNDLE"]);
    through("socks5://127.0.0.1:1080").refused(&["HTTPS_PROXY is not the URL of a proxy", "nothing was asked"]);

    let gone = list(&[("AWS_CA_BUNDLE", &ca), ("AWS_ENDPOINT_URL", &format!("https://{closed}"))]);
    gone.refused(&["AWS did not answer: is the region right, and the network there?"]);
    for ended in [refused, denied, untrusted] {
        assert!(!ended.stderr.contains("region"), "{ended:?}");
    }
}
