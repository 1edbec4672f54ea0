//! `postern profile show`: what counts, who set it, who locks it, what it overrides.
//!
//! Who counts: EMS before the local administrator before a user before the defaults.

use super::tunnel::invalid;
use super::{Session, output};
use crate::profile::span;
use crate::profile::{Settings, Tunnel, document, settings};
use postern_api::PlainText;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{Method, Policy, TunnelDocument, TunnelName};
use postern_api::state::Origin;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;
use toml::{Table, Value};

/// One effective element.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Element {
    element: String,
    value: Value,
    /// `default`, a file, or EMS.
    origin: String,
    /// Who keeps whoever has less to say from setting it.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_by: Option<&'static str>,
    /// What others with less to say wrote, nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    overrides: Vec<Overridden>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Overridden {
    origin: String,
    value: Value,
}

/// What one place wrote.
struct Layer {
    origin: String,
    locked_by: Option<&'static str>,
    written: Table,
}

/// Shows a tunnel, or the service's settings where none is named.
pub(super) async fn show(
    session: &Session,
    tunnel: Option<String>,
    effective: bool,
    origin: bool,
) -> Result<(), Fault> {
    let elements = match tunnel {
        Some(tunnel) if !effective => {
            let name = TunnelName { tunnel };
            let document: TunnelDocument = session.open().await?.call(Method::TunnelShow, &name).await?;
            match session.json {
                true => output::json(&document),
                false => output::line(document.toml.trim_end()),
            }
            return Ok(());
        }
        tunnel => elements(session, tunnel).await?,
    };
    for element in elements {
        if session.json {
            output::json(&element);
        } else {
            output::line(line(&element, origin));
        }
    }
    Ok(())
}

/// Returns the effective elements of a tunnel, or of the settings, with their origins, one a line.
pub(super) async fn lines(session: &Session, tunnel: Option<String>) -> Result<Vec<String>, Fault> {
    Ok(elements(session, tunnel).await?.iter().map(|element| line(element, true)).collect())
}

async fn elements(session: &Session, tunnel: Option<String>) -> Result<Vec<Element>, Fault> {
    match tunnel {
        Some(tunnel) => {
            let name = TunnelName { tunnel };
            of_tunnel(&session.open().await?.call(Method::TunnelShow, &name).await?)
        }
        None => {
            // Without a service nothing is enrolled either.
            let policy = match session.open().await {
                Ok(client) => client.ask(Method::Policy).await?,
                Err(_) => Policy::default(),
            };
            of_settings(session, &policy)
        }
    }
}

fn line(element: &Element, with_origin: bool) -> String {
    let mut line = format!("{} = {}", element.element, PlainText::from(element.value.to_string()).for_one_line());
    if with_origin {
        line += &format!("  # {}", element.origin);
        if let Some(who) = element.locked_by {
            line += &format!(", locked by {who}");
        }
        for under in &element.overrides {
            let value = PlainText::from(under.value.to_string()).for_one_line();
            line += &format!("; overrides {value} ({})", under.origin);
        }
    }
    line
}

fn of_tunnel(document: &TunnelDocument) -> Result<Vec<Element>, Fault> {
    let place = |origin: Origin, file: &Option<String>| match origin {
        Origin::Managed => "EMS".to_owned(),
        Origin::Local | Origin::User => file.clone().unwrap_or_else(|| "a local file".into()),
    };
    let layer = |origin: Origin, file: &Option<String>, toml: &str| {
        let locked_by = match origin {
            Origin::Managed => Some("EMS"),
            Origin::Local => Some("the local administrator"),
            Origin::User => None,
        };
        let written = toml.parse::<Table>().map_err(|error| internal(error.to_string()))?;
        Ok::<Layer, Fault>(Layer { origin: place(origin, file), locked_by, written })
    };
    let mut layers = vec![layer(document.origin, &document.file, &document.toml)?];
    for hidden in &document.hides {
        layers.push(layer(hidden.origin, &hidden.file, &hidden.toml)?);
    }
    let name = layers.first().map(|layer| layer.origin.clone()).unwrap_or_default();
    let parsed: Tunnel = document::parse(Path::new(&name), &document.toml).map_err(|error| invalid(&error))?;
    let full = Table::try_from(&parsed).map_err(|error| internal(error.to_string()))?;
    // A tunnel is its author's as a whole: what a hidden one says changes not even a default.
    let (shown, hidden) = layers.split_at(1);
    let whole = shown.first().and_then(|layer| layer.locked_by);
    let mut elements = laid(&full, shown);
    for element in &mut elements {
        element.locked_by = whole;
        let said = hidden.iter().filter_map(|layer| Some((layer, written(&layer.written, &element.element)?)));
        element.overrides =
            said.map(|(layer, value)| Overridden { origin: layer.origin.clone(), value: value.clone() }).collect();
    }
    Ok(elements)
}

fn of_settings(session: &Session, policy: &Policy) -> Result<Vec<Element>, Fault> {
    let effective = settings::load(&session.paths).map_err(|error| invalid(&error))?;
    let mut layers = Vec::new();
    for file in settings::files(&session.paths).into_iter().rev() {
        let text = document::read(&file).map_err(|error| invalid(&error))?;
        let written = text.parse::<Table>().map_err(|error| internal(error.to_string()))?;
        let locked_by = Some("the local administrator");
        layers.push(Layer { origin: file.display().to_string(), locked_by, written });
    }
    let full = Table::try_from(&effective).map_err(|error| internal(error.to_string()))?;
    let mut elements = laid(&full, &layers);
    if let Some(profile) = &policy.profile {
        by_ems(&mut elements, &effective, policy, &format!("EMS, profile {}", profile.for_one_line()));
    }
    Ok(elements)
}

/// EMS may only make the loop quicker, and take users' own tunnels away.
fn by_ems(elements: &mut [Element], local: &Settings, policy: &Policy, origin: &str) {
    let interval = policy.compliance_interval_seconds.map(|seconds| Duration::from_secs(seconds.max(1)));
    let decided = [
        (
            "compliance.interval",
            interval
                .filter(|of_ems| *of_ems < local.compliance.interval)
                .map(|of_ems| Value::from(span::shown(of_ems))),
        ),
        (
            "users.own_tunnels",
            policy.own_tunnels_allowed.filter(|allowed| !allowed && local.users.own_tunnels).map(Value::from),
        ),
    ];
    for (name, value) in decided {
        let found = elements.iter_mut().find(|element| element.element == name);
        if let (Some(element), Some(value)) = (found, value) {
            let under = Overridden { origin: element.origin.clone(), value: element.value.clone() };
            element.overrides.insert(0, under);
            (element.value, element.origin, element.locked_by) = (value, origin.to_owned(), Some("EMS"));
        }
    }
}

/// Lays what was written over one another, the weightiest first.
fn laid(full: &Table, layers: &[Layer]) -> Vec<Element> {
    flattened("", full)
        .into_iter()
        .map(|(element, value)| {
            let mut said = layers.iter().filter_map(|layer| Some((layer, written(&layer.written, &element)?)));
            let (origin, locked_by) = match said.next() {
                Some((layer, _)) => (layer.origin.clone(), layer.locked_by),
                None => ("default".to_owned(), None),
            };
            let overrides =
                said.map(|(layer, value)| Overridden { origin: layer.origin.clone(), value: value.clone() }).collect();
            Element { element, value, origin, locked_by, overrides }
        })
        .collect()
}

fn flattened(prefix: &str, table: &Table) -> Vec<(String, Value)> {
    let mut elements = Vec::new();
    for (key, value) in table {
        let element = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => elements.extend(flattened(&element, inner)),
            other => elements.push((element, other.clone())),
        }
    }
    elements
}

fn written<'t>(table: &'t Table, element: &str) -> Option<&'t Value> {
    match element.split_once('.') {
        None => table.get(element),
        Some((head, rest)) => written(table.get(head)?.as_table()?, rest),
    }
}

fn internal(error: String) -> Fault {
    Fault::new(FaultName::Internal, "", error, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_api::method::HiddenDocument;

    fn find<'e>(elements: &'e [Element], name: &str) -> &'e Element {
        elements.iter().find(|element| element.element == name).unwrap()
    }

    #[test]
    fn a_managed_tunnel_names_what_it_overrides_and_is_locked_as_a_whole() {
        let document = TunnelDocument {
            origin: Origin::Managed,
            toml: "gateway = \"vpn.example.com\"\nkeep_running = true\n".into(),
            file: None,
            hides: vec![HiddenDocument {
                origin: Origin::Local,
                toml: "gateway = \"elsewhere\"\n[carrier]\nport = 1500\n".into(),
                file: Some("/etc/postern/tunnels.d/RA-VPN.toml".into()),
            }],
        };
        let elements = of_tunnel(&document).unwrap();
        assert_eq!(
            line(find(&elements, "gateway"), true),
            "gateway = \"vpn.example.com\"  # EMS, locked by EMS; overrides \"elsewhere\" \
             (/etc/postern/tunnels.d/RA-VPN.toml)"
        );
        let port = find(&elements, "carrier.port");
        assert_eq!((port.value.as_integer(), port.locked_by), (Some(500), Some("EMS")), "a local file changes nothing");
        assert_eq!(line(find(&elements, "keep_running"), false), "keep_running = true");
    }

    #[test]
    fn settings_name_their_file_and_ems_over_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| Some(directory.path().join(name));
        let paths = crate::profile::Paths::settle(place("etc"), place("state"), place("run"));
        std::fs::create_dir_all(paths.drop_ins()).unwrap();
        std::fs::write(paths.settings(), "[compliance]\ninterval = \"30s\"\n[users]\nown_tunnels = true\n").unwrap();
        std::fs::write(paths.drop_ins().join("10.toml"), "[compliance]\ninterval = \"20s\"\n").unwrap();
        let session = Session { json: false, paths };
        let alone = of_settings(&session, &Policy::default()).unwrap();
        let interval = find(&alone, "compliance.interval");
        assert!(interval.origin.ends_with("10.toml") && interval.value.as_str() == Some("20s"), "{interval:?}");
        assert_eq!(interval.overrides[0].value.as_str(), Some("30s"));
        assert_eq!(find(&alone, "posture.root").origin, "default");
        let policy = Policy {
            profile: Some("Staff".into()),
            compliance_interval_seconds: Some(5),
            own_tunnels_allowed: Some(false),
            ..Policy::default()
        };
        let enrolled = of_settings(&session, &policy).unwrap();
        let interval = find(&enrolled, "compliance.interval");
        assert_eq!(
            (interval.value.as_str(), interval.locked_by, interval.overrides.len()),
            (Some("5s"), Some("EMS"), 2)
        );
        assert_eq!(find(&enrolled, "users.own_tunnels").value.as_bool(), Some(false));
        let slower = Policy { compliance_interval_seconds: Some(60), ..policy };
        assert!(find(&of_settings(&session, &slower).unwrap(), "compliance.interval").origin.ends_with("10.toml"));
    }
}
