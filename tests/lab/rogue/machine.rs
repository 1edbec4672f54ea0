//! The rogue without sockets: a message in, a message out.

use super::{Heard, Lie, Opening, Proof};
use anyhow::{Context, Result, bail};
use ike_client::SystemRandom;
use ike_client::auth::octets::signed_octets;
use ike_client::auth::signature::{SignatureHashes, sign};
use ike_client::auth::{PrivateKey, certificate, psk};
use ike_client::crypto::kex::KeyExchange;
use ike_client::crypto::keys::{IkeKeys, IkeSpis, Nonces, Side};
use ike_client::crypto::protect::SkCipher;
use ike_client::crypto::suite::{AdditionalExchanges, IkeSuite};
use ike_client::crypto::transform::{Encryption, Group, Integrity, PseudoRandomFunction};
use ike_client::wire::{
    self, Authentication, AuthenticationMethod, Encrypted, ExchangeType, Flags, Header, Identification, Message,
    Notify, NotifyType, Payload, Proposal, ResponderSpi, Transform, TransformType, decode_chain, encode_chain,
};

/// Any value will do: there is one SA.
const RESPONDER_SPI: ResponderSpi = ResponderSpi(0x5249_4356_4552_4f47);
const NONCE: [u8; 32] = [0x5a; 32];

/// A rogue gateway for one client.
#[derive(Debug)]
pub struct Rogue {
    lie: Lie,
    heard: Vec<Heard>,
    /// The last request and what it was answered with, for retransmissions.
    answered: Option<(Vec<u8>, Vec<u8>)>,
    secured: Option<Secured>,
    has_lied: bool,
}

/// What IKE_SA_INIT left behind.
struct Secured {
    keys: IkeKeys,
    from_client: SkCipher,
    to_client: SkCipher,
    init_response: Vec<u8>,
    client_nonce: Vec<u8>,
    announced: SignatureHashes,
    eap_identifier: u8,
}

impl std::fmt::Debug for Secured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secured")
    }
}

impl Rogue {
    /// Makes one that will tell this lie.
    pub const fn new(lie: Lie) -> Self {
        Self { lie, heard: Vec::new(), answered: None, secured: None, has_lied: false }
    }

    /// Returns everything that was heard, in order.
    pub fn heard(&self) -> &[Heard] {
        &self.heard
    }

    /// Returns true once the lie has been told.
    pub const fn has_lied(&self) -> bool {
        self.has_lied
    }

    /// Takes a request (without non-ESP marker) and returns the response.
    ///
    /// # Errors
    /// When the request is not one that a client sends; nothing is remembered of it.
    pub fn hear(&mut self, request: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some((_, response)) = self.answered.as_ref().filter(|(before, _)| before == request) {
            return Ok(Some(response.clone()));
        }
        let message = Message::decode(request)?;
        if message.header.flags.is_response() {
            return Ok(None);
        }
        let response = match message.header.exchange {
            ExchangeType::IKE_SA_INIT => self.init(&message)?,
            exchange => {
                let payloads = self.open(request, &message)?;
                let message_id = message.header.message_id;
                self.heard.push(Heard { exchange, message_id, payloads: payloads.clone() });
                let answer = match exchange {
                    ExchangeType::IKE_AUTH => self.authenticate(&payloads)?,
                    _ => Vec::new(),
                };
                self.seal(&message.header, &answer)?
            }
        };
        self.answered = Some((request.to_vec(), response.clone()));
        Ok(Some(response))
    }

    /// `SAi, KEi, Ni  ->  SAr, KEr, Nr, N(SIGNATURE_HASH_ALGORITHMS), N(NAT_DETECTION ...)`
    fn init(&mut self, message: &Message) -> Result<Vec<u8>> {
        let Message { header, payloads } = message;
        let (mut offers, mut share, mut nonce) = (None, None, None);
        for payload in payloads {
            match payload {
                Payload::SecurityAssociation(proposals) => offers = Some(proposals),
                Payload::KeyExchange(key) => share = Some(key),
                Payload::Nonce(octets) => nonce = Some(octets),
                _ => {}
            }
        }
        let share = share.context("IKE_SA_INIT without KE")?;
        let client_nonce = nonce.context("IKE_SA_INIT without nonce")?;
        let group = Group::from_id(share.group.0).context("a group that the rogue does not speak")?;
        let (suite, chosen) = offers
            .context("IKE_SA_INIT without SA")?
            .iter()
            .find_map(|proposal| choose(proposal, group))
            .context("no proposal that the rogue speaks")?;

        let mut random = SystemRandom;
        let ours = KeyExchange::generate(group, &mut random)?;
        let public = ours.public().to_vec();
        let shared = ours.agree(&share.data)?;
        let hashes = SignatureHashes::ours().encode();
        // A wrong hash makes the client believe in a NAT and move to port 4500.
        let nat = |kind| Payload::Notify(Notify::new(kind, vec![0; 20]));
        let answer = vec![
            Payload::SecurityAssociation(vec![chosen]),
            Payload::KeyExchange(wire::KeyExchange { group: share.group, data: public }),
            Payload::Nonce(NONCE.to_vec()),
            Payload::Notify(Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, hashes)),
            nat(NotifyType::NAT_DETECTION_SOURCE_IP),
            nat(NotifyType::NAT_DETECTION_DESTINATION_IP),
        ];
        let exchange = ExchangeType::IKE_SA_INIT;
        let header = Header::new(header.initiator_spi, RESPONDER_SPI, exchange, Flags::new(false, true), 0);
        let response = Message::new(header, answer).encode()?;

        let spis = IkeSpis { initiator: header.initiator_spi.to_bytes(), responder: RESPONDER_SPI.to_bytes() };
        let nonces = Nonces { initiator: client_nonce, responder: &NONCE };
        let keys = IkeKeys::derive(&suite, &shared, nonces, spis)?;
        let announced = message
            .notifies()
            .find(|notify| notify.notify_type == NotifyType::SIGNATURE_HASH_ALGORITHMS)
            .map(|notify| SignatureHashes::decode(&notify.data))
            .transpose()?
            .unwrap_or_default();
        self.heard.push(Heard { exchange, message_id: 0, payloads: payloads.clone() });
        self.secured = Some(Secured {
            from_client: keys.cipher(Side::Initiator)?,
            to_client: keys.cipher(Side::Responder)?,
            keys,
            init_response: response.clone(),
            client_nonce: client_nonce.clone(),
            announced,
            eap_identifier: 0,
        });
        Ok(response)
    }

    /// The lie at first; afterwards another question, whatever came.
    fn authenticate(&mut self, payloads: &[Payload]) -> Result<Vec<Payload>> {
        let secured = self.secured.as_mut().context("IKE_AUTH before IKE_SA_INIT")?;
        secured.eap_identifier = secured.eap_identifier.wrapping_add(1);
        if self.has_lied {
            let asked_again = if payloads.iter().any(|payload| matches!(payload, Payload::Eap(_))) {
                vec![Payload::Eap(opening(Opening::Challenge, secured.eap_identifier))]
            } else {
                Vec::new()
            };
            return Ok(asked_again);
        }
        self.has_lied = true;
        let mut answer = Vec::new();
        let identity = self.lie.identity.as_deref().map(Identification::fqdn);
        answer.extend(identity.clone().map(Payload::IdentificationResponder));
        answer.extend(certificate::payloads(&self.lie.certificates).into_iter().map(Payload::Certificate));
        // Without IDr of its own the rogue signs for an empty name.
        let body = identity.unwrap_or_else(|| Identification::fqdn("")).body();
        let octets = signed_octets(
            secured.keys.prf,
            secured.keys.sk_pr.expose(),
            &secured.init_response,
            &secured.client_nonce,
            &body,
        );
        let authentication = match &self.lie.proof {
            Proof::None => None,
            Proof::Garbage { method, octets } => Some((*method, vec![0x41; *octets])),
            Proof::PreSharedKey(key) => Some((2, psk::compute(secured.keys.prf, key, &octets))),
            Proof::Signature(pem) => {
                let key = PrivateKey::from_pem(pem)?;
                let signed = sign(&key, &secured.announced, &octets, &mut SystemRandom)?;
                Some((signed.scheme.method(), signed.data))
            }
        };
        answer.extend(authentication.map(|(method, data)| {
            Payload::Authentication(Authentication { method: AuthenticationMethod(method), data })
        }));
        answer.push(Payload::Eap(opening(self.lie.opening, secured.eap_identifier)));
        Ok(answer)
    }

    fn open(&self, request: &[u8], message: &Message) -> Result<Vec<Payload>> {
        let secured = self.secured.as_ref().context("a protected message before IKE_SA_INIT")?;
        let Some(Payload::Encrypted(Encrypted { first_inner, body })) = message.payloads.last() else {
            bail!("a message without SK payload");
        };
        let associated = request.len().checked_sub(body.len()).and_then(|length| request.get(..length));
        let plaintext = secured.from_client.open(associated.context("an SK payload longer than its message")?, body)?;
        Ok(decode_chain(*first_inner, &plaintext)?)
    }

    fn seal(&mut self, request: &Header, payloads: &[Payload]) -> Result<Vec<u8>> {
        let secured = self.secured.as_mut().context("a protected message before IKE_SA_INIT")?;
        let (first_inner, plaintext) = encode_chain(payloads)?;
        let header = Header::new(
            request.initiator_spi,
            RESPONDER_SPI,
            request.exchange,
            Flags::new(false, true),
            request.message_id,
        );
        let length = secured.to_client.body_length(plaintext.len());
        let sealed_as = |body| Message::new(header, vec![Payload::Encrypted(Encrypted { first_inner, body })]).encode();
        let mut associated = sealed_as(vec![0; length])?;
        associated.truncate(associated.len().saturating_sub(length));
        let body = secured.to_client.seal(&mut SystemRandom, &associated, &plaintext)?;
        Ok(sealed_as(body)?)
    }
}

/// Takes the first transform of each type that the rogue speaks, if the proposal has the client's group.
///
/// A proposal with a type that the rogue does not speak (additional key exchanges) is none to choose
/// from (RFC 7296 §3.3.6).
fn choose(proposal: &Proposal, group: Group) -> Option<(IkeSuite, Proposal)> {
    const SPOKEN: [TransformType; 4] = [
        TransformType::ENCRYPTION,
        TransformType::PSEUDO_RANDOM_FUNCTION,
        TransformType::INTEGRITY,
        TransformType::KEY_EXCHANGE,
    ];
    if proposal.transforms.iter().any(|transform| !SPOKEN.contains(&transform.transform_type)) {
        return None;
    }
    let (encryption, encryption_transform) = proposal.of_type(TransformType::ENCRYPTION).find_map(|transform| {
        Encryption::from_id(transform.id, transform.key_length()).map(|known| (known, transform))
    })?;
    let (prf, prf_transform) = known(proposal, TransformType::PSEUDO_RANDOM_FUNCTION, PseudoRandomFunction::from_id)?;
    let integrity = match encryption.is_aead() {
        true => None,
        false => Some(known(proposal, TransformType::INTEGRITY, Integrity::from_id)?),
    };
    let group_transform = proposal.of_type(TransformType::KEY_EXCHANGE).find(|transform| transform.id == group.id())?;
    let additional = AdditionalExchanges::NONE;
    let suite = IkeSuite { encryption, integrity: integrity.map(|(integrity, _)| integrity), prf, group, additional };
    let transforms = [Some(encryption_transform), integrity.map(|(_, transform)| transform), Some(prf_transform)];
    let transforms = transforms.into_iter().flatten().chain([group_transform]).cloned().collect();
    Some((suite, Proposal { transforms, ..proposal.clone() }))
}

fn known<T>(proposal: &Proposal, kind: TransformType, from_id: fn(u16) -> Option<T>) -> Option<(T, &Transform)> {
    proposal.of_type(kind).find_map(|transform| from_id(transform.id).map(|known| (known, transform)))
}

/// Writes an EAP packet from the server.
fn opening(opening: Opening, identifier: u8) -> Vec<u8> {
    match opening {
        Opening::Identity => vec![1, identifier, 0, 5, 1],
        Opening::Success => vec![3, identifier, 0, 4],
        Opening::Challenge => {
            // Type 26, then Challenge: operation, identifier, length, 16 octets, the server's name.
            let method = [&[1, identifier, 0, 26, 16][..], &[0x6d; 16], b"rogue"].concat();
            [&[1, identifier, 0, 31, 26][..], &method].concat()
        }
    }
}
