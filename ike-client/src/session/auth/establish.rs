//! The end of IKE_AUTH: what the gateway assigned and chose is taken into use.

use crate::auth::GatewayProven;
use crate::crypto::keys::Side;
use crate::crypto::suite::{EspSuite, IkeSuite};
use crate::session::cause::{CloseCause, SaKind};
use crate::session::child::{Agreed, ChildSa, FirstChild};
use crate::session::config::Assigned;
use crate::session::context::Context;
use crate::session::established::{EstablishedSa, IkeLifetime};
use crate::session::event::{Established, Event, Warning};
use crate::session::init::Negotiated;
use crate::session::payloads::Payloads;
use crate::session::ppk::Ppk;
use crate::session::resume::Ticket;
use crate::session::state::State;
use crate::session::{closing, init};
use crate::time::Timestamp;
use crate::wire::NotifyType;

/// Takes what the gateway assigned and chose into use.
pub(super) fn establish(
    negotiated: Box<Negotiated>,
    proven: &GatewayProven,
    offer: FirstChild,
    mut warnings: Vec<Warning>,
    payloads: Payloads<'_>,
    context: &mut Context,
    now: Timestamp,
) -> State {
    let outcome = first_child(offer, negotiated.childless, payloads, context, now);
    let outcome = outcome.and_then(|child| Ok((child, IkeLifetime::draw(context, now)?)));
    let ((first, assigned), lifetime) = match outcome {
        Ok(outcome) => outcome,
        Err(_) if wants_no_child(&negotiated, payloads, context) => {
            context.configuration.continuity.childless = true;
            return init::from_the_start(context, now);
        }
        Err(cause) => return closing::farewell(negotiated.sa, cause, context, now),
    };
    let ike = Some(negotiated.sa.suite).filter(IkeSuite::is_weak).map(|suite| suite.to_string());
    let esp = first.as_ref().map(|(agreed, _)| agreed.suite).filter(EspSuite::is_weak).map(|suite| suite.to_string());
    if context.configuration.ppk.is_some() && !matches!(negotiated.ppk, Ppk::InUse) {
        warnings.push(Warning::PostQuantumKeyUnused);
    }
    warnings.extend(ike.into_iter().chain(esp).map(|suite| Warning::WeakSuite { suite }));
    let established = Established {
        gateway: context.path.remote,
        gateway_identity: proven.identity().clone(),
        addresses: assigned.addresses,
        dns: assigned.dns,
        domains: assigned.domains,
        subnets: assigned.subnets,
        ike_suite: negotiated.sa.suite,
        nat: negotiated.nat,
        warnings,
    };
    let keys = match &first {
        Some((agreed, _)) => negotiated.sa.keys.child(&agreed.suite, None, negotiated.nonces()).map(Some),
        None => Ok(None),
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(error) => return closing::farewell(negotiated.sa, error.into(), context, now),
    };
    // The driver hears of the SA as a whole before it gets the keys of its child.
    context.tell(Event::Established(Box::new(established)));
    if let (Some((agreed, _)), Some(keys)) = (&first, &keys)
        && let Err(cause) = agreed.install(keys, Side::Initiator, None, context)
    {
        return closing::farewell(negotiated.sa, cause, context, now);
    }
    if let (true, Some(identity)) = (context.configuration.continuity.resumption, context.identity.clone()) {
        let identities = (identity, proven.identity().clone());
        let ticket = Ticket::read(payloads, &negotiated, identities, now);
        ticket.into_iter().for_each(|ticket| context.tell(Event::Ticket(Box::new(ticket))));
    }
    let Negotiated { sa, nat, .. } = *negotiated;
    let child = first.map(|(_, child)| child);
    Box::new(EstablishedSa::new(sa, child, lifetime, nat, context, now)).begin(payloads, context, now)
}

/// Tells whether the gateway, which can do without a CHILD SA, has refused the whole of IKE_AUTH because
/// there was one (strongSwan's `childless = force`): it has forgotten the IKE SA, so without one it
/// is tried from the start.
fn wants_no_child(negotiated: &Negotiated, payloads: Payloads<'_>, context: &Context) -> bool {
    let refused = payloads.error().is_some_and(|notify| notify.notify_type == NotifyType::INVALID_SYNTAX);
    refused && negotiated.childless && !context.configuration.continuity.childless
}

/// Reads what was assigned, and the CHILD SA if there is one. A gateway that can do without at first
/// may refuse it here and give one to the request that follows (RFC 6023 §3).
fn first_child(
    offer: FirstChild,
    childless: bool,
    payloads: Payloads<'_>,
    context: &mut Context,
    now: Timestamp,
) -> Result<(Option<(Agreed, ChildSa)>, Assigned), CloseCause> {
    let refused_here = |kind| {
        [NotifyType::NO_PROPOSAL_CHOSEN, NotifyType::NO_ADDITIONAL_SAS, NotifyType::TEMPORARY_FAILURE].contains(&kind)
    };
    let offer = match (offer, payloads.error()) {
        (_, Some(notify)) if childless && refused_here(notify.notify_type) => FirstChild::Later,
        (_, Some(notify)) => return Err(CloseCause::of_refusal(notify, SaKind::Child, &[])),
        (offer, None) => offer,
    };
    let wanted = context.configuration.virtual_addresses;
    let assigned = payloads
        .configuration_reply()
        .map(|reply| Assigned::read(reply, wanted, &context.configuration.extensions))
        .unwrap_or_default();
    if !assigned.suffices(wanted) {
        return Err(CloseCause::AddressUnavailable);
    }
    let FirstChild::Offered(offer) = offer else { return Ok((None, assigned)) };
    let agreed = offer.agreed(payloads)?;
    let child = agreed.to_child(context, now)?;
    Ok((Some((agreed, child)), assigned))
}
