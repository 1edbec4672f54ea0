//! `postern tunnel`.

use super::{Session, ask, output};
use crate::profile::document::{self, ProfileError};
use crate::profile::tunnel::{
    AuthenticationKind, CarrierKind, GatewayAuthentication, PublicKey, Tunnel, TunnelKind, WireGuard,
};
use crate::profile::wg_quick;
use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use postern_api::PlainText;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::{InvalidTunnel, Method, Role, TunnelAdd, TunnelDocument, TunnelName};
use postern_api::state::{Origin, TunnelStatus};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Where a peer of WireGuard listens that nothing is said of.
const WIREGUARD_PORT: u16 = 51_820;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the tunnels, and for an administrator the files of tunnels that are not valid
    List,
    /// Show a tunnel as written
    Show {
        /// The tunnel
        tunnel: String,
    },
    /// Add a local tunnel
    Add(Box<Add>),
    /// Remove a local tunnel
    Remove {
        /// The tunnel
        tunnel: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The new tunnel's name
    tunnel: String,
    /// What the tunnel speaks
    #[arg(long = "type", value_enum, default_value = "ike", conflicts_with = "file")]
    kind: Kind,
    /// The gateway's name or address
    #[arg(long, value_name = "HOST", required_unless_present = "file")]
    gateway: Option<String>,
    /// Take the whole tunnel from a TOML file instead, or from a .conf of wg-quick
    #[arg(long, value_name = "FILE", conflicts_with_all = ["gateway", "user", "auth", "gateway_auth"])]
    file: Option<PathBuf>,
    /// The user, for EAP
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// How this end proves itself
    #[arg(long, value_enum)]
    auth: Option<Auth>,
    /// How the gateway proves itself
    #[arg(long, value_enum)]
    gateway_auth: Option<GatewayAuth>,
    /// This end's IKE identity
    #[arg(long, value_name = "ID")]
    identity: Option<String>,
    /// The identity that the gateway must prove
    #[arg(long, value_name = "ID")]
    gateway_identity: Option<String>,
    /// PEM file with an authority to trust for this gateway (may be repeated)
    #[arg(long = "gateway-ca-file", value_name = "FILE")]
    gateway_ca_files: Vec<PathBuf>,
    /// PEM file with this end's certificate
    #[arg(long, value_name = "FILE")]
    certificate_file: Option<PathBuf>,
    /// PEM file with its private key
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File with the pre-shared key, named in the tunnel and read at each connection
    #[arg(long, value_name = "FILE")]
    psk_file: Option<PathBuf>,
    /// Read the pre-shared key from standard input and let the service keep it
    #[arg(long, conflicts_with_all = ["psk_file", "password_stdin"])]
    psk_stdin: bool,
    /// File with the password, named in the tunnel and read at each connection
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input and let the service keep it
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// Use TCP instead of UDP
    #[arg(long)]
    tcp: bool,
    #[command(flatten)]
    wireguard: WireGuardArguments,
    /// Make the tunnel again when it is lost
    #[arg(long)]
    keep_running: bool,
    /// Replace a tunnel of that name
    #[arg(long)]
    replace: bool,
}

/// What only a WireGuard tunnel has.
#[derive(Debug, Args)]
#[group(multiple = true)]
struct WireGuardArguments {
    /// WireGuard: the peer's public key, in Base64
    #[arg(long, value_name = "KEY", required_if_eq("kind", "wireguard"))]
    peer_public_key: Option<PublicKey>,
    /// WireGuard: the peer's UDP port, 51820 by default
    #[arg(long, value_name = "PORT")]
    peer_port: Option<u16>,
    /// WireGuard: an address of this end inside (may be repeated)
    #[arg(long = "address", value_name = "ADDRESS/LENGTH", required_if_eq("kind", "wireguard"))]
    addresses: Vec<IpNet>,
    /// WireGuard: what goes through the tunnel and may come out of it (may be repeated)
    #[arg(long = "allowed-ip", value_name = "NETWORK", required_if_eq("kind", "wireguard"))]
    allowed_ips: Vec<IpNet>,
    /// WireGuard: file with this end's private key, named in the tunnel and read at each connection
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// WireGuard: read this end's private key from standard input and let the service keep it
    #[arg(long, conflicts_with_all = ["private_key_file", "psk_stdin", "password_stdin"])]
    private_key_stdin: bool,
    /// WireGuard: seconds after which something is sent though there is nothing to send
    #[arg(long, value_name = "SECONDS")]
    keepalive: Option<u16>,
    /// WireGuard: a resolver inside (may be repeated)
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<IpAddr>,
    /// WireGuard: size of the largest packet inside
    #[arg(long, value_name = "OCTETS")]
    mtu: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Ike,
    Wireguard,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Auth {
    Psk,
    Certificate,
    Eap,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GatewayAuth {
    Psk,
    Certificate,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Fault> {
    match command {
        Command::List => list(session).await,
        Command::Show { tunnel } => show(session, tunnel).await,
        Command::Add(add_arguments) => add(session, *add_arguments).await,
        Command::Remove { tunnel } => {
            session.open().await?.call::<Value>(Method::TunnelRemove, &TunnelName { tunnel: tunnel.clone() }).await?;
            told(session, &tunnel, "removed");
            Ok(())
        }
    }
}

async fn list(session: &Session) -> Result<(), Fault> {
    let client = session.open().await?;
    let tunnels: Vec<TunnelStatus> = client.ask(Method::TunnelList).await?;
    // Files that are not valid are for who can mend them.
    let invalid: Vec<InvalidTunnel> = match client.welcome().role {
        Role::Administrator => client.ask(Method::TunnelInvalid).await?,
        _ => Vec::new(),
    };
    if session.json {
        tunnels.iter().for_each(output::json);
        invalid.iter().for_each(|file| output::json(&json!({ "invalid": file })));
        return Ok(());
    }
    let rows = tunnels
        .iter()
        .map(|tunnel| {
            let origin = match tunnel.origin {
                Origin::Managed => "managed",
                Origin::Local => "local",
                Origin::User => "a user",
            };
            vec![tunnel.name.for_one_line(), tunnel.gateway.for_one_line(), origin.into(), tunnel.state.to_string()]
        })
        .collect();
    output::table(&["tunnel", "gateway", "defined by", "state"], rows);
    invalid.iter().for_each(|file| output::line(invalid_line(file)));
    Ok(())
}

fn invalid_line(file: &InvalidTunnel) -> String {
    let mut shown = format!("{} is not valid: {}", file.tunnel.for_one_line(), file.file.for_one_line());
    if file.line > 0 {
        shown += &format!(":{}", file.line);
    }
    if !file.element.is_blank() {
        shown += &format!(": {}", file.element.for_one_line());
    }
    shown += &format!(": {}", file.problem.for_one_line());
    if !file.expected.is_blank() {
        shown += &format!("; expected {}", file.expected.for_one_line());
    }
    shown
}

async fn show(session: &Session, tunnel: String) -> Result<(), Fault> {
    let document: TunnelDocument = session.open().await?.call(Method::TunnelShow, &TunnelName { tunnel }).await?;
    if session.json {
        output::json(&document);
    } else {
        // A user's own tunnel is his text, and it may be root who looks.
        output::line(PlainText::from(document.toml).for_terminal().trim_end());
    }
    Ok(())
}

/// What only the other kind of tunnel has would be left out without a word.
fn check_kind(arguments: &Add) -> Result<(), Fault> {
    let own = &arguments.wireguard;
    let of_wireguard = [
        ("--peer-public-key", own.peer_public_key.is_some()),
        ("--peer-port", own.peer_port.is_some()),
        ("--address", !own.addresses.is_empty()),
        ("--allowed-ip", !own.allowed_ips.is_empty()),
        ("--private-key-file", own.private_key_file.is_some()),
        ("--private-key-stdin", own.private_key_stdin),
        ("--keepalive", own.keepalive.is_some()),
        ("--dns", !own.dns.is_empty()),
        ("--mtu", own.mtu.is_some()),
    ];
    let of_ike = [
        ("--user", arguments.user.is_some()),
        ("--auth", arguments.auth.is_some()),
        ("--gateway-auth", arguments.gateway_auth.is_some()),
        ("--identity", arguments.identity.is_some()),
        ("--gateway-identity", arguments.gateway_identity.is_some()),
        ("--gateway-ca-file", !arguments.gateway_ca_files.is_empty()),
        ("--certificate-file", arguments.certificate_file.is_some()),
        ("--key-file", arguments.key_file.is_some()),
        ("--password-file", arguments.password_file.is_some()),
        ("--password-stdin", arguments.password_stdin),
        ("--tcp", arguments.tcp),
    ];
    let (strange, next): (&[(&str, bool)], &str) = match (arguments.file.is_some(), arguments.kind) {
        (true, _) => return Ok(()),
        (false, Kind::Ike) => (&of_wireguard, "add --type wireguard, or leave it out"),
        (false, Kind::Wireguard) => (&of_ike, "leave it out, or leave --type out"),
    };
    match strange.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => {
            let kind = if arguments.kind == Kind::Ike { "IKE" } else { "WireGuard" };
            Err(Fault::new(FaultName::UsageInvalid, *option, format!("means nothing to a tunnel of {kind}"), next))
        }
    }
}

async fn add(session: &Session, arguments: Add) -> Result<(), Fault> {
    check_kind(&arguments)?;
    let mut pre_shared_key = arguments.psk_stdin.then(ask::from_stdin).transpose()?;
    let mut private_key = arguments.wireguard.private_key_stdin.then(ask::from_stdin).transpose()?;
    let password = arguments.password_stdin.then(ask::from_stdin).transpose()?;
    let (name, replace) = (arguments.tunnel.clone(), arguments.replace);
    let toml = match &arguments.file {
        Some(file) if wg_quick::is_named_so(file) => {
            let text = Zeroizing::new(document::read(file).map_err(|error| invalid(&error))?);
            let imported = wg_quick::parse(file, &text).map_err(|error| invalid(&error))?;
            imported.left_out.iter().for_each(|line| output::aside(format!("left out: {line}")));
            private_key = Some(imported.private_key);
            pre_shared_key = imported.pre_shared_key;
            written(&imported.tunnel)?
        }
        Some(file) => {
            let text = document::read(file).map_err(|error| invalid(&error))?;
            document::parse::<Tunnel>(file, &text).map_err(|error| invalid(&error))?;
            text
        }
        None => written(&build(arguments, pre_shared_key.is_some())?)?,
    };
    document::parse::<Tunnel>(Path::new(&name), &toml).map_err(|error| invalid(&error))?;
    let request = TunnelAdd {
        tunnel: name.clone(),
        toml,
        replace,
        pre_shared_key: pre_shared_key.map(|key| key.to_string()),
        password: password.map(|password| password.to_string()),
        private_key: private_key.map(|key| key.to_string()),
    };
    session.open().await?.call::<Value>(Method::TunnelAdd, &request).await?;
    told(session, &name, "added");
    Ok(())
}

fn written(tunnel: &Tunnel) -> Result<String, Fault> {
    tunnel.to_toml().map_err(|error| Fault::new(FaultName::Internal, "", error.to_string(), ""))
}

fn build_wireguard(arguments: Add, has_shared_key: bool) -> Result<Tunnel, Fault> {
    let Add { gateway, psk_file, keep_running, wireguard: own, .. } = arguments;
    let missing = || Fault::new(FaultName::UsageInvalid, "--peer-public-key", "is missing", "");
    let mut tunnel = Tunnel::to(gateway.unwrap_or_default());
    tunnel.kind = TunnelKind::WireGuard;
    tunnel.keep_running = keep_running;
    tunnel.network.dns_servers = own.dns;
    tunnel.network.mtu = own.mtu;
    tunnel.wireguard = Some(WireGuard {
        public_key: own.peer_public_key.ok_or_else(missing)?,
        port: own.peer_port.unwrap_or(WIREGUARD_PORT),
        private_key_file: absolute(own.private_key_file)?,
        psk: has_shared_key,
        psk_file: absolute(psk_file)?,
        addresses: own.addresses,
        allowed_ips: own.allowed_ips,
        keepalive: own.keepalive.map(u64::from).map(Duration::from_secs),
    });
    Ok(tunnel)
}

fn build(arguments: Add, has_key: bool) -> Result<Tunnel, Fault> {
    if arguments.kind == Kind::Wireguard {
        return build_wireguard(arguments, has_key);
    }
    let mut tunnel = Tunnel::to(arguments.gateway.unwrap_or_default());
    let guessed = if arguments.certificate_file.is_some() {
        AuthenticationKind::Certificate
    } else if arguments.user.is_none() && (has_key || arguments.psk_file.is_some()) {
        AuthenticationKind::Psk
    } else {
        AuthenticationKind::Eap
    };
    tunnel.auth.kind = arguments.auth.map_or(guessed, |auth| match auth {
        Auth::Psk => AuthenticationKind::Psk,
        Auth::Certificate => AuthenticationKind::Certificate,
        Auth::Eap => AuthenticationKind::Eap,
    });
    tunnel.gateway_auth = arguments.gateway_auth.map(|auth| match auth {
        GatewayAuth::Psk => GatewayAuthentication::Psk,
        GatewayAuth::Certificate => GatewayAuthentication::Certificate,
    });
    tunnel.auth.identity = arguments.identity;
    tunnel.auth.user = arguments.user;
    tunnel.auth.psk_file = absolute(arguments.psk_file)?;
    tunnel.auth.password_file = absolute(arguments.password_file)?;
    tunnel.auth.certificate_file = absolute(arguments.certificate_file)?;
    tunnel.auth.key_file = absolute(arguments.key_file)?;
    tunnel.gateway_identity = arguments.gateway_identity;
    for file in arguments.gateway_ca_files {
        tunnel.gateway_ca_files.extend(absolute(Some(file))?);
    }
    tunnel.keep_running = arguments.keep_running;
    if arguments.tcp {
        tunnel.carrier.kind = CarrierKind::Tcp;
    }
    Ok(tunnel)
}

/// The service does not stand where the caller stands.
pub(super) fn absolute(path: Option<PathBuf>) -> Result<Option<PathBuf>, Fault> {
    path.map(|path| {
        std::path::absolute(&path)
            .map_err(|error| Fault::new(FaultName::UsageInvalid, path.display().to_string(), error.to_string(), ""))
    })
    .transpose()
}

fn told(session: &Session, tunnel: &str, done: &str) {
    if session.json {
        output::json(&json!({ "tunnel": tunnel, "done": done }));
    } else {
        output::line(format!("{tunnel} {done}"));
    }
}

/// Makes the fault of a profile that is not valid.
pub(super) fn invalid(error: &ProfileError) -> Fault {
    Fault::new(FaultName::ProfileInvalid, "", error.to_string(), "mend it, then postern profile validate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        add: Add,
    }

    fn checked(words: &str) -> Result<(), String> {
        let line = Line::try_parse_from(words.split(' ')).map_err(|error| error.to_string())?;
        check_kind(&line.add).map_err(|fault| fault.to_string())
    }

    #[test]
    fn what_only_the_other_kind_has_is_refused_not_left_out() {
        let refused = checked("add work --gateway g --user alice --address 10.0.0.2/24").unwrap_err();
        assert!(refused.contains("--address means nothing to a tunnel of IKE"), "{refused}");
        let wireguard = format!(
            "add wg --type wireguard --gateway g --peer-public-key {}= --address 10.0.0.2/24 --allowed-ip 10.0.0.0/8",
            "B".repeat(42) + "A"
        );
        assert_eq!(checked(&wireguard), Ok(()));
        let refused = checked(&format!("{wireguard} --user alice")).unwrap_err();
        assert!(refused.contains("--user means nothing to a tunnel of WireGuard"), "{refused}");
        assert_eq!(checked("add work --gateway g --user alice --psk-file /k"), Ok(()));
    }
}
