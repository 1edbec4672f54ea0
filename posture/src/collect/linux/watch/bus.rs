//! Hearing of change by the system bus: who logs on, locks and unlocks (systemd-logind), the firewall's
//! service (firewalld), the network and its DHCP (NetworkManager), resolvers (systemd-resolved).
//!
//! Much of it is also told by the kernel or by files. What only the service knows, such as a renewed lease
//! of DHCP that lies in a folder of its own, would else be found at the next tick.

use super::tell;
use crate::collect::watch::{Notices, Noticing};
use futures_util::{FutureExt, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use zbus::message::Type;
use zbus::{Connection, MessageStream};

/// What is told about.
const ABOUT: &str = "services";
/// After how long a bus that is gone is looked for again.
const PAUSE: Duration = Duration::from_secs(60);
/// How long signals are gathered: a network that comes up sends dozens.
const GATHERED: Duration = Duration::from_millis(300);
/// How long the bus may take to take one wish.
const PATIENCE: Duration = Duration::from_secs(5);

/// The signals that may change a fact. The bus matches a service's name with whoever owns it. Of
/// NetworkManager neither the counters nor the access points that come and go are wanted.
const SIGNALS: [&str; 9] = [
    "sender='org.freedesktop.login1',interface='org.freedesktop.login1.Manager',member='SessionNew'",
    "sender='org.freedesktop.login1',interface='org.freedesktop.login1.Manager',member='SessionRemoved'",
    "sender='org.freedesktop.login1',interface='org.freedesktop.login1.Session'",
    "sender='org.freedesktop.login1',path_namespace='/org/freedesktop/login1/session',member='PropertiesChanged'",
    "sender='org.fedoraproject.FirewallD1'",
    "sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.fedoraproject.FirewallD1'",
    "sender='org.freedesktop.NetworkManager',path='/org/freedesktop/NetworkManager',member='PropertiesChanged'",
    "sender='org.freedesktop.NetworkManager',member='PropertiesChanged',\
     arg0='org.freedesktop.NetworkManager.DHCP4Config'",
    "sender='org.freedesktop.resolve1',path_namespace='/org/freedesktop/resolve1',member='PropertiesChanged'",
];

pub(in crate::collect) async fn bus_changes(changed: mpsc::Sender<()>, notices: Notices) {
    let mut last = None;
    while !changed.is_closed() {
        let reason = match Connection::system().await {
            Ok(bus) => match follow(&bus, &changed, &notices).await {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let how = Err(format!("the system bus: {reason}"));
        if last.as_ref() != Some(&how) {
            last = Some(how.clone());
            let _ = notices.send(Noticing { about: ABOUT, how });
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = changed.closed() => {}
        }
    }
}

/// Follows the bus until nobody listens here; an error where it is gone.
async fn follow(bus: &Connection, changed: &mpsc::Sender<()>, notices: &Notices) -> zbus::Result<()> {
    // Before the wishes, so that no signal falls between.
    let mut messages = MessageStream::from(bus);
    for signal in SIGNALS {
        let wish = format!("type='signal',{signal}");
        let daemon = Some("org.freedesktop.DBus");
        let asked = bus.call_method(daemon, "/org/freedesktop/DBus", daemon, "AddMatch", &wish);
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => drop(answer?),
            Err(_) => return Err(zbus::Error::Failure("it does not answer".into())),
        }
    }
    let _ = notices.send(Noticing { about: ABOUT, how: Ok("told by the system bus") });
    // What changed before is found by a look.
    let mut matters = true;
    loop {
        if matters {
            tokio::time::sleep(GATHERED).await;
            while let Some(Some(_)) = messages.next().now_or_never() {}
            if !tell(changed) {
                return Ok(());
            }
        }
        matters = tokio::select! {
            message = messages.next() => match message {
                Some(message) => is_wanted(&message?),
                None => return Err(zbus::Error::Failure("it is gone".into())),
            },
            () = changed.closed() => return Ok(()),
        };
    }
}

/// The bus greets whoever joins with signals of its own, which nobody asked for.
fn is_wanted(message: &zbus::Message) -> bool {
    let header = message.header();
    let greeting = header.member().is_some_and(|member| matches!(member.as_str(), "NameAcquired" | "NameLost"));
    message.message_type() == Type::Signal && !greeting
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use zbus::zvariant::Value;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A bus of the test's own.
    struct Bus(Child);

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    async fn bus(folder: &Path) -> (Bus, String) {
        let address = format!("unix:path={}", folder.join("bus").display());
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--nofork", "--nopidfile", "--address", &address]).stderr(Stdio::null());
        let bus = Bus(command.spawn().expect("dbus-daemon must be installed: this test makes a bus of its own"));
        let end = tokio::time::Instant::now() + LIMIT;
        while !folder.join("bus").exists() {
            assert!(tokio::time::Instant::now() < end, "the bus does not come up");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (bus, address)
    }

    async fn join(address: &str) -> Connection {
        zbus::connection::Builder::address(address).unwrap().build().await.unwrap()
    }

    #[tokio::test]
    async fn what_services_tell_is_told_and_what_nobody_asked_for_is_not() {
        const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
        let folder = tempfile::tempdir().unwrap();
        let (daemon, address) = bus(folder.path()).await;
        let (changed, mut changes) = mpsc::channel(1);
        let (notices, mut told) = mpsc::unbounded_channel();
        let own = join(&address).await;
        let following = tokio::spawn(async move { follow(&own, &changed, &notices).await });
        let noticing = tokio::time::timeout(LIMIT, told.recv()).await.unwrap().unwrap();
        assert_eq!(noticing, Noticing { about: ABOUT, how: Ok("told by the system bus") });
        let mut heard = async |limit: Duration| tokio::time::timeout(limit, changes.recv()).await.is_ok();
        assert!(heard(LIMIT).await, "a look after the beginning");

        let logind = join(&address).await;
        logind.request_name("org.freedesktop.login1").await.unwrap();
        let manager = join(&address).await;
        manager.request_name("org.freedesktop.NetworkManager").await.unwrap();
        let resolver = join(&address).await;
        resolver.request_name("org.freedesktop.resolve1").await.unwrap();
        let properties = |interface: &'static str| (interface, HashMap::<&str, Value<'_>>::new(), Vec::<&str>::new());

        let session = "/org/freedesktop/login1/session/_32";
        for member in ["Lock", "Unlock"] {
            let emitted =
                logind.emit_signal(None::<&str>, session, "org.freedesktop.login1.Session", member, &()).await;
            emitted.unwrap();
            assert!(heard(LIMIT).await, "{member}");
        }
        for (service, path, interface) in [
            (&logind, session, "org.freedesktop.login1.Session"),
            (&manager, "/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager"),
            (&manager, "/org/freedesktop/NetworkManager/DHCP4Config/1", "org.freedesktop.NetworkManager.DHCP4Config"),
            (&resolver, "/org/freedesktop/resolve1", "org.freedesktop.resolve1.Manager"),
        ] {
            let body = properties(interface);
            service.emit_signal(None::<&str>, path, PROPERTIES, "PropertiesChanged", &body).await.unwrap();
            assert!(heard(LIMIT).await, "{interface} at {path}");
        }
        // A firewall that starts, reloads and ends.
        let firewall = join(&address).await;
        firewall.request_name("org.fedoraproject.FirewallD1").await.unwrap();
        assert!(heard(LIMIT).await, "the start of the firewall");
        let path = "/org/fedoraproject/FirewallD1";
        firewall.emit_signal(None::<&str>, path, "org.fedoraproject.FirewallD1", "Reloaded", &()).await.unwrap();
        assert!(heard(LIMIT).await, "the reload of the firewall");
        firewall.release_name("org.fedoraproject.FirewallD1").await.unwrap();
        assert!(heard(LIMIT).await, "the end of the firewall");

        // The strength of a signal is nobody's business, nor is another's word in a service's name.
        let radio = properties("org.freedesktop.NetworkManager.AccessPoint");
        let path = "/org/freedesktop/NetworkManager/AccessPoint/1";
        manager.emit_signal(None::<&str>, path, PROPERTIES, "PropertiesChanged", &radio).await.unwrap();
        let body = properties("org.freedesktop.NetworkManager");
        let path = "/org/freedesktop/NetworkManager";
        firewall.emit_signal(None::<&str>, path, PROPERTIES, "PropertiesChanged", &body).await.unwrap();
        assert!(!heard(GATHERED * 3).await, "what nobody asked for is told");

        drop(daemon);
        let ended = tokio::time::timeout(LIMIT, following).await.unwrap().unwrap();
        assert!(ended.is_err(), "a bus that is gone is said to be");
    }
}
