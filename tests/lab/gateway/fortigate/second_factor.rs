//! The second factor: after a good password an EAP-Success of five octets that names GTC, then a
//! round of GTC, then AUTH by SK_pi and SK_pr.

use crate::gateway::authentication::{EapKey, EapProofStage, FirstRequest};
use crate::gateway::init::InitExchange;
use crate::gateway::responder::Context;
use crate::gateway::sa::{Answer, Fate, IkeSa, State, notify};
use ike_client::wire::{NotifyType, Payload};

const GTC: u8 = 6;
const PROMPT: &[u8] = b"Enter token code:";

/// A user whose password was right.
pub struct SecondFactorStage {
    pub(in crate::gateway) init: InitExchange,
    pub(in crate::gateway) request: FirstRequest,
    pub(in crate::gateway) code: String,
    /// The EAP identifier of the last packet.
    pub(in crate::gateway) identifier: u8,
    /// Whether the code was asked for.
    pub(in crate::gateway) asked: bool,
}

/// Returns the private form of Success.
pub(in crate::gateway) fn success_then_gtc(identifier: u8) -> Vec<u8> {
    vec![3, identifier, 0, 5, GTC]
}

impl IkeSa {
    /// Answers an IKE_AUTH request after the private Success: asks for the code, then judges it.
    pub(in crate::gateway) fn second_factor(
        &mut self,
        mut stage: SecondFactorStage,
        payloads: &[Payload],
        context: &mut Context<'_>,
    ) -> Answer {
        let packet = payloads.iter().find_map(|payload| match payload {
            Payload::Eap(packet) => Some(packet.as_slice()),
            _ => None,
        });
        let expected =
            [&[2, stage.identifier][..], &length(5 + stage.code.len()), &[GTC], stage.code.as_bytes()].concat();
        match packet {
            None if !stage.asked => {
                stage.identifier = stage.identifier.wrapping_add(1);
                stage.asked = true;
                let question = [&[1, stage.identifier][..], &length(5 + PROMPT.len()), &[GTC], PROMPT].concat();
                self.state = State::AwaitingCode(Box::new(stage));
                Answer::Reply(vec![Payload::Eap(question)], Fate::Stays)
            }
            Some(answer) if stage.asked && answer == expected.as_slice() => {
                let SecondFactorStage { init, request, identifier, .. } = stage;
                let key = EapKey::OfTheIkeSa;
                self.state = State::AwaitingEapProof(Box::new(EapProofStage { init, request, key }));
                Answer::Reply(vec![Payload::Eap(vec![3, identifier, 0, 4])], Fate::Stays)
            }
            Some(_) if stage.asked => {
                self.refuse("FCT token code not accepted", vec![Payload::Eap(vec![4, stage.identifier, 0, 4])], context)
            }
            _ => Answer::Reply(vec![notify(NotifyType::INVALID_SYNTAX)], Fate::Ends),
        }
    }
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).unwrap_or(u16::MAX).to_be_bytes()
}
