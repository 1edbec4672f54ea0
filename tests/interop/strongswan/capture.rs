//! Packets and keys for root, read by Wireshark: with the keys what is inside is seen, without them
//! nothing is.

use crate::gateways::{PSK, PSK_TUNNEL, psk_gateway};
use anyhow::{Context, Result, ensure};
use lab::net::{Running, finish, until};
use lab::roadwarrior::{CORPORATE, LIMIT, Network, wait_for};
use nix::sys::signal::Signal;
use postern_api::ConnectionState;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Has Wireshark read a capture by the tables in `folder`, and returns what it says.
fn read(capture: &Path, folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut tshark = Command::new("tshark");
    tshark.env("WIRESHARK_CONFIG_DIR", folder).args(["-n", "-o", "esp.enable_encryption_decode:TRUE", "-r"]);
    let (code, said, complaints) = finish(tshark.arg(capture).args(arguments))?;
    ensure!(code == 0, "tshark: {complaints}");
    Ok(said)
}

/// Captures a connection by these suites, with a renewal of both SAs, and has it read.
fn captured(network: &Network, ike: &str, esp: &str) -> Result<()> {
    let gateway = network.strongswan(&psk_gateway())?;
    let tunnel = format!("{PSK_TUNNEL}\n[proposals]\nike = [\"{ike}\"]\nesp = [\"{esp}\"]\n");
    let endpoint = network.endpoint(&tunnel, &[("psk", PSK)])?;
    let [capture, keys, none] = ["capture.pcap", "keys", "none"].map(|name| network.folder.join(name));
    std::fs::create_dir_all(&none)?;
    let (file, folder) = (capture.to_string_lossy().into_owned(), keys.to_string_lossy().into_owned());
    let complaints = network.folder.join("complaints");
    let arguments = ["connect", "work", "--foreground", "--capture", &file, "--disclose-keys", &folder];
    let mut command = endpoint.command(&arguments)?;
    let mut running =
        Running::start("postern connect", command.stdout(Stdio::null()).stderr(std::fs::File::create(&complaints)?))?;
    wait_for(&endpoint, ConnectionState::Connected)?;
    let line_count = |table: &str| std::fs::read_to_string(keys.join(table)).unwrap_or_default().lines().count();
    until("keys of the first SAs", LIMIT, || {
        Ok((line_count("ikev2_decryption_table") == 1 && line_count("esp_sa") == 2).then_some(()))
    })?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    gateway.swanctl(&["--rekey", "--child", "net"])?;
    gateway.swanctl(&["--rekey", "--ike", "psk"])?;
    until("keys of the renewed SAs", LIMIT, || {
        Ok((line_count("ikev2_decryption_table") == 2 && line_count("esp_sa") == 4).then_some(()))
    })?;
    lab::ping::once(&network.client, CORPORATE.parse()?, LIMIT)?;
    running.signal(Signal::SIGINT)?;
    running.wait(LIMIT)?;
    for (path, mode) in [(&capture, 0o600), (&keys, 0o700), (&keys.join("esp_sa"), 0o600)] {
        let found = std::fs::metadata(path)?.permissions().mode() & 0o777;
        ensure!(found == mode, "{}: {found:o}", path.display());
    }
    let warned = std::fs::read_to_string(&complaints)?;
    ensure!(warned.contains("WARNING: the keys of this tunnel"), "{warned}");

    let echoes = |folder: &Path| Ok::<_, anyhow::Error>(read(&capture, folder, &["-Y", "icmp"])?.lines().count());
    let identity =
        |folder: &Path| Ok::<_, anyhow::Error>(read(&capture, folder, &["-V"])?.contains("psk@example.test"));
    ensure!(echoes(&keys)? >= 4, "{}", read(&capture, &keys, &[])?);
    ensure!(identity(&keys)?, "{}", read(&capture, &keys, &["-V"])?);
    ensure!(echoes(&none)? == 0 && !identity(&none)?, "what is inside is seen without the keys");
    // The last message of the IKE SA is the Delete, under the renewed keys.
    let deleted = read(&capture, &keys, &["-V", "-Y", "isakmp.exchangetype == 37"])?;
    ensure!(deleted.contains("Payload: Delete"), "{deleted}");
    [&capture, &complaints].into_iter().try_for_each(std::fs::remove_file)?;
    std::fs::remove_dir_all(&keys).context("removing the keys")
}

pub fn read_by_wireshark() -> Result<()> {
    for (number, (ike, esp)) in
        [("aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384"), ("aes256-sha256-modp2048", "aes256-sha256-modp2048")]
            .into_iter()
            .enumerate()
    {
        let network = Network::new_numbered(number)?;
        captured(&network, ike, esp).with_context(|| format!("{ike} {esp}"))?;
    }
    Ok(())
}
