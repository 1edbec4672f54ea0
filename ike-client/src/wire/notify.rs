//! The Notify payload (RFC 7296 §3.10) and the numbers of its registry.

use super::error::{DecodeError, EncodeError};
use super::open::open_enum;
use super::proposal::ProtocolId;
use super::reader::{Reader, fit};

/// A notification: an error or a status, perhaps about one SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The protocol of the SA that the notify concerns, or [`ProtocolId::NONE`].
    pub protocol: ProtocolId,
    /// That SA's SPI; empty when the notify concerns the IKE SA of the message or none.
    pub spi: Vec<u8>,
    /// The kind of notification.
    pub notify_type: NotifyType,
    /// What belongs to it.
    pub data: Vec<u8>,
}

impl Notify {
    /// Makes a notify that names no SA.
    pub const fn new(notify_type: NotifyType, data: Vec<u8>) -> Self {
        Self { protocol: ProtocolId::NONE, spi: Vec::new(), notify_type, data }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let protocol = ProtocolId(reader.u8()?);
        let spi_size = reader.u8()?;
        let notify_type = NotifyType(reader.u16()?);
        let spi = reader.take(usize::from(spi_size))?.to_vec();
        Ok(Self { protocol, spi, notify_type, data: reader.rest().to_vec() })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(self.protocol.0);
        out.push(fit("notify SPI", self.spi.len(), 255)?);
        out.extend_from_slice(&self.notify_type.0.to_be_bytes());
        out.extend_from_slice(&self.spi);
        out.extend_from_slice(&self.data);
        Ok(())
    }
}

open_enum! {
    /// Kinds of notification. Numbers below 16384 are errors, the others status.
    pub struct NotifyType(u16) {
        /// A critical payload was not understood; data: its type.
        UNSUPPORTED_CRITICAL_PAYLOAD = 1 => "UNSUPPORTED_CRITICAL_PAYLOAD",
        /// An IKE message for SPIs that the sender does not have.
        INVALID_IKE_SPI = 4 => "INVALID_IKE_SPI",
        /// The major version is not supported.
        INVALID_MAJOR_VERSION = 5 => "INVALID_MAJOR_VERSION",
        /// The message is malformed.
        INVALID_SYNTAX = 7 => "INVALID_SYNTAX",
        /// A message id outside the window.
        INVALID_MESSAGE_ID = 9 => "INVALID_MESSAGE_ID",
        /// An ESP packet with an SPI that the sender does not have.
        INVALID_SPI = 11 => "INVALID_SPI",
        /// No proposal was acceptable.
        NO_PROPOSAL_CHOSEN = 14 => "NO_PROPOSAL_CHOSEN",
        /// Another key exchange method is wanted; data: its number.
        INVALID_KE_PAYLOAD = 17 => "INVALID_KE_PAYLOAD",
        /// The peer could not be authenticated, or something else that is not told.
        AUTHENTICATION_FAILED = 24 => "AUTHENTICATION_FAILED",
        /// The peer wants a CHILD SA of one address pair only.
        SINGLE_PAIR_REQUIRED = 34 => "SINGLE_PAIR_REQUIRED",
        /// No more CHILD SAs here.
        NO_ADDITIONAL_SAS = 35 => "NO_ADDITIONAL_SAS",
        /// No address could be assigned.
        INTERNAL_ADDRESS_FAILURE = 36 => "INTERNAL_ADDRESS_FAILURE",
        /// A configuration request was expected.
        FAILED_CP_REQUIRED = 37 => "FAILED_CP_REQUIRED",
        /// None of the traffic selectors is acceptable.
        TS_UNACCEPTABLE = 38 => "TS_UNACCEPTABLE",
        /// A packet outside its SA's selectors.
        INVALID_SELECTORS = 39 => "INVALID_SELECTORS",
        /// The proposed addresses are unacceptable (MOBIKE).
        UNACCEPTABLE_ADDRESSES = 40 => "UNACCEPTABLE_ADDRESSES",
        /// A NAT where MOBIKE was told that there is none.
        UNEXPECTED_NAT_DETECTED = 41 => "UNEXPECTED_NAT_DETECTED",
        /// Not now; try again later (RFC 7296 §2.25).
        TEMPORARY_FAILURE = 43 => "TEMPORARY_FAILURE",
        /// The CHILD SA that was named does not exist.
        CHILD_SA_NOT_FOUND = 44 => "CHILD_SA_NOT_FOUND",
        /// The state of additional key exchanges was lost (RFC 9370).
        STATE_NOT_FOUND = 47 => "STATE_NOT_FOUND",

        /// First contact since the sender lost its state.
        INITIAL_CONTACT = 16384 => "INITIAL_CONTACT",
        /// The sender's window size.
        SET_WINDOW_SIZE = 16385 => "SET_WINDOW_SIZE",
        /// More selectors may be possible in another SA.
        ADDITIONAL_TS_POSSIBLE = 16386 => "ADDITIONAL_TS_POSSIBLE",
        /// IPComp is supported.
        IPCOMP_SUPPORTED = 16387 => "IPCOMP_SUPPORTED",
        /// Hash of the sender's address and port.
        NAT_DETECTION_SOURCE_IP = 16388 => "NAT_DETECTION_SOURCE_IP",
        /// Hash of the receiver's address and port.
        NAT_DETECTION_DESTINATION_IP = 16389 => "NAT_DETECTION_DESTINATION_IP",
        /// A token that the initiator must return.
        COOKIE = 16390 => "COOKIE",
        /// Transport mode is wanted.
        USE_TRANSPORT_MODE = 16391 => "USE_TRANSPORT_MODE",
        /// Certificates may be fetched by hash and URL.
        HTTP_CERT_LOOKUP_SUPPORTED = 16392 => "HTTP_CERT_LOOKUP_SUPPORTED",
        /// The SA that the exchange replaces.
        REKEY_SA = 16393 => "REKEY_SA",
        /// Traffic flow confidentiality padding is not taken.
        ESP_TFC_PADDING_NOT_SUPPORTED = 16394 => "ESP_TFC_PADDING_NOT_SUPPORTED",
        /// Fragments may be sent over non-first-fragment SAs.
        NON_FIRST_FRAGMENTS_ALSO = 16395 => "NON_FIRST_FRAGMENTS_ALSO",
        /// MOBIKE (RFC 4555).
        MOBIKE_SUPPORTED = 16396 => "MOBIKE_SUPPORTED",
        /// Another IPv4 address of the sender.
        ADDITIONAL_IP4_ADDRESS = 16397 => "ADDITIONAL_IP4_ADDRESS",
        /// Another IPv6 address of the sender.
        ADDITIONAL_IP6_ADDRESS = 16398 => "ADDITIONAL_IP6_ADDRESS",
        /// The sender has no other address.
        NO_ADDITIONAL_ADDRESSES = 16399 => "NO_ADDITIONAL_ADDRESSES",
        /// The SAs move to the addresses of this message.
        UPDATE_SA_ADDRESSES = 16400 => "UPDATE_SA_ADDRESSES",
        /// Return routability token (MOBIKE).
        COOKIE2 = 16401 => "COOKIE2",
        /// NAT is forbidden (MOBIKE).
        NO_NATS_ALLOWED = 16402 => "NO_NATS_ALLOWED",
        /// Seconds until the peer must authenticate again (RFC 4478).
        AUTH_LIFETIME = 16403 => "AUTH_LIFETIME",
        /// More than one authentication round (RFC 4739).
        MULTIPLE_AUTH_SUPPORTED = 16404 => "MULTIPLE_AUTH_SUPPORTED",
        /// Another authentication round follows (RFC 4739).
        ANOTHER_AUTH_FOLLOWS = 16405 => "ANOTHER_AUTH_FOLLOWS",
        /// Redirection is supported (RFC 5685).
        REDIRECT_SUPPORTED = 16406 => "REDIRECT_SUPPORTED",
        /// Go to another gateway (RFC 5685).
        REDIRECT = 16407 => "REDIRECT",
        /// The gateway that redirected (RFC 5685).
        REDIRECTED_FROM = 16408 => "REDIRECTED_FROM",
        /// A resumption ticket and its lifetime (RFC 5723).
        TICKET_LT_OPAQUE = 16409 => "TICKET_LT_OPAQUE",
        /// A resumption ticket is wanted (RFC 5723).
        TICKET_REQUEST = 16410 => "TICKET_REQUEST",
        /// The ticket was taken (RFC 5723).
        TICKET_ACK = 16411 => "TICKET_ACK",
        /// The ticket was not taken (RFC 5723).
        TICKET_NACK = 16412 => "TICKET_NACK",
        /// A resumption ticket (RFC 5723).
        TICKET_OPAQUE = 16413 => "TICKET_OPAQUE",
        /// EAP may authenticate both sides (RFC 5998).
        EAP_ONLY_AUTHENTICATION = 16417 => "EAP_ONLY_AUTHENTICATION",
        /// IKE SAs without a CHILD SA are possible (RFC 6023).
        CHILDLESS_IKEV2_SUPPORTED = 16418 => "CHILDLESS_IKEV2_SUPPORTED",
        /// Quick crash detection token (RFC 6290).
        QUICK_CRASH_DETECTION = 16419 => "QUICK_CRASH_DETECTION",
        /// Message id synchronisation (RFC 6311).
        IKEV2_MESSAGE_ID_SYNC_SUPPORTED = 16420 => "IKEV2_MESSAGE_ID_SYNC_SUPPORTED",
        /// Fragmentation of encrypted messages (RFC 7383).
        IKEV2_FRAGMENTATION_SUPPORTED = 16430 => "IKEV2_FRAGMENTATION_SUPPORTED",
        /// Hash algorithms for signatures (RFC 7427).
        SIGNATURE_HASH_ALGORITHMS = 16431 => "SIGNATURE_HASH_ALGORITHMS",
        /// Post-quantum preshared keys (RFC 8784).
        USE_PPK = 16435 => "USE_PPK",
        /// Which post-quantum preshared key (RFC 8784).
        PPK_IDENTITY = 16436 => "PPK_IDENTITY",
        /// Authentication without the post-quantum key (RFC 8784).
        NO_PPK_AUTH = 16437 => "NO_PPK_AUTH",
        /// IKE_INTERMEDIATE exchanges (RFC 9242).
        INTERMEDIATE_EXCHANGE_SUPPORTED = 16438 => "INTERMEDIATE_EXCHANGE_SUPPORTED",
        /// Only an IPv4 address is assigned (RFC 8983).
        IP4_ALLOWED = 16439 => "IP4_ALLOWED",
        /// Only an IPv6 address is assigned (RFC 8983).
        IP6_ALLOWED = 16440 => "IP6_ALLOWED",
        /// State of additional key exchanges (RFC 9370).
        ADDITIONAL_KEY_EXCHANGE = 16441 => "ADDITIONAL_KEY_EXCHANGE",

        /// An error of Postern's own lab gateway, from the private range: the address that the
        /// client's packets come from matches none of the tags that the gateway demands. How
        /// FortiOS says this on the wire is not public; no other gateway sends this number.
        LAB_TAG_CHECK_FAILED = 12288 => "LAB_TAG_CHECK_FAILED",
        /// FortiClient's description of the endpoint, sent in the first IKE_AUTH request.
        FORTICLIENT_CONNECT = 61696 => "FORTICLIENT_CONNECT",
    }
}

impl NotifyType {
    /// Tells whether the number lies in the range of errors.
    pub const fn is_error(self) -> bool {
        self.0 < 16384
    }
}
