//! What can be seen on Windows: what `sysinfo` tells, WMI and the security modules through PowerShell, the
//! registry through `reg`.
//!
//! Scripts are fixed texts: nothing from a rule or from another machine becomes a part of one. A registry
//! key that a rule names is an argument of `reg`, which takes it as it is.

pub(super) use super::unsupported::{
    FirewallListener, bus_changes, file_changes, host_name, kernel, network_changes, operating_system,
    package_database, pings, process_changes, telling_files,
};

use super::command::ask;
use super::look::Seen;
use super::windows_answer as answer;
use super::{Context, Look, now_unix, pem};
use crate::facts::{
    Antivirus, CertificateFact, DiskEncryption, Firewall, Observation, Package, ProcessList, RegistryKeyFact,
    ScreenLock, Surroundings, SystemSecurity, Updates, UserList, Volume, VolumeEncryption, WindowsSecurity,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

const POWERSHELL: &str = r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
const REG: &str = r"C:\Windows\System32\reg.exe";

fn script(context: &Context, text: &str) -> Observation<String> {
    let arguments = ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Restricted", "-Command", text];
    then(ask(POWERSHELL, &arguments, context.settings.limit), |answer| answer.text("PowerShell"))
}

fn then<T, U>(observed: Observation<T>, read: impl FnOnce(T) -> Observation<U>) -> Observation<U> {
    match observed {
        Observation::Known(value) => read(value),
        Observation::Unknown(reason) => Observation::Unknown(reason),
        Observation::Denied(reason) => Observation::Denied(reason),
    }
}

fn listed<T: DeserializeOwned>(context: &Context, text: &str) -> Observation<Vec<T>> {
    then(script(context, text), |json| answer::list(&json))
}

fn first<T: DeserializeOwned>(context: &Context, text: &str) -> Observation<T> {
    then(listed(context, text), |all: Vec<T>| {
        all.into_iter()
            .next()
            .map_or_else(|| Observation::Unknown("Windows tells nothing".to_owned()), Observation::Known)
    })
}

pub(super) fn packages(context: &Context) -> Look<Vec<Package>> {
    const SCRIPT: &str = r"Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\*','HKLM:\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall\*' -ErrorAction SilentlyContinue | Select-Object DisplayName,DisplayVersion | ConvertTo-Json -Compress";
    Look::new(listed(context, SCRIPT).map(answer::programs), r"HKLM\...\Uninstall")
}

pub(super) fn applications(context: &Context) -> Look<Vec<Package>> {
    const SCRIPT: &str = "Get-AppxPackage | Select-Object @{n='DisplayName';e={$_.Name}},@{n='DisplayVersion';e={$_.Version}} | ConvertTo-Json -Compress";
    Look::new(listed(context, SCRIPT).map(answer::programs), "Get-AppxPackage")
}

pub(super) fn updates(context: &Context) -> Look<Updates> {
    const SCRIPT: &str = "$d=(Get-CimInstance Win32_QuickFixEngineering | ForEach-Object { $_.InstalledOn } | Sort-Object | Select-Object -Last 1); if ($d) { [int64]((New-TimeSpan -Start (Get-Date '1970-01-01') -End $d.ToUniversalTime()).TotalSeconds) }";
    let last = then(script(context, SCRIPT), |text| match text.trim().parse() {
        Ok(seconds) => Observation::Known(seconds),
        Err(_) => Observation::Unknown("Windows does not date its updates".to_owned()),
    });
    let pending = Observation::Unknown("Windows Update is not asked: its search takes minutes".to_owned());
    Look::known(Updates { last_unix: last, pending }, "Win32_QuickFixEngineering")
}

pub(super) fn antivirus(context: &Context, _: &Observation<ProcessList>) -> Look<Antivirus> {
    const CENTER: &str = "Get-CimInstance -Namespace root/SecurityCenter2 -ClassName AntiVirusProduct -ErrorAction Stop | Select-Object displayName,productState | ConvertTo-Json -Compress";
    const DEFENDER: &str = "Get-MpComputerStatus -ErrorAction Stop | Select-Object RealTimeProtectionEnabled,AntivirusSignatureAge | ConvertTo-Json -Compress";
    if let Observation::Known(all) = listed::<answer::CenterProduct>(context, CENTER) {
        let products = all.into_iter().map(|product| product.product(now_unix())).collect();
        return Look::known(Antivirus { products, hidden: None }, "root/SecurityCenter2");
    }
    // Windows Server has no Security Center.
    let defender = first::<answer::Defender>(context, DEFENDER);
    let antivirus = defender.map(|defender| Antivirus { products: vec![defender.product(now_unix())], hidden: None });
    Look::new(antivirus, "Get-MpComputerStatus")
}

pub(super) fn firewall(context: &Context, _: &Observation<ProcessList>) -> Look<Firewall> {
    const SCRIPT: &str = "Get-NetFirewallProfile -ErrorAction Stop | ForEach-Object { [bool]($_.Enabled -eq 'True') } | ConvertTo-Json -Compress";
    let active = listed::<bool>(context, SCRIPT).map(|all| !all.is_empty() && all.iter().all(|on| *on));
    let provider = |active| if active { "Windows Firewall".to_owned() } else { String::new() };
    Look::new(active.map(|active| Firewall { active, provider: provider(active) }), "Get-NetFirewallProfile")
}

/// One volume of BitLocker.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encryptable {
    drive_letter: Option<String>,
    protection_status: u32,
}

pub(super) fn disk_encryption(context: &Context) -> Look<DiskEncryption> {
    const SCRIPT: &str = r"Get-CimInstance -Namespace root/CIMV2/Security/MicrosoftVolumeEncryption -ClassName Win32_EncryptableVolume -ErrorAction Stop | Select-Object DriveLetter,ProtectionStatus | ConvertTo-Json -Compress";
    let volume = |volume: Encryptable| {
        Some(Volume {
            mount: volume.drive_letter?,
            encryption: match volume.protection_status {
                0 => Observation::Known(VolumeEncryption::None),
                1 => Observation::Known(VolumeEncryption::Encrypted("BitLocker".to_owned())),
                _ => Observation::Unknown("the volume is locked".to_owned()),
            },
        })
    };
    let volumes = listed::<Encryptable>(context, SCRIPT).map(|all| all.into_iter().filter_map(volume).collect());
    Look::new(volumes.map(|volumes| DiskEncryption { volumes }), "Win32_EncryptableVolume")
}

pub(super) fn security(context: &Context) -> Look<SystemSecurity> {
    const LOCK: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System";
    let secure_boot = then(script(context, "Confirm-SecureBootUEFI -ErrorAction Stop"), |text| match text.trim() {
        "True" => Observation::Known(true),
        "False" => Observation::Known(false),
        other => Observation::Unknown(format!("Confirm-SecureBootUEFI says \"{other}\"")),
    });
    let wanted = BTreeSet::from(["inactivitytimeoutsecs".to_owned()]);
    let screen_lock = then(key(context, LOCK, &wanted), |key| match key.values.get("inactivitytimeoutsecs") {
        Some(crate::facts::RegistryValue::Number(seconds)) if *seconds > 0 => {
            Observation::Known(ScreenLock { automatic: true, after_seconds: Some(*seconds) })
        }
        _ => Observation::Unknown("the machine has no limit for all users; each user's own is not read".to_owned()),
    });
    let access_control = Observation::Unknown("Windows has none that is asked for here".to_owned());
    Look::known(SystemSecurity { secure_boot, access_control, screen_lock }, "Confirm-SecureBootUEFI, registry")
}

pub(super) fn windows_security(context: &Context) -> Look<WindowsSecurity> {
    const SCRIPT: &str = "$r=@{}; try { $r.Defender=[bool](Get-MpComputerStatus -ErrorAction Stop).RealTimeProtectionEnabled } catch {}; try { $p=Get-MpPreference -ErrorAction Stop; $r.NetworkProtection=[int]$p.EnableNetworkProtection; $r.FolderAccess=[int]$p.EnableControlledFolderAccess } catch {}; try { $v=Get-CimInstance -Namespace root/CIMV2/Security/MicrosoftVolumeEncryption -ClassName Win32_EncryptableVolume -Filter \"DriveLetter='$env:SystemDrive'\" -ErrorAction Stop; $r.Bitlocker=[bool]($v.ProtectionStatus -eq 1) } catch {}; try { $r.ApplicationGuard=[string](Get-WindowsOptionalFeature -Online -FeatureName Windows-Defender-ApplicationGuard -ErrorAction Stop).State } catch {}; try { $r.Firewall=@(Get-NetFirewallProfile -ErrorAction Stop | ForEach-Object { [bool]($_.Enabled -eq 'True') }) } catch {}; ConvertTo-Json -Compress -InputObject $r";
    let protections = first::<answer::Protections>(context, SCRIPT);
    Look::new(protections.map(answer::Protections::security), "Defender, BitLocker, Windows Firewall")
}

fn key(context: &Context, path: &str, wanted: &BTreeSet<String>) -> Observation<RegistryKeyFact> {
    // A name that begins like an option, or is none of the roots, is not handed on.
    const ROOTS: [&str; 10] = [
        "HKLM",
        "HKCU",
        "HKCR",
        "HKU",
        "HKCC",
        "HKEY_LOCAL_MACHINE",
        "HKEY_CURRENT_USER",
        "HKEY_CLASSES_ROOT",
        "HKEY_USERS",
        "HKEY_CURRENT_CONFIG",
    ];
    let root = path.split('\\').next().unwrap_or_default();
    if !ROOTS.iter().any(|known| known.eq_ignore_ascii_case(root)) {
        return Observation::Unknown(format!("{path} does not begin with a root of the registry"));
    }
    then(ask(REG, &["query", path], context.settings.limit), |told| {
        if told.success {
            return Observation::Known(answer::registry_key(&String::from_utf8_lossy(&told.output), wanted));
        }
        match told.text("reg") {
            Observation::Denied(reason) => Observation::Denied(reason),
            // It says so in the language of the system, and fails in no other way for a name that is one.
            _ => Observation::Known(RegistryKeyFact::default()),
        }
    })
}

pub(super) fn registry(
    context: &Context,
    asked: BTreeMap<String, BTreeSet<String>>,
) -> Look<Seen<String, RegistryKeyFact>> {
    let seen = asked.into_iter().map(|(path, wanted)| {
        let fact = key(context, &path, &wanted);
        (path, fact)
    });
    Look::known(seen.collect(), "registry")
}

pub(super) fn certificates(context: &Context) -> Look<Vec<CertificateFact>> {
    const MACHINE: &str = r"Get-ChildItem Cert:\LocalMachine\My -ErrorAction Stop | ForEach-Object { '-----BEGIN CERTIFICATE-----'; [Convert]::ToBase64String($_.RawData); '-----END CERTIFICATE-----' }";
    let machine = script(context, MACHINE);
    Look::new(machine.map(|text| pem::certificates(text.as_bytes(), "local computer")), r"Cert:\LocalMachine\My")
}

pub(super) fn users(context: &Context) -> Look<UserList> {
    const SOURCE: &str = "owners of the desktops, the directory";
    const MACHINE: &str = "$c=Get-CimInstance Win32_ComputerSystem; @{Host=$c.Name; Domain=$(if ($c.PartOfDomain) { $c.Domain } else { $null })} | ConvertTo-Json -Compress";
    const DESKTOPS: &str = "Get-CimInstance Win32_Process -Filter \"Name='explorer.exe'\" | ForEach-Object { $o=Invoke-CimMethod -InputObject $_ -MethodName GetOwner; $g=$null; try { $s=[ADSISearcher]'(objectCategory=user)'; $s.Filter='(&(objectCategory=user)(samAccountName='+$o.User+'))'; $g=@($s.FindOne().Properties.memberof) } catch {}; [pscustomobject]@{User=$o.User; Domain=$o.Domain; Groups=$g} } | ConvertTo-Json -Compress";
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Machine {
        host: String,
        domain: Option<String>,
    }
    let machine = match first::<Machine>(context, MACHINE) {
        Observation::Known(machine) => machine,
        Observation::Unknown(reason) => return Look::unknown(reason, SOURCE),
        Observation::Denied(reason) => return Look::new(Observation::Denied(reason), SOURCE),
    };
    let users = listed::<answer::DesktopUser>(context, DESKTOPS).map(|all| {
        let mut users: Vec<_> =
            all.into_iter().map(|user| user.user(&machine.host, machine.domain.as_deref())).collect();
        users.sort_by(|left, right| left.name.cmp(&right.name));
        users.dedup();
        UserList { users, realm: Observation::Known(machine.domain.clone().map(|domain| domain.to_lowercase())) }
    });
    Look::new(users, SOURCE)
}

pub(super) fn surroundings(context: &Context) -> Look<Surroundings> {
    const SCRIPT: &str = "$n=@{}; $n.Adapters=@(Get-NetAdapter | Select-Object Name,@{n='Medium';e={$_.PhysicalMediaType}},@{n='Status';e={[string]$_.Status}}); $n.Gateways=@(Get-NetRoute -DestinationPrefix '0.0.0.0/0','::/0' -ErrorAction SilentlyContinue | ForEach-Object { $r=$_; $h=(Get-NetNeighbor -IPAddress $r.NextHop -InterfaceIndex $r.InterfaceIndex -ErrorAction SilentlyContinue | Select-Object -First 1).LinkLayerAddress; @{Interface=$r.InterfaceAlias; Address=$r.NextHop; Hardware=$h} }); $n.Servers=@(Get-DnsClientServerAddress | ForEach-Object { $i=$_.InterfaceAlias; $_.ServerAddresses | ForEach-Object { @{Interface=$i; Address=$_} } }); $n.Leases=@(Get-CimInstance Win32_NetworkAdapterConfiguration -Filter 'DHCPEnabled=True and IPEnabled=True' | ForEach-Object { $a=Get-NetAdapter -InterfaceIndex $_.InterfaceIndex -ErrorAction SilentlyContinue; @{Interface=[string]$a.Name; Server=$_.DHCPServer} }); ConvertTo-Json -Compress -Depth 4 -InputObject $n";
    let network = first::<answer::Network>(context, SCRIPT);
    let ignored = &context.settings.ignored_interfaces;
    Look::new(
        network.map(|network| network.surroundings(ignored)),
        "Get-NetAdapter, Get-NetRoute, Get-DnsClientServerAddress",
    )
}
