//! Tags as addresses, as a gateway sees them.

use crate::endpoint::{Endpoint, Lab, facts};
use lab::ems::FabricClient;
use posture::ems::Network;
use posture::rules::TagName;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn gateway(lab: &Lab, name: &str) -> (FabricClient, String) {
    let answer = lab.ask(json!({"do": "add-device", "device": name})).await;
    let token = answer["token"].as_str().unwrap().to_owned();
    let base = format!("https://{}", lab.ems.address());
    (FabricClient::new(&base, lab.ems.authority_pem(), name, &token).unwrap(), token)
}

async fn addresses(gateway: &FabricClient, tag: &str) -> Vec<Ipv4Addr> {
    gateway.view().await.unwrap().addresses(&TagName::new(tag)).to_vec()
}

#[tokio::test]
async fn by_default_a_gateway_is_told_only_of_those_that_are_connected_to_it() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(false));
    endpoint.until_up().await;
    let (ours, _) = gateway(&lab, "ours").await;
    let (theirs, _) = gateway(&lab, "theirs").await;

    // The trap: the endpoint carries the tag, and the list is empty until it is connected.
    assert!(addresses(&ours, "Telemetry connected").await.is_empty());
    ours.session(LOOPBACK, true).await.unwrap();
    assert_eq!(addresses(&ours, "telemetry connected").await, [Ipv4Addr::LOCALHOST]);
    assert!(addresses(&ours, "Antivirus running").await.is_empty());
    assert!(addresses(&theirs, "Telemetry connected").await.is_empty());
    ours.session(LOOPBACK, false).await.unwrap();
    assert!(addresses(&ours, "Telemetry connected").await.is_empty());
    let told = ours.sessions(vec![LOOPBACK]).await.unwrap();
    assert_eq!(told.addresses(&TagName::new("Telemetry connected")), [Ipv4Addr::LOCALHOST]);
    let told = ours.sessions(Vec::new()).await.unwrap();
    assert!(told.addresses(&TagName::new("Telemetry connected")).is_empty());

    // The way out.
    lab.ask(json!({"do": "set-sharing", "device": "ours", "sharing": "all"})).await;
    assert_eq!(addresses(&ours, "Telemetry connected").await, [Ipv4Addr::LOCALHOST]);
    assert!(addresses(&theirs, "Telemetry connected").await.is_empty());
}

#[tokio::test]
async fn a_watching_gateway_learns_of_changes_at_once() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(false));
    endpoint.until_up().await;
    let (gateway, _) = gateway(&lab, "ours").await;
    let mut views = gateway.watch();
    lab.ask(json!({"do": "set-sharing", "device": "ours", "sharing": "all"})).await;
    let tag = TagName::new("Antivirus running");
    endpoint.telemetry.report(facts(true));
    let carried = views.wait_for(|view| view.as_ref().is_some_and(|view| !view.addresses(&tag).is_empty()));
    tokio::time::timeout(Duration::from_secs(20), carried).await.expect("the tag is shared").unwrap();
    endpoint.telemetry.report(facts(false));
    let lost = views.wait_for(|view| view.as_ref().is_some_and(|view| view.addresses(&tag).is_empty()));
    tokio::time::timeout(Duration::from_secs(20), lost).await.expect("the tag is taken back").unwrap();
}

#[tokio::test]
async fn the_feed_is_one_address_a_line_and_only_for_the_device() {
    let lab = Lab::start().await;
    lab.set_rules().await;
    let mut endpoint = Endpoint::start(&lab.enrol("pc").await, &Network::default());
    endpoint.telemetry.report(facts(true));
    endpoint.until_up().await;
    let (_, token) = gateway(&lab, "fortigate").await;
    lab.ask(json!({"do": "set-sharing", "device": "fortigate", "sharing": "all"})).await;
    let authority = reqwest::Certificate::from_pem(lab.ems.authority_pem().as_bytes()).unwrap();
    let http = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
    let feed = |device: &'static str, token: String, tag: &'static str| {
        let url = format!("https://{}/v1/fabric/feed/{tag}", lab.ems.address());
        let request = http.get(url).basic_auth(device, Some(token));
        async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        }
    };
    let good = feed("fortigate", token.clone(), "Antivirus%20running").await;
    assert_eq!(good, (200, "127.0.0.1\n".to_owned()));
    let bearer = http.get(format!("https://{}/v1/fabric/tags", lab.ems.address())).bearer_auth(&token);
    assert_eq!(bearer.send().await.unwrap().status(), 200);
    assert_eq!(feed("fortigate", token.clone(), "No%20such%20tag").await.0, 404);
    assert_eq!(feed("fortigate", "wrong".into(), "Antivirus%20running").await.0, 401);
    assert_eq!(feed("other", token, "Antivirus%20running").await.0, 401);
}
