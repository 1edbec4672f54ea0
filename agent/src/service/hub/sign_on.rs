//! Tunnels to a FortiGate: who this endpoint is to it, and the sign-on before the engine starts.
//!
//! ```text
//! Start ──▶ listener ──▶ a person is told the address ──▶ token ──▶ the engine starts
//!                                    └── declined, stopped, late ──▶ the attempt ends
//! ```
//! Nothing of this begins before posture has admitted the connection.

use super::{FAREWELL, Hub, Message};
use crate::connection::Input;
use crate::platform;
use crate::profile::Tunnel;
use crate::profile::fortigate::Peer;
use crate::profile::tunnel::AuthenticationKind;
use crate::service::network::link::Told as NetTold;
use crate::sign_on::SignOn;
use ike_client::fortigate::{self, Uid, sign_on::SignedOn};
use ike_client::session::{ClientAuthentication, CloseCause, CloseReason, Configuration};
use ike_client::tunnel::clock;
use ike_client::tunnel::control::{EndCause, Event as EngineEvent};
use postern_api::event::Event;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;
use tokio::task::AbortHandle;

/// What the task of a sign-on tells.
#[derive(Debug)]
pub enum Step {
    /// This address is to be opened in a browser.
    Open(String),
    /// It has ended.
    Done(io::Result<SignedOn>),
}

/// A sign-on under way.
#[derive(Debug)]
pub(in crate::service) struct Pending {
    tunnel: String,
    number: u64,
    limit: Duration,
    task: AbortHandle,
}

/// What a tunnel's sign-on has brought, until the engine asks for it.
#[derive(Debug)]
pub(in crate::service) struct Brought {
    tunnel: String,
    signed_on: SignedOn,
}

/// The sign-ons of the service: one at a time, as there is one engine.
#[derive(Debug, Default)]
pub(in crate::service) struct SignOns {
    last: u64,
    pending: Option<Pending>,
    brought: Option<Brought>,
}

impl SignOns {
    /// Takes what a tunnel's sign-on has brought; it is good once.
    pub(in crate::service) fn take(&mut self, tunnel: &str) -> Option<SignedOn> {
        self.brought.take().filter(|brought| brought.tunnel == tunnel).map(|brought| brought.signed_on)
    }

    fn has(&self, tunnel: &str) -> bool {
        self.brought.as_ref().is_some_and(|brought| brought.tunnel == tunnel)
    }
}

/// Makes a negotiation one with a FortiGate, where the tunnel leads to one.
///
/// # Errors
/// When there is no UID and none can be made.
pub(in crate::service) fn prepare(tunnel: &Tunnel, state: &Path, session: &mut Configuration) -> io::Result<()> {
    if tunnel.peer != Peer::Fortigate {
        return Ok(());
    }
    let uid = uid(tunnel, state)?;
    if tunnel.auth.kind == AuthenticationKind::Saml
        && let ClientAuthentication::Eap { identity, .. } = &mut session.client_auth
    {
        *identity = Some(uid.to_string());
    }
    fortigate::apply(session, &tunnel.fortigate.claims(uid));
    Ok(())
}

/// Returns who this endpoint is to the tunnel's gateway.
fn uid(tunnel: &Tunnel, state: &Path) -> io::Result<Uid> {
    if let Some(uid) = &tunnel.fortigate.uid {
        return Ok(uid.clone());
    }
    let mut file = platform::open_private(&state.join("fortigate-uid"))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(io::Error::other)?;
    let uid = Uid::of(octets);
    file.set_len(0)?;
    file.write_all(uid.as_str().as_bytes())?;
    file.sync_all()?;
    Ok(uid)
}

impl Hub {
    /// Begins the sign-on that a tunnel wants before its engine starts; returns false when there is
    /// none, or it is done.
    pub(in crate::service) fn sign_on_first(&mut self, name: &str, tunnel: &Tunnel, limit: Duration) -> bool {
        if tunnel.auth.kind != AuthenticationKind::Saml || self.sign_ons.has(name) {
            return false;
        }
        self.cancel_sign_on(name);
        self.timers.insert(name.to_owned(), clock::now() + limit + FAREWELL);
        self.sign_ons.last = self.sign_ons.last.saturating_add(1);
        let number = self.sign_ons.last;
        let uid = uid(tunnel, &self.paths.state);
        let (gateway, port) = (tunnel.gateway.dialled().into_iter().next(), tunnel.fortigate.sign_on_port);
        let (inbox, tunnel) = (self.inbox.clone(), name.to_owned());
        let told = move |step| drop(inbox.send(Message::SignOn { number, step }));
        let task = tokio::spawn(async move {
            let work = async {
                let sign_on = SignOn::begin(&gateway.unwrap_or_default(), port, &uid?).await?;
                told(Step::Open(sign_on.address()));
                sign_on.wait(limit).await
            };
            let outcome = work.await;
            told(Step::Done(outcome));
        });
        self.sign_ons.pending = Some(Pending { tunnel, number, limit, task: task.abort_handle() });
        true
    }

    /// Hears the task of a sign-on.
    pub(in crate::service) fn sign_on_told(&mut self, number: u64, step: Step) {
        let Some(pending) = self.sign_ons.pending.take_if(|pending| pending.number == number) else { return };
        let name = pending.tunnel.clone();
        match step {
            Step::Open(address) => {
                let limit = pending.limit;
                self.sign_ons.pending = Some(pending);
                self.tell_address(&name, &address, limit);
            }
            Step::Done(Ok(signed_on)) => {
                tracing::info!(tunnel = name, "signed on");
                self.forget_prompts(&name);
                self.sign_ons.brought = Some(Brought { tunnel: name.clone(), signed_on });
                self.feed(&name, Input::InputGiven);
                self.start_engine(&name);
            }
            Step::Done(Err(error)) => {
                let because = match error.kind() {
                    io::ErrorKind::TimedOut => "nobody signed on in time".to_owned(),
                    _ => format!("the sign-on cannot be waited for: {error}"),
                };
                self.forget_prompts(&name);
                self.end_unstarted(CloseCause::InputRefused { because });
            }
        }
    }

    /// A person does not want to sign on.
    pub(in crate::service) fn decline_sign_on(&mut self, name: &str) {
        if self.cancel_sign_on(name) {
            self.end_unstarted(CloseCause::InputRefused { because: "the sign-on was declined".into() });
        }
    }

    /// Ends an attempt that still waits for its sign-on; returns false when the engine has started.
    pub(in crate::service) fn stop_sign_on(&mut self, name: &str, reason: CloseReason) -> bool {
        let waited = self.cancel_sign_on(name);
        if waited {
            self.end_unstarted(CloseCause::Requested { reason });
        }
        waited
    }

    fn cancel_sign_on(&mut self, name: &str) -> bool {
        self.sign_ons.take(name);
        let pending = self.sign_ons.pending.take_if(|pending| pending.tunnel == name);
        if let Some(pending) = &pending {
            pending.task.abort();
        }
        pending.is_some()
    }

    /// Says in the engine's place that it has ended: in its turn, so that the state that asked for
    /// the start or the stop stands first.
    pub(in crate::service) fn end_unstarted(&self, cause: CloseCause) {
        let told = NetTold::Engine(Box::new(EngineEvent::Ended { cause: EndCause::Session { cause } }));
        let _ = self.inbox.send(Message::Net(told));
    }

    fn tell_address(&mut self, name: &str, address: &str, within: Duration) {
        let askers: Vec<_> = self.waiters.get(name).into_iter().flatten().filter(|waiter| waiter.for_up).collect();
        let callers: Vec<_> = askers.iter().map(|waiter| waiter.caller.events.clone()).collect();
        if callers.is_empty() && self.events.receiver_count() == 0 {
            return self.decline_sign_on(name);
        }
        let uid = self.owner_of(name);
        let prompt = self.prompts.ask_sign_on(name, address, within, uid);
        for caller in callers {
            let _ = caller.try_send(Event::Prompt { prompt: prompt.clone() });
        }
        let _ = self.events.send(Event::Prompt { prompt });
        self.feed(name, Input::InputNeeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_installation_is_the_same_to_every_gateway_unless_its_tunnel_says_otherwise() {
        let state = tempfile::tempdir().unwrap();
        let mut tunnel = Tunnel::to("vpn.example.test");
        let first = uid(&tunnel, state.path()).unwrap();
        assert_eq!(uid(&tunnel, state.path()).unwrap(), first);
        assert_ne!(uid(&tunnel, tempfile::tempdir().unwrap().path()).unwrap(), first, "made at random");
        tunnel.fortigate.uid = Some(Uid::of([9; 16]));
        assert_eq!(uid(&tunnel, state.path()).unwrap(), Uid::of([9; 16]));
    }

    #[test]
    fn a_tunnel_to_another_gateway_says_nothing_of_fortinet() {
        let state = tempfile::tempdir().unwrap();
        let mut tunnel = Tunnel::to("vpn.example.test");
        tunnel.gateway_auth = Some(crate::profile::GatewayAuthentication::Psk);
        let made = crate::service::tunnel::configuration::engine("work", &tunnel, &[]).unwrap();
        let mut session = made.session.clone();
        prepare(&tunnel, state.path(), &mut session).unwrap();
        assert_eq!(session, made.session);
        tunnel.peer = Peer::Fortigate;
        prepare(&tunnel, state.path(), &mut session).unwrap();
        assert_eq!(session.extensions.vendor_ids.len(), 3);
        assert!(session.start_encapsulated);
    }
}
