//! The tray on a private session bus: a real notification service (dunst on Xvfb) and a
//! StatusNotifier watcher that disappears and comes back.

use anyhow::{Context, Result, ensure};
use lab::client::program;
use lab::net::{Running, output_of, shell, until};
use lab::scenario::{self, Scenario};
use postern_api::event::Notice;
use postern_api::posture::{Decrees, TagReport, TagSource};
use postern_api::rpc::{Request, Response};
use postern_api::state::{Origin, PostureStanding, TunnelStatus};
use postern_api::{ConnectionState, Event, Fault, FaultName, Prompt, PromptKind, Status};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use zbus::zvariant::{OwnedObjectPath, OwnedValue, Value};

const LIMIT: Duration = Duration::from_secs(20);
const WARNING: &str = "Your machine is <b>out of date</b>.\nCall IT: 4711 & ask for \"patches\".";

const SCENARIOS: &[Scenario] = &[
    ("tray: a notice is a notification with the administrator's words, and it stays", notice_stays),
    ("tray: the icon registers, its menu connects, and it comes back with the panel", icon_comes_back),
    ("tray: a question is asked through pinentry and its answer reaches the service", question_is_asked),
];

fn main() -> ExitCode {
    scenario::main(SCENARIOS)
}

/// A session bus of the test's own, as every program of the test sees it.
fn session_bus() -> Result<Running> {
    let address = "unix:path=/run/session-bus";
    let bus = Running::start(
        "dbus-daemon",
        Command::new("dbus-daemon").args(["--session", "--nofork", "--nopidfile", "--address", address]),
    )?;
    until("the session bus", LIMIT, || Ok(Path::new("/run/session-bus").exists().then_some(())))?;
    // SAFETY: the scenario is single-threaded until here; nothing else reads the environment yet.
    unsafe { std::env::set_var("DBUS_SESSION_BUS_ADDRESS", address) };
    Ok(bus)
}

/// A display without a screen, under whatever number is free.
struct Display(Running);

impl Display {
    fn start() -> Result<Self> {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"]).stderr(Stdio::null());
        let (reader, writer) = std::io::pipe()?;
        let display = Running::start("Xvfb", command.stdout(writer))?;
        // The command holds the other writing end; with it gone, an Xvfb that fails ends the line.
        drop(command);
        let mut number = String::new();
        BufReader::new(reader).read_line(&mut number)?;
        ensure!(number.ends_with('\n'), "Xvfb said no display number");
        // SAFETY: the scenario is single-threaded until here; nothing else reads the environment yet.
        unsafe { std::env::set_var("DISPLAY", format!(":{}", number.trim())) };
        Ok(Self(display))
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // Asked to end, it takes its lock and its socket with it.
        if self.0.signal(nix::sys::signal::Signal::SIGTERM).is_ok() {
            let _ended = self.0.wait(LIMIT);
        }
    }
}

/// Stands in for the service: one client, whose requests are handed to the test.
struct Service {
    folder: PathBuf,
    requests: Receiver<Request>,
    events: Sender<String>,
}

impl Service {
    fn start() -> Result<Self> {
        let folder = PathBuf::from("/run/postern");
        std::fs::create_dir_all(&folder)?;
        let listener = UnixListener::bind(folder.join("control.sock")).context("binding the control socket")?;
        let (request_sender, requests) = channel();
        let (events, event_receiver) = channel::<String>();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept()?;
            let mut writer = stream.try_clone()?;
            std::thread::spawn(move || {
                for line in event_receiver {
                    // The tray may have ended before the test has said everything.
                    let _ = writer.write_all(line.as_bytes());
                }
            });
            read_requests(stream, &request_sender)
        });
        Ok(Self { folder, requests, events })
    }

    fn tell(&self, event: &Event) -> Result<()> {
        let request = Request::notification("event", serde_json::to_value(event)?);
        self.events.send(serde_json::to_string(&request)? + "\n").context("the stand-in service is gone")
    }

    /// Answers requests until one of that method comes, and returns it.
    fn expect(&self, method: &str) -> Result<Request> {
        self.answer(method, &serde_json::json!({}))
    }

    /// As [`Self::expect`], and answers that one with `result`.
    fn answer(&self, method: &str, result: &serde_json::Value) -> Result<Request> {
        loop {
            let request = self.requests.recv_timeout(LIMIT).with_context(|| format!("waiting for {method}"))?;
            let id = request.id.context("a request without a number")?;
            let wanted = request.method == method;
            let answer = Response::success(id, if wanted { result.clone() } else { serde_json::json!({}) });
            self.events.send(serde_json::to_string(&answer)? + "\n")?;
            if wanted {
                return Ok(request);
            }
        }
    }
}

fn read_requests(stream: UnixStream, requests: &Sender<Request>) -> Result<()> {
    for line in BufReader::new(stream).lines() {
        requests.send(serde_json::from_str(&line?)?)?;
    }
    Ok(())
}

fn snapshot(state: ConnectionState) -> Event {
    let tunnel = TunnelStatus {
        name: "RA-VPN".into(),
        origin: Origin::Managed,
        state,
        attention: false,
        gateway: "vpn.example.test".into(),
        posture: PostureStanding::Compliant,
        established: None,
        last_fault: None,
        blocked: false,
    };
    let posture = TagReport {
        source: TagSource::Ems,
        ems: Some("EMS1".into()),
        telemetry_connected: true,
        age_seconds: 0,
        grace_seconds: None,
        tags: Vec::new(),
        unknown_because: None,
        decrees: Decrees::default(),
    };
    let status = Status { version: "test".into(), state, attention: false, tunnels: vec![tunnel], posture };
    Event::Snapshot { status }
}

fn start_tray(service: &Service, options: &[&str]) -> Result<Running> {
    let tray = Running::start(
        "postern-tray",
        Command::new(program("postern-tray")?)
            .arg("--runtime")
            .arg(&service.folder)
            .args(options)
            .stderr(Stdio::inherit()),
    )?;
    service.expect("hello")?;
    service.expect("subscribe")?;
    Ok(tray)
}

fn notice_stays() -> Result<()> {
    // The display is there before the bus, whose environment the notification service inherits.
    let _display = Display::start()?;
    let _bus = session_bus()?;
    // The bus starts dunst when it is asked for the first time.
    until("dunst", LIMIT, || Ok(shell("dunstctl count").is_ok().then_some(())))?;

    let service = Service::start()?;
    let _tray = start_tray(&service, &["--no-icon"])?;
    service.tell(&snapshot(ConnectionState::Blocked))?;
    let fault = Fault::new(FaultName::ComplianceLost, "RA-VPN", "tag \"Critical Vulnerability\"", "upgrade curl");
    let title = "VPN disconnected: security posture changed";
    service.tell(&Event::Notice {
        notice: Notice {
            id: 1,
            time: "2026-11-23T05:00:00Z".into(),
            tunnel: "RA-VPN".into(),
            title: title.into(),
            warning: WARNING.into(),
            fault,
            explanation: vec!["RA-VPN: refused".into(), "└─ rule 1, cve: holds".into()],
            uid: None,
        },
    })?;
    let displayed = || anyhow::Ok(shell("dunstctl count displayed")?.trim().parse::<u64>()?);
    until("the notification", LIMIT, || Ok((displayed()? == 1).then_some(())))?;
    // A notification of another sender, with a timeout, goes by itself; ours is then still there.
    shell("notify-send --expire-time=1500 passing")?;
    until("the passing one to be there", LIMIT, || Ok((displayed()? == 2).then_some(())))?;
    until("the passing one to go", LIMIT, || Ok((displayed()? == 1).then_some(())))?;
    shell("dunstctl close-all")?;
    let history = until("the history", LIMIT, || {
        let history: serde_json::Value = serde_json::from_str(&shell("dunstctl history")?)?;
        let entries: Vec<_> = history["data"][0].as_array().into_iter().flatten().cloned().collect();
        Ok(entries.into_iter().find(|entry| entry["summary"]["data"] == title))
    })?;
    let body = history["body"]["data"].as_str().unwrap_or_default().to_owned();
    ensure!(history["timeout"]["data"] == 0, "{history}");
    // The body is kept as it was sent: escaped, since dunst renders markup.
    let escaped = "Your machine is &lt;b&gt;out of date&lt;/b&gt;.\nCall IT: 4711 &amp; ask for &quot;patches&quot;.";
    ensure!(body.starts_with(escaped), "{body:?}");
    ensure!(body.contains("ComplianceLost: RA-VPN") && body.contains("Next: upgrade curl."), "{body:?}");
    ensure!(body.ends_with("RA-VPN: refused\n└─ rule 1, cve: holds"), "the tree is missing: {body:?}");
    Ok(())
}

/// A StatusNotifierWatcher that hands registrations to the test.
struct Watcher(tokio::sync::mpsc::UnboundedSender<String>);

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: String) {
        // The test may already have what it waited for.
        let _ = self.0.send(service);
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Owns the watcher's name until the connection is dropped.
async fn panel(registrations: &tokio::sync::mpsc::UnboundedSender<String>) -> Result<zbus::Connection> {
    Ok(zbus::connection::Builder::session()?
        .serve_at("/StatusNotifierWatcher", Watcher(registrations.clone()))?
        .name("org.kde.StatusNotifierWatcher")?
        .build()
        .await?)
}

#[zbus::proxy(interface = "org.kde.StatusNotifierItem", default_path = "/StatusNotifierItem")]
trait Item {
    #[zbus(property(emits_changed_signal = "false"))]
    fn title(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn icon_pixmap(&self) -> zbus::Result<Vec<(i32, i32, Vec<u8>)>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn menu(&self) -> zbus::Result<OwnedObjectPath>;
}

type Layout = (i32, std::collections::HashMap<String, OwnedValue>, Vec<OwnedValue>);

#[zbus::proxy(interface = "com.canonical.dbusmenu", default_path = "/MenuBar")]
trait Menu {
    fn get_layout(&self, parent: i32, depth: i32, properties: &[&str]) -> zbus::Result<(u32, Layout)>;
    fn event(&self, id: i32, event: &str, data: &Value<'_>, timestamp: u32) -> zbus::Result<()>;
}

/// Finds the number of the entry with that label, anywhere in the menu.
fn find(entry: &Value<'_>, label: &str) -> Option<i32> {
    let Value::Structure(entry) = entry else { return None };
    let [Value::I32(id), Value::Dict(properties), Value::Array(children)] = entry.fields() else { return None };
    let own: Option<String> = properties.get(&"label").ok().flatten();
    if own.as_deref() == Some(label) {
        return Some(*id);
    }
    children.iter().find_map(|child| match child {
        Value::Value(child) => find(child, label),
        other => find(other, label),
    })
}

fn icon_comes_back() -> Result<()> {
    let _bus = session_bus()?;
    let service = Service::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _tray = start_tray(&service, &[])?;
    service.tell(&snapshot(ConnectionState::Disconnected))?;
    let (registered, mut registrations) = tokio::sync::mpsc::unbounded_channel();
    let mut register = || {
        let next = async { tokio::time::timeout(LIMIT, registrations.recv()).await };
        runtime.block_on(next).context("waiting for the icon to register")?.context("the watcher is gone")
    };

    // The tray was there before the panel.
    let first_panel = runtime.block_on(panel(&registered))?;
    let name = register()?;
    let clicked = runtime.block_on(async {
        let bus = zbus::Connection::session().await?;
        let item = ItemProxy::builder(&bus).destination(name.clone())?.build().await?;
        ensure!(item.title().await?.contains("disconnected"), "{}", item.title().await?);
        ensure!(item.icon_pixmap().await?.iter().any(|(width, _, data)| *width == 22 && data.len() == 22 * 22 * 4));
        let menu = MenuProxy::builder(&bus).destination(name)?.path(item.menu().await?)?.build().await?;
        let (_, (_, _, children)) = menu.get_layout(0, -1, &[]).await?;
        let connect = children.iter().find_map(|child| find(child, "Connect")).context("no Connect in the menu")?;
        menu.event(connect, "clicked", &Value::I32(0), 0).await?;
        let explain = children.iter().find_map(|child| find(child, "Explain the security posture"));
        menu.event(explain.context("nothing explains")?, "clicked", &Value::I32(0), 0).await?;
        anyhow::Ok(menu)
    });
    let menu = clicked?;
    let request = service.expect("connect")?;
    ensure!(request.params["tunnel"] == "RA-VPN" && request.params["interactive"] == true, "{request:?}");
    let lines = ["RA-VPN: may be connected", "prohibited: Critical", "  └─ rule 1, file /a: does not hold"];
    let request = service.answer("posture.explain", &serde_json::json!({ "lines": lines }))?;
    ensure!(request.params["subject"] == "RA-VPN", "{request:?}");
    runtime.block_on(async {
        for line in lines {
            let shown = async {
                loop {
                    let (_, (_, _, children)) = menu.get_layout(0, -1, &[]).await?;
                    if children.iter().any(|child| find(child, line).is_some()) {
                        return anyhow::Ok(());
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(LIMIT, shown).await.with_context(|| format!("no {line:?} in the menu"))??;
        }
        anyhow::Ok(())
    })?;

    // The panel crashes; another one starts.
    drop(first_panel);
    let _second_panel = runtime.block_on(async {
        // The name is free as soon as the bus has seen the first panel go.
        loop {
            match panel(&registered).await {
                Ok(panel) => return panel,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let name = register()?;
    service.tell(&snapshot(ConnectionState::Connected))?;
    runtime.block_on(async {
        let bus = zbus::Connection::session().await?;
        let item = ItemProxy::builder(&bus)
            .destination(name)?
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await?;
        tokio::time::timeout(LIMIT, async {
            while !item.title().await?.contains(": connected") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        })
        .await
        .context("waiting for the new state")?
    })
}

fn question_is_asked() -> Result<()> {
    let _bus = session_bus()?;
    let service = Service::start()?;
    // pinentry's own protocol, with a person who always answers the same.
    std::fs::write(
        "/run/pinentry",
        "#!/bin/sh\necho OK ready\nwhile read -r command rest; do\n  case $command in\n    SETDESC) echo \"$rest\" > /run/asked; echo OK ;;\n    GETPIN) echo 'D correct horse'; echo OK ;;\n    *) echo OK ;;\n  esac\ndone\n",
    )?;
    output_of(Command::new("chmod").args(["+x", "/run/pinentry"]))?;
    let _tray = start_tray(&service, &["--no-icon", "--pinentry", "/run/pinentry"])?;
    service.tell(&Event::Prompt {
        prompt: Prompt {
            id: 9,
            tunnel: "RA-VPN".into(),
            kind: PromptKind::Password,
            address: None,
            text: "Password of alice".into(),
            seconds: 60,
            uid: None,
        },
    })?;
    let answer = service.expect("prompt.answer")?;
    ensure!(answer.params["id"] == 9 && answer.params["answer"] == "correct horse", "another answer came");
    let asked = std::fs::read_to_string("/run/asked")?;
    ensure!(asked.contains("Password of alice") && asked.contains("RA-VPN"), "{asked}");
    Ok(())
}
