//! From a tunnel as written to what the engine and the network plan are told.

use crate::ipc;
use crate::network::plan::{Block, DnsMode, Granted, Places, Routing, TunnelNetworkSettings};
use crate::network::step::{Device, Mtu};
use crate::profile::AfterLoss;
use crate::profile::file::read_regular;
use crate::profile::fortigate::Peer;
use crate::profile::tunnel::{
    Authentication, AuthenticationKind, CarrierKind, DnsSource, GatewayAuthentication, Tunnel,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ike_client::auth::certificate::Revocation;
use ike_client::auth::eap::{EapMethod, EapProfile, TlsProfile};
use ike_client::session::{
    self, ClientAuthentication, Configuration, Extensions, Lifetime, PostQuantumKey, VirtualAddresses,
};
use ike_client::tunnel::control::{CarrierChoice, EstablishedTunnel, TunnelConfiguration, VolumeLimits};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use postern_api::fault::{Fault, FaultName};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest file of certificates, in bytes; a system's whole bundle takes a quarter of it.
const MAXIMUM_PEM: u64 = 1 << 20;
/// The device's name where the profile names none.
pub const DEVICE: &str = "postern0";

/// The longest configuration that the engine's process can be told, as text; the rest of a line is for what goes beside.
const LONGEST: usize = ipc::MAXIMUM_LINE - (64 << 10);

/// The largest file of revocation lists that is read.
const MAX_REVOCATION_LIST: u64 = 16 << 20;

/// Makes what the engine is told. Reads certificates; no secret is touched. `opened` are the certificates that came with
/// the own key, for a tunnel that names no file with them.
///
/// # Errors
/// `ProfileInvalid`, naming the file or the element.
pub fn engine(name: &str, tunnel: &Tunnel, opened: &[Vec<u8>]) -> Result<TunnelConfiguration, Fault> {
    let invalid = |problem: String| Fault::new(FaultName::ProfileInvalid, name, problem, "postern profile validate");
    let identity = |element: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|error| invalid(format!("{element}: {error}"))),
    };
    let auth = &tunnel.auth;
    let client_auth = match auth.kind {
        AuthenticationKind::Psk => ClientAuthentication::PreSharedKey,
        // Its name is the UID, which is put in with the rest of what a FortiGate wants.
        AuthenticationKind::Saml => ClientAuthentication::Eap { identity: None, profile: EapProfile::default() },
        AuthenticationKind::Eap => {
            ClientAuthentication::Eap { identity: auth.user.clone(), profile: login(tunnel, opened).map_err(invalid)? }
        }
        AuthenticationKind::CertificateThenEap => ClientAuthentication::CertificateThenEap {
            chain: own_chain(auth, opened).map_err(invalid)?,
            second_identity: auth.user.as_ref().and_then(|user| user.parse().ok()),
            identity: auth.user.clone(),
            profile: login(tunnel, opened).map_err(invalid)?,
        },
        AuthenticationKind::Certificate => {
            ClientAuthentication::Certificate { chain: own_chain(auth, opened).map_err(invalid)? }
        }
    };
    let local_identity = match (identity("auth.identity", &auth.identity)?, auth.kind, &auth.user) {
        // A FortiGate is shown the own address instead, as FortiClient does.
        (None, AuthenticationKind::Eap, Some(user)) if tunnel.peer == Peer::Standard => user.parse().ok(),
        (identity, _, _) => identity,
    };
    let networks = everything(tunnel);
    let session = Configuration {
        continuity: session::Continuity::default(),
        local_identity,
        remote_identity: identity("gateway_identity", &tunnel.gateway_identity)?,
        send_remote_identity: false,
        // The engine puts the one in that it dials.
        gateway_name: tunnel.gateway.dialled().into_iter().next().unwrap_or_default(),
        gateway_auth: gateway(tunnel).map_err(invalid)?,
        client_auth,
        ike_suites: tunnel.proposals.ike.clone(),
        esp_suites: tunnel.proposals.esp.clone(),
        ppk: auth.ppk_id.clone().map(|identity| PostQuantumKey { identity, required: auth.ppk_required }),
        require_post_quantum: tunnel.proposals.require_post_quantum,
        virtual_addresses: VirtualAddresses { ipv4: tunnel.network.ipv4, ipv6: tunnel.network.ipv6 },
        local_networks: networks.clone(),
        remote_networks: networks,
        ike_lifetime: lifetime(tunnel.proposals.ike_lifetime),
        child_lifetime: lifetime(tunnel.proposals.esp_lifetime),
        liveness_interval: Some(tunnel.carrier.liveness).filter(|interval| !interval.is_zero()),
        retransmission: Default::default(),
        negotiation_limit: tunnel.connect_timeout,
        answer_limit: tunnel.connect_timeout,
        force_encapsulation: tunnel.carrier.force_encapsulation,
        start_encapsulated: tunnel.carrier.start_on_nat_port,
        encapsulated_port: tunnel.carrier.nat_port,
        keepalive_interval: Some(Duration::from_secs(20)),
        fragment_size: 1200,
        replay_window: tunnel.carrier.replay_window,
        initial_contact: true,
        extensions: Extensions::default(),
    };
    let configuration = TunnelConfiguration {
        gateways: tunnel.gateway.dialled(),
        family: tunnel.carrier.family,
        port: tunnel.carrier.port,
        nat_port: tunnel.carrier.nat_port,
        carrier: match tunnel.carrier.kind {
            CarrierKind::Auto => CarrierChoice::Auto { port: tunnel.carrier.tcp_port, tcp_first: false },
            CarrierKind::Udp => CarrierChoice::Udp,
            CarrierKind::Tcp => CarrierChoice::Tcp { port: tunnel.carrier.tcp_port },
        },
        volume: VolumeLimits { bytes: tunnel.proposals.esp_bytes, packets: tunnel.proposals.esp_packets },
        device: tunnel.network.device.clone().unwrap_or_else(|| DEVICE.into()),
        mtu: tunnel.network.mtu,
        firewall_mark: Places::default().mark.0,
        trace: false,
        disclose_keys: false,
        session,
    };
    fits(tunnel, &configuration).map_err(invalid)?;
    Ok(configuration)
}

/// Refuses what could not be told to the engine's process, and names the file to which it is due.
fn fits(tunnel: &Tunnel, configuration: &TunnelConfiguration) -> Result<(), String> {
    let length = serde_json::to_vec(configuration).map_or(usize::MAX, |text| text.len());
    if length <= LONGEST {
        return Ok(());
    }
    let tls = &tunnel.auth.tls;
    let files =
        [&tunnel.gateway_crl_files, &tunnel.gateway_ca_files, &tls.crl_files, &tls.ca_files].into_iter().flatten();
    let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let largest = files.max_by_key(|file| size(file));
    let about = largest.map_or_else(
        || "the trusted authorities and revocation lists are too long".to_owned(),
        |file| {
            format!(
                "{}: with its {} KiB the authorities and revocation lists are too long",
                file.display(),
                size(file) >> 10
            )
        },
    );
    Err(format!(
        "{about}: {} KiB as the engine is told, and at most {} KiB; a gateway whose lists are so long has a responder or \
         places of lists in its certificate, which gateway_revocation_inquiry asks",
        length >> 10,
        LONGEST >> 10
    ))
}

/// Makes what the network plan is told of an established tunnel.
pub fn granted(tunnel: &EstablishedTunnel, profile: &Tunnel) -> Granted {
    let own_dns = &profile.network.dns_servers;
    Granted {
        device: Device { name: tunnel.device.clone(), index: tunnel.device_index },
        mtu: Mtu(tunnel.mtu),
        gateway: tunnel.gateway,
        other_gateways: tunnel.other_gateways.clone(),
        addresses: tunnel.addresses.iter().map(IpNet::addr).collect(),
        networks: tunnel.networks.clone(),
        dns: if own_dns.is_empty() { tunnel.dns.clone() } else { own_dns.clone() },
        domains: tunnel.domains.clone(),
    }
}

/// Makes the plan's settings. `answering` are EMS's addresses.
pub fn network(profile: &Tunnel, answering: Vec<IpAddr>) -> TunnelNetworkSettings {
    let network = &profile.network;
    TunnelNetworkSettings {
        routing: if network.routes.is_empty() { Routing::AsGranted } else { Routing::Split(network.routes.clone()) },
        dns: match network.dns {
            DnsSource::Gateway => DnsMode::Automatic,
            DnsSource::Off => DnsMode::Off,
        },
        domains: network.domains.clone(),
        search: network.domains.clone(),
        block: match profile.after_loss {
            AfterLoss::Restore => Block::Open,
            AfterLoss::BlockProtectedPrefixes => Block::Strictest,
        },
        allow_local_network: network.allow_local,
        answering,
    }
}

/// The families that an address is asked for, as networks.
fn everything(tunnel: &Tunnel) -> Vec<IpNet> {
    let ipv4 = Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0).map(IpNet::V4).ok().filter(|_| tunnel.network.ipv4);
    let ipv6 = Ipv6Net::new(Ipv6Addr::UNSPECIFIED, 0).map(IpNet::V6).ok().filter(|_| tunnel.network.ipv6);
    ipv4.into_iter().chain(ipv6).collect()
}

/// Renews after nine tenths, up to a tenth of that earlier at random.
fn lifetime(whole: Duration) -> Lifetime {
    let rekey_after = whole.mul_f64(0.9);
    Lifetime { rekey_after, jitter: rekey_after.mul_f64(0.1), expire_after: whole }
}

fn login(tunnel: &Tunnel, opened: &[Vec<u8>]) -> Result<EapProfile, String> {
    let methods = tunnel.auth.eap_methods.clone();
    Ok(EapProfile { methods, tls: login_tls(tunnel, opened)?, ..EapProfile::default() })
}

/// Makes what the methods that run in TLS are told; none where no such method is named.
fn login_tls(tunnel: &Tunnel, opened: &[Vec<u8>]) -> Result<Option<TlsProfile>, String> {
    let auth = &tunnel.auth;
    if !auth.eap_methods.iter().any(|method| matches!(method, EapMethod::Tls | EapMethod::Ttls)) {
        return Ok(None);
    }
    let tls = &auth.tls;
    let mut server_anchors = Vec::new();
    let files = if tls.ca_files.is_empty() { &tunnel.gateway_ca_files } else { &tls.ca_files };
    for file in files {
        server_anchors.extend(certificates(file)?);
    }
    if let (true, Some(pem)) = (tls.ca_files.is_empty(), &tunnel.gateway_ca_pem) {
        server_anchors.extend(from_pem("gateway_ca_pem", pem.as_bytes())?);
    }
    let server_pins = tls.pins.iter().map(|pin| parse_pin(pin)).collect::<Result<Vec<_>, _>>()?;
    if server_anchors.is_empty() && server_pins.is_empty() {
        return Err("auth.tls.ca_files: nothing says which login server to trust; name its authority or a pin".into());
    }
    let client_chain = if auth.eap_methods.contains(&EapMethod::Tls) { own_chain(auth, opened)? } else { Vec::new() };
    let server_name = match (&tls.server_name, tunnel.gateway.dialled().as_slice()) {
        (Some(name), _) => name.clone(),
        (None, [gateway]) => gateway.clone(),
        (None, _) => return Err("auth.tls.server_name: is missing, and there are several gateways".into()),
    };
    let lists: Vec<PathBuf> = tunnel.gateway_crl_files.iter().chain(&tls.crl_files).cloned().collect();
    let revocation = Revocation {
        policy: tls.revocation.unwrap_or(tunnel.gateway_revocation),
        lists: revocation_lists(&lists)?,
        ..Revocation::default()
    };
    Ok(Some(TlsProfile {
        revocation,
        server_name,
        server_anchors,
        server_pins,
        minimum_version: tls.minimum_version,
        client_chain,
        inner: tls.inner,
        outer_identity: tls.outer_identity.clone(),
    }))
}

fn gateway(tunnel: &Tunnel) -> Result<session::GatewayAuthentication, String> {
    match tunnel.gateway_authentication() {
        GatewayAuthentication::Psk => return Ok(session::GatewayAuthentication::PreSharedKey),
        GatewayAuthentication::Eap => return Ok(session::GatewayAuthentication::Eap),
        GatewayAuthentication::Certificate => {}
    }
    let mut anchors = Vec::new();
    for file in &tunnel.gateway_ca_files {
        anchors.extend(certificates(file)?);
    }
    if let Some(pem) = &tunnel.gateway_ca_pem {
        anchors.extend(from_pem("gateway_ca_pem", pem.as_bytes())?);
    }
    let spki_pins = tunnel.gateway_pins.iter().map(|pin| parse_pin(pin)).collect::<Result<Vec<_>, _>>()?;
    if anchors.is_empty() && spki_pins.is_empty() {
        anchors.extend(rustls_native_certs::load_native_certs().certs.iter().map(|certificate| certificate.to_vec()));
        if anchors.is_empty() {
            return Err("the system has no trusted authorities; name some in gateway_ca_files".into());
        }
    }
    Ok(session::GatewayAuthentication::Certificate {
        anchors,
        spki_pins,
        allow_rsa_sha1: tunnel.gateway_sha1,
        revocation: Revocation {
            policy: tunnel.gateway_revocation,
            lists: revocation_lists(&tunnel.gateway_crl_files)?,
            inquire: tunnel.gateway_revocation_inquiry,
            ..Revocation::default()
        },
    })
}

fn revocation_lists(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let mut lists = Vec::new();
    for file in files {
        let pem = read_regular(file, MAX_REVOCATION_LIST).map_err(|error| format!("{}: {error}", file.display()))?;
        let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
        let read = read.map_err(|error| format!("{}: is not PEM ({error})", file.display()))?;
        if read.is_empty() {
            return Err(format!("{}: holds no revocation list", file.display()));
        }
        lists.extend(read.iter().map(|list| list.to_vec()));
    }
    Ok(lists)
}

/// Returns the own certificates: those of the file that the tunnel names, else those that came with the key.
fn own_chain(auth: &Authentication, opened: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, String> {
    match &auth.certificate_file {
        Some(file) => certificates(file),
        None if opened.is_empty() => {
            Err("auth.certificate_file: is missing, and no certificate came with the key".into())
        }
        None => Ok(opened.to_vec()),
    }
}

/// Reads the certificates in a PEM file.
pub(in crate::service) fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, String> {
    let pem = read_regular(file, MAXIMUM_PEM).map_err(|error| format!("{}: {error}", file.display()))?;
    from_pem(&file.display().to_string(), &pem)
}

fn from_pem(name: &str, pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| format!("{name}: is not PEM ({error})"))?;
    if read.is_empty() {
        return Err(format!("{name}: holds no certificate"));
    }
    Ok(read.iter().map(|certificate| certificate.to_vec()).collect())
}

/// Reads `sha256//BASE64`, `sha256/BASE64` or 64 hexadecimal digits.
fn parse_pin(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("gateway_pins: `{text}` is no pin; expected sha256//BASE64 or 64 hexadecimal digits");
    let octets = match text.strip_prefix("sha256//").or_else(|| text.strip_prefix("sha256/")) {
        Some(base64) => STANDARD.decode(base64).or_else(|_| STANDARD_NO_PAD.decode(base64)).map_err(|_| wrong())?,
        None => {
            let digits: Vec<u8> = text.bytes().collect();
            let pairs = digits.chunks(2).map(|pair| {
                std::str::from_utf8(pair)
                    .ok()
                    .filter(|pair| pair.len() == 2 && !pair.starts_with('+'))
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            });
            pairs.collect::<Option<Vec<u8>>>().ok_or_else(wrong)?
        }
    };
    octets.try_into().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_in_both_spellings() {
        let key = [0xabu8; 32];
        assert_eq!(parse_pin(&format!("sha256//{}", STANDARD.encode(key))), Ok(key));
        assert_eq!(parse_pin(&"ab".repeat(32)), Ok(key));
        for wrong in ["", "ab", "sha256//AA", "md5//AA", &"zz".repeat(32), &"+a".repeat(32)] {
            assert!(parse_pin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_shared_key_on_both_sides_needs_no_authority() {
        let mut tunnel = Tunnel::to("vpn.example.com");
        tunnel.auth.kind = AuthenticationKind::Psk;
        let configuration = engine("work", &tunnel, &[]).unwrap();
        assert_eq!(configuration.session.gateway_auth, session::GatewayAuthentication::PreSharedKey);
        assert_eq!(configuration.session.client_auth, ClientAuthentication::PreSharedKey);
        assert_eq!(configuration.firewall_mark, 0x506f);
    }

    #[test]
    fn an_authority_that_cannot_be_read_is_named() {
        let mut tunnel = Tunnel::to("vpn.example.com");
        tunnel.gateway_ca_files = vec!["/no/such/ca.pem".into()];
        let fault = engine("work", &tunnel, &[]).unwrap_err();
        assert_eq!(fault.exit_code(), 9);
        assert!(fault.to_string().contains("/no/such/ca.pem"), "{fault}");
    }

    #[test]
    fn lists_that_the_engine_could_not_be_told_are_named_and_shorter_ones_are_told() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = |name: &str, octets: usize| {
            let text =
                format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", STANDARD.encode(vec![7; octets]));
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let mut tunnel = Tunnel::to("vpn.example.com");
        tunnel.gateway_pins = vec!["ab".repeat(32)];
        tunnel.gateway_crl_files = vec![file("short.crl", 1000), file("long.crl", 1_500_000)];
        let told = serde_json::to_vec(&engine("work", &tunnel, &[]).unwrap()).unwrap();
        let heard: TunnelConfiguration = serde_json::from_slice(&told).unwrap();
        assert_eq!(heard, engine("work", &tunnel, &[]).unwrap());
        tunnel.gateway_crl_files.push(file("longer.crl", 2_000_000));
        let fault = engine("work", &tunnel, &[]).unwrap_err();
        assert_eq!(fault.exit_code(), 9);
        assert!(fault.to_string().contains("longer.crl"), "{fault}");
    }

    #[test]
    fn keys_are_renewed_before_they_expire() {
        let lifetime = lifetime(Duration::from_secs(100));
        assert!(lifetime.rekey_after < lifetime.expire_after && lifetime.jitter < lifetime.rekey_after);
    }
}
