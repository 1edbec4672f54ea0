//! The account of changes: each in it once, with who, what, when and digests; no change without its entry.

use crate::administration::{Desk, desk, http};
use crate::endpoint::Lab;
use posture::ems::{EmsClient, Network};
use serde_json::{Value, json};

async fn account(lab: &Lab, after: u64) -> Vec<Value> {
    lab.ask(json!({"do": "list-audit", "after": after})).await["audit"].as_array().unwrap().clone()
}

async fn last(lab: &Lab) -> u64 {
    account(lab, 0).await.last().map_or(0, |entry| entry["number"].as_u64().unwrap())
}

fn digest<'a>(entry: &'a Value, name: &str) -> Option<&'a str> {
    let digest = entry[name].as_str();
    assert!(digest.is_none_or(|digest| digest.len() == 64), "{entry}");
    digest
}

/// Every kind of change, in an order in which each can be made: the request and the subject of its entry.
fn changes(id: &str, serial: &str, invitation: &str) -> Vec<(Value, String)> {
    let endpoint = format!("endpoint {id}");
    let set =
        json!({"name": "a", "tag": "Antivirus", "systems": {"linux": {"rules": [{"id": 1, "type": "anti-virus"}]}}});
    let on = |request: Value| (request, endpoint.clone());
    let of = |request: Value, subject: &str| (request, subject.to_owned());
    vec![
        of(json!({"do": "set-profile", "profile": {"name": "Everybody"}}), "profile"),
        of(json!({"do": "put-profile", "profile": {"name": "Field"}}), "profile Field"),
        of(json!({"do": "set-rules", "rule_sets": []}), "rule sets"),
        of(json!({"do": "put-rule-set", "rule_set": set}), "rule set a"),
        of(
            json!({"do": "put-group", "group": {"name": "field", "profile": "Field", "rule_sets": ["a"]}}),
            "group field",
        ),
        on(json!({"do": "assign-group", "endpoint": "pc", "group": "field"})),
        of(json!({"do": "define-tag", "tag": "By hand"}), "tags"),
        on(json!({"do": "set-tag", "endpoint": "pc", "tag": "By hand"})),
        on(json!({"do": "unset-tag", "endpoint": "pc", "tag": "By hand"})),
        on(json!({"do": "quarantine", "endpoint": "pc", "on": true})),
        on(json!({"do": "quarantine", "endpoint": "pc", "on": false})),
        on(json!({"do": "make-break-glass", "endpoint": "pc", "use_within_seconds": 60, "lasts_seconds": 60,
            "reason": "the ward's terminal"})),
        on(json!({"do": "scan", "endpoint": "pc"})),
        of(json!({"do": "add-device", "device": "gate"}), "device gate"),
        of(json!({"do": "set-sharing", "device": "gate", "sharing": "all"}), "device gate"),
        of(json!({"do": "revoke-invitation", "id": invitation}), &format!("invitation {invitation}")),
        of(json!({"do": "rotate-signing-key", "overlap_seconds": 60}), "signing key"),
        on(json!({"do": "assign-group", "endpoint": "pc", "group": null})),
        of(json!({"do": "remove-group", "name": "field"}), "group field"),
        of(json!({"do": "remove-profile", "name": "Field"}), "profile Field"),
        of(json!({"do": "remove-rule-set", "name": "a"}), "rule set a"),
        of(json!({"do": "revoke-certificate", "serial": serial}), &format!("certificate {serial}")),
        on(json!({"do": "remove-endpoint", "endpoint": "pc"})),
    ]
}

#[tokio::test]
async fn every_change_is_in_the_account_once_with_who_what_and_when() {
    let lab = Lab::start().await;
    let identity = lab.enrol("pc").await;
    let made = lab.ask(json!({"do": "make-invitation", "label": "for bob", "valid_seconds": 60})).await;
    let invitation = made["id"].as_str().unwrap();
    let entry = account(&lab, 0).await.pop().unwrap();
    assert_eq!((&entry["subject"], &entry["detail"]), (&json!(format!("invitation {invitation}")), &json!("for bob")));
    assert!(!entry.to_string().contains(made["invitation"].as_str().unwrap()), "the code is in the account");
    let listed = lab.ask(json!({"do": "list-certificates", "endpoint": "pc"})).await;
    let serial = listed["certificates"][0]["serial"].as_str().unwrap();
    let user = format!("user {}", nix::unistd::getuid());
    let mut latest = std::collections::HashMap::new();
    for (request, subject) in changes(&identity.endpoint.0, serial, invitation) {
        let number = last(&lab).await;
        let answer = lab.ask(request.clone()).await;
        let entries = account(&lab, number).await;
        assert_eq!(entries.len(), 1, "{request}: {entries:?}");
        let entry = &entries[0];
        assert_eq!((&entry["actor"], &entry["subject"]), (&json!(user), &json!(subject)), "{request}");
        let at = entry["unix_milliseconds"].as_u64().unwrap();
        assert!(at <= answer["unix_milliseconds"].as_u64().unwrap() && at > 1_700_000_000_000, "{entry}");
        // What is left by one entry is what the next of the same subject begins with.
        let (before, after) = (digest(entry, "before").map(str::to_owned), digest(entry, "after").map(str::to_owned));
        if let Some(left) = latest.insert(subject, after.clone()) {
            assert_eq!(left, before, "{request}");
        }
        let action = entry["action"].as_str().unwrap();
        assert_eq!(after.is_none(), action.starts_with("remove"), "{entry}");
        assert_eq!(before == after, matches!(action, "scan"), "{entry}");
    }
    // A request that is refused changes nothing and is no entry, nor is one that only reads.
    let number = last(&lab).await;
    for refused in [
        json!({"do": "remove-group", "name": "none"}),
        json!({"do": "put-group", "group": {"name": "x", "profile": "none"}}),
        json!({"do": "quarantine", "endpoint": "pc", "on": true}),
    ] {
        let request = serde_json::from_value(refused.clone()).unwrap();
        assert!(lab.administrator.ask(&request).await.is_err(), "{refused}");
    }
    for read in ["list-endpoints", "list-groups", "show-profile", "show-rules", "list-invitations"] {
        lab.ask(json!({"do": read})).await;
    }
    assert!(account(&lab, number).await.is_empty());
}

#[tokio::test]
async fn the_account_tells_a_token_from_a_user_and_from_an_endpoint() {
    let Desk { lab, base, token } = desk().await;
    let identity = lab.enrol("pc").await;
    let number = last(&lab).await;
    let put = http().put(format!("{base}/endpoints/pc/tags/Seen")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(put.status(), 200);
    EmsClient::new(&identity, &Network::default()).unwrap().unenrol().await.unwrap();
    let entries = account(&lab, number).await;
    let told: Vec<_> =
        entries.iter().map(|entry| [&entry["actor"], &entry["action"]].map(|it| it.as_str().unwrap())).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, token.trim().as_bytes());
    let shown = format!("token {}", hex::encode(&digest.as_ref()[..4]));
    let own = format!("endpoint {}", identity.endpoint);
    assert_eq!(told, [[&*shown, "set-tag"], [&*own, "unenrol"]]);
    assert!(!json!(entries).to_string().contains(token.trim()));
    // The resource shows the same.
    let listed: Value = http()
        .get(format!("{base}/audit?after={number}"))
        .bearer_auth(&token)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(listed["audit"], json!(entries));
}

#[tokio::test]
async fn strangers_are_in_the_account_but_cannot_fill_it_and_their_guesses_are_not() {
    let Desk { lab, base, .. } = desk().await;
    let number = last(&lab).await;
    for attempt in 0..40 {
        let guess = format!("guess-{attempt}");
        let refused = http().delete(format!("{base}/endpoints/pc")).bearer_auth(&guess).send().await.unwrap();
        assert_eq!(refused.status(), 401);
    }
    let entries = account(&lab, number).await;
    assert_eq!(entries.len(), 5, "{entries:?}");
    for entry in &entries {
        assert_eq!((&entry["actor"], &entry["action"]), (&json!("stranger"), &json!("refused")));
        assert!(entry["detail"].as_str().unwrap().starts_with("DELETE /"), "{entry}");
        assert!(!entry.to_string().contains("guess"), "{entry}");
    }
}
