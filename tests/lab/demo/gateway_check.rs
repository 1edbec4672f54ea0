//! The article's second method: the gateway demands tags, matched on the address it sees.

use super::opening::ra_vpn;
use super::stage::{LIMIT, Stage};
use super::timeline::Timeline;
use crate::net::until;
use anyhow::{Result, ensure};

/// The command of the article and what it prints there, to the letter.
const LIST: [&str; 4] = ["firewall", "dynamic", "list", "EMS1_ZTNA_Telemetry Connected"];
const ARTICLE: &str = "CMDB name: EMS1_ZTNA_Telemetry Connected\n\
     TAG name: Telemetry Connected\n\
     EMS1_ZTNA_Telemetry Connected: ID(81)\n\
     ADDR(172.16.7.3)\n\
     ADDR(10.0.3.2)\n\
     Total IP dynamic range blocks: 0.\n\
     Total IP dynamic addresses: 2.\n";

/// EMS shares only endpoints that are connected to this device already, so nobody can.
pub fn default_sharing(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    stage.gateway_set("remote-gw-ztna-tags", &["EMS1_ZTNA_Antivirus running", "EMS1_ZTNA_Telemetry Connected"])?;
    stage.gateway_set("remote-gw-match", &["ztna"])?;
    let mut list = String::new();
    until("an empty list at the gateway", LIMIT, || {
        list = stage.diagnose(&LIST)?;
        Ok(list.contains("Total IP dynamic addresses: 0.").then_some(()))
    })
    .map_err(|error| error.context(list.clone()))?;
    timeline.say("set remote-gw-match ztna; set remote-gw-ztna-tags \"… Antivirus running\" \"… Telemetry Connected\"");
    timeline.quote(&list);
    let said = stage.connect(6)?;
    timeline.say("$ postern connect RA-VPN   (exit 6)");
    timeline.quote(&said);
    ensure!(said.contains("EMSTokenCheckFailed"), "{said}");
    ensure!(said.to_lowercase().contains("share"), "the likely cause, EMS's sharing, is not named:\n{said}");
    Ok(())
}

/// With every endpoint shared, the gateway knows the address and lets it in.
pub fn share_all(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    stage.administer(&["set-sharing", "FGT-LAB", "all"])?;
    let mut list = String::new();
    until("the article's list at the gateway", LIMIT, || {
        list = stage.diagnose(&LIST)?;
        Ok((list == ARTICLE).then_some(()))
    })
    .map_err(|error| error.context(list.clone()))?;
    timeline.say("# diagnose firewall dynamic list \"EMS1_ZTNA_Telemetry Connected\"");
    timeline.quote(&list);
    stage.connect(0)?;
    ensure!(ra_vpn(stage)?.established.is_some());
    crate::ping::once(&stage.client, "10.98.0.1".parse()?, LIMIT)?;
    stage.endpoint.expect(0, &["disconnect", "RA-VPN"])?;
    Ok(())
}

/// The endpoint has no antivirus: the gateway refuses, and its log says why.
pub fn only_antivirus(stage: &mut Stage, timeline: &mut Timeline) -> Result<()> {
    stage.gateway_set("remote-gw-ztna-tags", &["EMS1_ZTNA_Antivirus running"])?;
    let said = stage.connect(6)?;
    timeline.say("$ postern connect RA-VPN   (exit 6)");
    timeline.quote(&said);
    ensure!(said.contains("EMSTokenCheckFailed"), "{said}");
    let log = stage.gateway_log()?;
    let line = log.lines().rfind(|line| line.contains("EMS ZTNA tags check failed")).unwrap_or_default();
    ensure!(line.contains("level=\"error\"") && line.contains("reason=\"EMS ZTNA tags check failed\""), "{log}");
    timeline.quote(line);
    Ok(())
}
